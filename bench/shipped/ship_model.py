"""Put a trained model among those that come with muspike, with weights in half precision.

    python bench/shipped/ship_model.py runs/s-rnn-jsb-small-0 s-rnn

NLL and firing rate of the validation and test splits are stored with the model. They are measured again on the rounded
weights. When a corpus has a new edition, they are measured anew without training:

    python bench/shipped/ship_model.py muspike/models/s-rnn s-rnn --other-edition

`corpus_digest` in model.json is the edition that the model was trained on, `measured_on` that of the figures.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from muspike import corpora
from muspike.checkpoint import load_model, save_model
from muspike.evaluation import firing_rate, likelihood
from muspike.training import tensors_digest


def main() -> None:
    """Round, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("name")
    parser.add_argument("--initial", help="the model that it went on from, where model.json does not have its training")
    parser.add_argument(
        "--other-edition", action="store_true", help="measure on today's edition of the corpus it was trained on"
    )
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    folder = Path(__file__).parents[2] / "muspike" / "models" / args.name
    model = load_model(args.model)
    save_model(model, folder, torch.float16)
    rounded = load_model(folder)
    corpus = corpora.load(model.training["corpus"])
    if corpus.digest != model.training["corpus_digest"] and not args.other_edition:
        raise SystemExit(f"{args.model}: was trained on another edition of {corpus.name}")
    measured: dict[str, float | str | None] = {"measured_on": corpus.digest}
    for split in ("validation", "test"):
        pieces = [piece.words for piece in corpus.split(split)]
        measured[f"{split}_bits_per_note"] = likelihood(lambda words: rounded.network(words)[0], pieces).bits_per_note
        measured[f"{split}_firing_rate"] = firing_rate(rounded.network, pieces)
    print(f"before, validation {model.training['validation_bits_per_note']:.4f}; rounded: {measured}")
    training = {**model.training, **measured}
    if args.initial:
        initial = load_model(args.initial)
        if tensors_digest(initial.network.state_dict()) != training["initial"]:
            raise SystemExit(f"{args.initial}: is not the model that {args.model} went on from")
        training["initial_training"] = initial.training
    save_model(dataclasses.replace(rounded, training=training), folder, torch.float16)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
