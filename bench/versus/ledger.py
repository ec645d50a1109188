"""The gap ledger: from a twin that does not spike to the chip in single steps, each with its bits per note.

    python bench/versus/ledger.py [--runs FOLDER] [RUNG ...]

Each rung of the S-RNN changes what its line says of the rung above it. All are trained for 800 steps of 16 x 256 words
of the chorales on a cosine schedule, seed 0, at two learning rates, of which the better one counts. What is read is the
validation split. The last two rungs train nothing: they are the rung above on the chip's weights, and on the
chip. The S-Transformer is so unlike its twin that one rung changes much: between the twin without a softmax and the
registers lie depth, layer norms, residuals and the kind of memory.

What else changes: from the twin to the rung after it, dropout, weight decay and width, which are those of the presets,
and what reaches the readout directly; with the four ticks, the time constant of the readout; with the S-Transformer's
spikes, the penalties of its firing rates and the pair of learning rates. Networks that differ from the preset's neurons
compute their backward pass in float32; the others in the precision of the preset.

A rung that is in the ledger with the same settings, words and corpus is not trained again; a run that was stopped goes
on.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from muspike import architectures, corpora, tokens, training
from muspike.architectures import s_transformer
from muspike.bench.shipped.measure import CHIP, nll
from muspike.checkpoint import Model
from muspike.cli.train import watched
from muspike.errors import BadInput
from muspike.export.loihi import ChipRunner, compile_model
from muspike.export.training_grid import TrainingGrid
from muspike.files import owned_folder, write_whole
from muspike.layer import Gather, Loop, Source, drive, drive_reference
from muspike.network import Network
from muspike.neurons import Clock, LIFParameters, LIFState, Step, atan_spike, lif_scan_reference
from muspike.training import Settings

STEPS = 800
FILE = Path(__file__).parents[2] / "docs" / "results" / "ledger.json"
Output = Callable[[torch.Tensor, LIFParameters], torch.Tensor]


def symmetric(v: torch.Tensor, p: LIFParameters) -> torch.Tensor:
    """A tanh, as in Elman's network."""
    return torch.tanh(v)


def ramp(v: torch.Tensor, p: LIFParameters) -> torch.Tensor:
    """From 0 to 1 in a straight line, with its middle at the threshold."""
    return (v / (2 * p.v_threshold)).clamp(0, 1)


def binary(v: torch.Tensor, p: LIFParameters) -> torch.Tensor:
    """A spike above the threshold, with the surrogate's gradient."""
    return atan_spike(v - p.v_threshold, p.alpha)


def never_reset(output: Output) -> Step:
    """The step of neurons that put out `output` of their membrane and parameters, and keep the membrane."""

    def step(current: torch.Tensor, state: LIFState, p: LIFParameters) -> tuple[torch.Tensor, LIFState]:
        v = state.v + 1 / p.tau * (current - state.v)
        return output(v, p), LIFState(v)

    return step


def with_neurons(step: Step) -> contextlib.AbstractContextManager[Any]:
    """Within it, spiking networks in training compute their neurons by `step`."""

    def layer(
        p: LIFParameters,
        clock: Clock,
        shape: tuple[int, int, int],
        gathers: Sequence[Gather],
        sources: Sequence[Source],
        loops: Sequence[Loop],
        current: torch.Tensor | None,
        low_precision: bool,
    ) -> torch.Tensor:
        # The kernels for sources take whatever is not 0 for a spike.
        total = drive_reference(clock, shape, (), sources, drive(clock, shape, gathers, (), current))
        recurrent = [(loop.delay, loop.weight) for loop in loops]
        return lif_scan_reference(total, p, slots=clock.slots, idle=clock.idle, recurrent=recurrent, step=step)

    return mock.patch("muspike.network.lif_layer", layer)


@contextlib.contextmanager
def graded_attention(step: Step) -> Iterator[None]:
    """Within it, spiking networks compute their neurons by `step`, and registers hold and are read by its numbers.

    A write replaces as much of a row as its key says: memory = (1 - k) * memory one word ago + k * v.
    """
    plain = s_transformer.registers_reference
    with with_neurons(step), mock.patch.object(s_transformer, "registers", plain):
        yield


