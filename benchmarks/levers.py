"""What each lever of the S-RNN does to learning: short trainings on JSB that differ in one setting.

    python benchmarks/levers.py [VARIANT...] > benchmarks/logs/levers.txt

Every variant trains a 192-wide network for 300 steps of 16 x 128 words from the same seed. The figures are bits
per note on the training batches, averaged over the last 50 steps before each column, the mean firing rate per tick, and
the norm of the gradient before clipping. One seed, far from converged: enough to see what trains at all, not to rank
what is close.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from tqdm import tqdm

from muspike import architectures, corpora, tokens, training

STEPS, EVERY = 300, 100
BASE = {**architectures.preset("s-rnn", "small")["network"], "width": 192}
VARIANTS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "small preset, narrow": ({}, {}),
    "learning rate 2e-3": ({}, {"learning_rate": 2e-3}),
    "learning rate 8e-3": ({}, {"learning_rate": 8e-3}),
    "one-tick recurrence": ({"recurrent_delays": [1]}, {}),
    "1 and 4 periods": ({"recurrent_delays": ["1 period", "4 periods"]}, {}),
    "tau 2, 2, 4": ({"tau": [2.0, 2.0, 4.0]}, {}),
    "tau 2 to 64": ({"tau": [2.0, 4.0, 8.0, 16.0, 32.0, 64.0]}, {}),
    "2 ticks per word": ({"ticks": 2}, {}),
    "only the last layer read": ({"skip": False}, {}),
    "no target rate": ({}, {"rate_weight": 0.0}),
}


def train(network_settings: dict[str, object], settings: training.Settings) -> tuple[list[float], float, float]:
    """Mean bits per note before every column, mean firing rate, median gradient norm of the last steps."""
    pieces = [piece.words for piece in corpora.load("jsb").split("train")]
    torch.manual_seed(0)
    network = architectures.build("s-rnn", BASE | network_settings).train()
    optimiser = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.98), weight_decay=0.0)
    bits: list[float] = []
    norms: list[float] = []
    rates: dict[str, torch.Tensor] = {}
    for step in range(STEPS):
        words, wanted = training.draw_batch(pieces, settings, step)
        logits, _ = network(words, regularise=rates, dropout=settings.dropout)
        kind = wanted[..., tokens.BAR_BEAT]
        nats = training.feature_losses(logits, wanted).sum()
        loss = nats / (kind != tokens.BarBeat.PAD).sum()
        loss = loss + settings.rate_weight * sum(((r - settings.target_rate).relu() ** 2) for r in rates.values())
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / settings.warmup)
        optimiser.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)))
        optimiser.step()
        bits.append(float(nats) / 0.6931471805599453 / int((kind == tokens.BarBeat.NOTE).sum()))
    columns = [statistics.fmean(bits[n - 50 : n]) for n in range(EVERY, STEPS + 1, EVERY)]
    return columns, statistics.fmean(float(r) for r in rates.values()), statistics.median(norms[-50:])


def main() -> None:
    """Print the table."""
    torch.set_flush_denormal(True)
    print(f"S-RNN 192 wide on JSB, {STEPS} steps of 16 x 128 words, seed 0; torch {torch.__version__}")
    heads = "".join(f"{f'step {n}':>10}" for n in range(EVERY, STEPS + 1, EVERY))
    print(f"{'variant':<26}{heads}{'rate':>8}{'gradient':>10}{'minutes':>9}")
    preset = architectures.preset("s-rnn", "small")["training"]
    for name in tqdm(sys.argv[1:] or VARIANTS, disable=None):
        network, changes = VARIANTS[name]
        settings = training.Settings(**{**preset, "batch": 16, "tokens": 128, "warmup": 50, **changes})
        started = time.monotonic()
        columns, rate, norm = train(network, settings)
        minutes = (time.monotonic() - started) / 60
        print(
            f"{name:<26}{''.join(f'{c:>10.2f}' for c in columns)}{rate:>8.3f}{norm:>10.2g}{minutes:>9.1f}", flush=True
        )


if __name__ == "__main__":
    main()
