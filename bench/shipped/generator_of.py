"""Make an S-GAN's generator from a trained S-RNN.

The generator has the S-RNN's weights. The weights of its noise axons are a fifth of what is drawn, because noise at
full strength, which the network does not know yet, costs 0.3 bits per note.

    python bench/shipped/generator_of.py s-rnn runs/generator --seed 0

`muspike train s-gan --init runs/generator` continues from there; the S-RNN's training was the warm-up.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from muspike import architectures
from muspike.checkpoint import load_model, save_model
from muspike.network import Network


def main() -> None:
    """Build the generator, copy the weights, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an S-RNN")
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = load_model(args.model)
    if model.architecture != "s-rnn":
        raise SystemExit(f"{args.model}: is of architecture {model.architecture}; an s-rnn is wanted")
    torch.manual_seed(args.seed)
    network = architectures.build("s-gan", model.settings)  # with the default noise
    assert isinstance(network, Network)
    with torch.no_grad():
        network.bias.copy_(model.spiking.bias)
        for name, weight in model.spiking.weights.items():
            drawn = network.weights[name]
            drawn[:, : weight.shape[1]] = weight
            drawn[:, weight.shape[1] :] *= 0.2
    generator = dataclasses.replace(model, architecture="s-gan", network=network)
    save_model(generator, args.output)


if __name__ == "__main__":
    main()