def without_softmax() -> contextlib.AbstractContextManager[Any]:
    """Within it, the scores of a twin's attention go through a ReLU, divided by the words that are seen."""

    def attention(
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        is_causal: bool = False,
    ) -> torch.Tensor:
        scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).relu()
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril() if is_causal else attn_mask
        assert seen is not None
        scores = scores * seen
        return scores / seen.sum(-1, keepdim=True) @ v

    return mock.patch("torch.nn.functional.scaled_dot_product_attention", attention)


@dataclass(frozen=True)
class Rung:
    """A step of the ledger.

    Attributes:
        family: the network that it leads to.
        about: what it changes of the rung above.
        architecture: what is trained.
        network: settings of the network that are not the preset's.
        training: settings of the training that are not the preset's.
        changed: makes the context in which the network is computed.
        measured: how the rung above is measured again, instead of training: "8 bit" or "chip".
        rates: the learning rates that are tried; none: those that RATES has for the architecture.
    """

    family: str
    about: str
    architecture: str = "s-rnn"
    network: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    changed: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    measured: str = ""
    rates: tuple[float, ...] = ()

    def tried(self) -> tuple[float, ...]:
        """The learning rates of which the better one counts."""
        return self.rates or RATES[self.architecture]


_WORD = {"ticks": 1, "tau": [1.0], "tau_readout": 1.0}
_GRADED = {"ticks": 1, "tau": 1.0, "tau_readout": 1.0}
_FREE = {"rate_weight": 0.0}
_FREE_OF_FLOOR = {**_FREE, "floor_weight": 0.0}
RUNGS = {
    "s-rnn-twin": Rung("s-rnn", "the twin: Elman's network with layer norms and residuals", "ann-rnn"),
    "s-rnn-plain": Rung(
        "s-rnn",
        "no layer norms, no residuals; every layer reaches the readout",
        network=_WORD,
        training=_FREE,
        changed=lambda: with_neurons(never_reset(symmetric)),
    ),
    "s-rnn-positive": Rung(
        "s-rnn", "outputs from 0 to 1", network=_WORD, training=_FREE, changed=lambda: with_neurons(never_reset(ramp))
    ),
    "s-rnn-ticks": Rung(
        "s-rnn",
        "four ticks a word, membranes that leak",
        training=_FREE,
        changed=lambda: with_neurons(never_reset(ramp)),
    ),
    "s-rnn-spikes": Rung("s-rnn", "binary spikes", training=_FREE, changed=lambda: with_neurons(never_reset(binary))),
    "s-rnn-reset": Rung("s-rnn", "a spike resets its membrane", training=_FREE),
    "s-rnn-rate": Rung("s-rnn", "firing rates are held to 8 %: the preset"),
    "s-rnn-8-bit": Rung("s-rnn", "weights of 8 bits", measured="8 bit"),
    "s-rnn-chip": Rung("s-rnn", "integer membranes: the chip", measured="chip"),
    "s-transformer-twin": Rung("s-transformer", "the twin: softmax attention", "ann-transformer"),
    "s-transformer-relu": Rung(
        "s-transformer", "no softmax: a ReLU, divided by the words seen", "ann-transformer", changed=without_softmax
    ),
    "s-transformer-registers": Rung(
        "s-transformer",
        "two blocks with registers for attention, one tick a word, outputs from 0 to 1; no layer norms, no residuals",
        "s-transformer",
        network=_GRADED,
        training=_FREE_OF_FLOOR,
        changed=lambda: graded_attention(never_reset(ramp)),
        rates=(4e-3, 1.5e-2),
    ),
    "s-transformer-spikes": Rung(
        "s-transformer",
        "four ticks a word, membranes that leak, binary spikes that reset",
        "s-transformer",
        network={"ticks": 4},
    ),
    "s-transformer-ticks": Rung("s-transformer", "eight ticks a word: the preset", "s-transformer"),
    "s-transformer-8-bit": Rung("s-transformer", "weights of 8 bits", "s-transformer", measured="8 bit"),
    "s-transformer-chip": Rung("s-transformer", "integer membranes: the chip", "s-transformer", measured="chip"),
}
# Every trained rung takes the better of two. A rung whose units are smooth may have others than its architecture.
RATES = {
    "s-rnn": (3e-3, 1.2e-2),
    "s-transformer": (1.5e-2, 3e-2),
    "ann-rnn": (2e-3, 6e-3),
    "ann-transformer": (4e-3, 8e-3),
}


