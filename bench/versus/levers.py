"""What each setting of the S-RNN does, and what it costs: short trainings on JSB that differ in one setting.

    python bench/versus/levers.py [VARIANT...] > docs/results/logs/levers.txt

Every variant trains a 192-wide network for 400 steps of 8 x 128 words from the same seed. NLL (bits per note) and
firing rate are those of the validation split. Energy per note is that of reading the split's excerpts on Loihi 2,
packed on the fewest cores and modelled as in `muspike bench`. `gradient` is the median norm before clipping over the
last 50 steps. One seed, far from convergence, shows what trains at all; it does not rank variants that are close.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from muspike import architectures, corpora, evaluation, tokens, training
from muspike.bench.ablation import measured
from muspike.bench.workload import excerpts_of
from muspike.checkpoint import Model
from muspike.progress import bar

STEPS, BATCH, CHIP = 400, 8, "loihi2"
BASE = {**architectures.preset("s-rnn", "small")["network"], "width": 192}
VARIANTS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "small preset, narrow": ({}, {}),
    "learning rate 2e-3": ({}, {"learning_rate": 2e-3}),
    "learning rate 8e-3": ({}, {"learning_rate": 8e-3}),
    "words alone, not what sounds": ({"hears": []}, {}),
    "one-tick recurrence": ({"recurrent_delays": [1]}, {}),
    "1 and 4 periods": ({"recurrent_delays": ["1 period", "4 periods"]}, {}),
    "tau 2, 2, 4": ({"tau": [2.0, 2.0, 4.0]}, {}),
    "tau 2 to 64": ({"tau": [2.0, 4.0, 8.0, 16.0, 32.0, 64.0]}, {}),
    "2 ticks per word": ({"ticks": 2}, {}),
    "8 ticks per word": ({"ticks": 8}, {}),
    "twice as wide": ({"width": 384}, {}),
    "only the last layer read": ({"skip": False}, {}),
    "no target rate": ({}, {"rate_weight": 0.0}),
    "target rate 0.04": ({}, {"target_rate": 0.04, "rate_weight": 10.0}),
    "target rate 0.02": ({}, {"target_rate": 0.02, "rate_weight": 30.0}),
    "no dropout": ({}, {"dropout": 0.0}),
}


def train(network_settings: dict[str, Any], settings: training.Settings) -> tuple[Model, float]:
    """Train a network, and return the model and the median gradient norm of the last 50 steps."""
    pieces = list(corpora.load("jsb").words("train"))
    torch.manual_seed(0)
    network = architectures.build("s-rnn", network_settings).train()
    optimiser = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.98), weight_decay=0.0)
    norms: list[float] = []
    for step in range(STEPS):
        words, wanted, heard = training.draw_batch(pieces, settings, step)
        rates: dict[str, torch.Tensor] = {}
        logits, _ = network(words, regularise=rates, dropout=settings.dropout, heard=heard)
        kind = wanted[..., tokens.BAR_BEAT]
        loss = evaluation.feature_losses(logits, wanted).sum() / (kind != tokens.BarBeat.PAD).sum()
        loss = loss + settings.rate_weight * sum(((r - settings.target_rate).relu() ** 2) for r in rates.values())
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / settings.warmup)
        optimiser.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)))
        optimiser.step()
    return Model("s-rnn", network_settings, network.eval(), {"step": STEPS}), statistics.median(norms[-50:])


def _shown(names: Sequence[str]) -> Iterator[str]:
    with bar(len(names), "variant", stays=True) as shown:
        yield from shown.over(names)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of the variants that `arguments` name (None: those of the process), or of all."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"variants: {'; '.join(VARIANTS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="a variant by name, in quotes (default: all)")
    chosen = parser.parse_args(arguments).variants or list(VARIANTS)
    if stranger := next((name for name in chosen if name not in VARIANTS), None):
        parser.error(f"variant {stranger!r} is not known; known are {'; '.join(VARIANTS)}")
    torch.set_flush_denormal(True)
    corpus = corpora.load("jsb")
    excerpts = excerpts_of(corpus, "validation")
    print(f"S-RNN 192 wide on JSB, {STEPS} steps of {BATCH} x 128 words, seed 0; torch {torch.__version__}")
    print(f"{'variant':<26}{'NLL':>7}{'on chip':>9}{'rate':>7}{'uJ per note':>13}{'gradient':>10}{'minutes':>9}")
    preset = architectures.preset("s-rnn", "small")["training"]
    for name in _shown(chosen):
        network, changes = VARIANTS[name]
        settings = training.Settings(**{**preset, "batch": BATCH, "tokens": 128, "warmup": 50, **changes})
        started = time.monotonic()
        model, norm = train(BASE | network, settings)
        minutes = (time.monotonic() - started) / 60
        row = measured(model, corpus, excerpts, CHIP, 4, 0)
        nll, energy = row["nll_bits_per_note"], row["chip"]["energy_uj_per_note"]["total"]["value"]
        print(
            f"{name:<26}{nll['torch']:>7.2f}{nll['chip']:>9.2f}{row['firing_rate']:>7.3f}{energy:>13.1f}"
            f"{norm:>10.2g}{minutes:>9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