def trained(name: str, rung: Rung, runs: Path, corpus: corpora.Corpus, steps: int) -> dict[str, Any]:
    """Train a rung at each learning rate, and return the better one's figures."""
    found = []
    for rate in rung.tried():
        settings = _settings(rung, rate, steps)
        with owned_folder(runs / f"{name}-{rate:g}") as folder, rung.changed():
            run = training.Run(folder, rung.architecture, _network(rung), settings, corpus)
            with watched(run, f"{name} at {rate:g}, ") as told:
                run.train(told)
        found.append({"validation": run.progress.best_bits, "learning_rate": rate})
    best = min(found, key=lambda row: row["validation"])
    return {**best, "parameters": sum(p.numel() for p in run.network.parameters()), "rates_tried": found}


def measured_again(how: str, model: Model, corpus: corpora.Corpus) -> dict[str, Any]:
    """The validation split's bits per note with the weights of the chip, or on the chip."""
    pieces = corpus.evaluated("validation")
    if how == "chip":
        return {"validation": nll(model, pieces, ChipRunner(compile_model(model, CHIP).program))}
    assert isinstance(model.network, Network)
    model.network.rounding = TrainingGrid(CHIP).rounding(model.network)
    return {"validation": nll(model, pieces)}


def made(name: str, steps: int, corpus: corpora.Corpus) -> dict[str, Any]:
    """What the figures of a rung depend on, JSON-able."""
    rung = RUNGS[name]
    settings = [dataclasses.asdict(_settings(rung, rate, steps)) for rate in rung.tried()]
    told = {"network": _network(rung), "training": settings, "words": tokens.VERSION, "corpus": corpus.digest}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    return {"about": rung.about, "steps": steps, "digest": digest}


def _settings(rung: Rung, rate: float, steps: int) -> Settings:
    own = {
        "steps": steps,
        "learning_rate": rate,
        "validate_every": min(200, steps),
        "parallels_weight": 0.0,
    }
    preset = architectures.preset(rung.architecture, "small")["training"]
    return Settings(**{**preset, **own, **rung.training})


def _network(rung: Rung) -> dict[str, Any]:
    return {**architectures.preset(rung.architecture, "small")["network"], **rung.network}


def _trained_above(name: str) -> str:
    """The nearest rung above that is trained."""
    above = list(RUNGS)[: list(RUNGS).index(name)]
    return next(other for other in reversed(above) if not RUNGS[other].measured)


def climb(names: Sequence[str], runs: Path, file: Path, steps: int) -> None:
    """Train and measure the rungs, and keep each in `file` as soon as it is done."""
    corpus = corpora.load("jsb")
    for name in names:
        rung, wanted = RUNGS[name], made(name, steps, corpus)
        if wanted.items() <= _read(file).get(name, {}).items():
            continue
        if rung.measured:
            above = _trained_above(name)
            if not made(above, steps, corpus).items() <= (row := _read(file).get(above, {})).items():
                raise BadInput(f"{name}: is the rung {above} on other numbers, which {file} lacks; train it first")
            model = training.load_model(runs / f"{above}-{row['learning_rate']:g}" / "model")
            with training.without_denormals():
                row = measured_again(rung.measured, model, corpus)
        else:
            row = trained(name, rung, runs, corpus, steps)
        ledger = _read(file)  # another process may have added a rung meanwhile
        ledger[name] = {"family": rung.family, **wanted, **row}
        ordered = {other: ledger[other] for other in RUNGS if other in ledger}
        with write_whole(file) as path:
            path.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {row['validation']:.3f}", flush=True)


def _read(file: Path) -> dict[str, Any]:
    """The rungs in the ledger; none if there is no such file."""
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Climb the rungs that `arguments` name (None: those of the process), or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rungs", nargs="*", metavar="RUNG", help=f"{', '.join(RUNGS)} (default: all, in this order)")
    parser.add_argument("--runs", type=Path, default=Path("runs/ledger"), help="where runs are kept")
    parser.add_argument(
        "-o", "--output", type=Path, default=FILE, help="the ledger (default: docs/results/ledger.json)"
    )
    parser.add_argument("--steps", type=int, default=STEPS, help=f"steps of training (default: {STEPS})")
    args = parser.parse_args(arguments)
    if stranger := next((name for name in args.rungs if name not in RUNGS), None):
        parser.error(f"rung {stranger!r} is not known; known are {', '.join(RUNGS)}")
    try:
        climb(args.rungs or list(RUNGS), args.runs, args.output, args.steps)
    except BadInput as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
