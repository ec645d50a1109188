"""The whole report on one or more models: what they compose, what they do on the chip, and what it costs there.

All music and all counts are those of the deployed, integer network; the torch network is measured beside it for
comparison. Costs and activity are those of reading: the chip reads the first 128 words of the test pieces that are long
enough (the entry `reading` says how many pieces and words). NLL is of whole pieces.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch

from muspike import __version__, corpora, metrics, midi, tokens
from muspike.bench import audio
from muspike.bench.activity import summarise
from muspike.bench.reading import Reading, parts
from muspike.bench.report import Material, chip_entry, misfit_entry, write_report
from muspike.bench.workload import EXCERPT, excerpts_of, read_music
from muspike.checkpoint import Model, load_model
from muspike.errors import BadInput
from muspike.evaluation import likelihood
from muspike.export import lava_runner
from muspike.export.loihi import ChipRunner, compile_model
from muspike.export.presentation import Presentation
from muspike.export.words import example_words
from muspike.files import owned_folder
from muspike.generation import Sampling, generate
from muspike.hardware.chip import Chip, as_chip, known_chips
from muspike.hardware.mapping.compile import Compiled, spread_over
from muspike.hardware.program import Program
from muspike.hardware.running.agreement import SpikeAgreement, agreement
from muspike.metrics.distance import distance
from muspike.model_folder import shipped_models
from muspike.tokens import Words

# This chip composes the pieces if it is reported on and the network fits it; else the first chip that the network fits.
PREFERRED_CHIP = "loihi1"
PACKAGES = ("torch", "norse", "nir", "numpy", "numba", "symusic", "music21")


def bench(
    names: Sequence[str],
    folder: Path,
    *,
    chips: Sequence[Chip | str | os.PathLike[str]] = (),
    quick: bool = False,
    with_lava: bool = True,
    python: str | None = None,
    seed: int = 0,
) -> tuple[dict[str, Any], Path]:
    """Measure models and write the report. No second command may use the folder meanwhile.

    Args:
        names: names or folders of the models; empty: all shipped models.
        folder: where the report is written.
        chips: the chips to report on, each a `Chip`, a name, or the path of a TOML file; empty: all known ones.
        quick: 16 generated pieces, 16 read pieces and 16 words against Lava, instead of 64 each.
        with_lava: whether to compare with Lava.
        python: an interpreter that has Lava; None: the one that muspike makes.
        seed: seed of composing.

    Returns:
        The content of `bench.json`, and the path of the page.

    Raises:
        BadInput: there is no such model or chip, two chips have one name, or the test split of a corpus has no piece of
            `EXCERPT` words; or the folder cannot be written, or is in use.
        Failed: the disk refuses, or Lava was asked for and cannot run.
    """
    on = [as_chip(chip) for chip in chips or known_chips()]
    if twice := next((chip.name for chip in on if [c.name for c in on].count(chip.name) > 1), None):
        raise BadInput(f"bench: two chips are called {twice}; the report tells them apart by their names")
    with owned_folder(folder):
        return _measured(names, folder, quick, with_lava, python, seed, on)


def _measured(
    names: Sequence[str], folder: Path, quick: bool, with_lava: bool, python: str | None, seed: int, on: Sequence[Chip]
) -> tuple[dict[str, Any], Path]:
    models: dict[str, Model] = {}
    for name in names or shipped_models():
        model = load_model(name)
        models[model.architecture if model.architecture not in models else str(name)] = model
    if not models:
        raise BadInput("bench: muspike comes without models; name a model folder (see muspike train --help)")
    if with_lava:
        lava_runner.find_lava_python(python)  # before the work whose last step needs it
    pieces, words = (16, 16) if quick else (64, 64)
    settings = {
        "seed": seed,
        "generated_pieces": pieces,
        "excerpt_words": EXCERPT,
        "lava_words": words if with_lava else 0,
        "temperature": Sampling().temperature,
        "top_p": Sampling().top_p,
    }
    steps = Steps(len(models) * (6 if with_lava else 5))
    architectures, material = {}, {}
    for name, model in models.items():
        architectures[name], material[name] = _profile(
            model, name, on, steps, pieces, words if with_lava else 0, python, seed
        )
    results = {
        "muspike": __version__,
        "machine": _machine(),
        "versions": {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in PACKAGES}},
        "settings": settings,
        "chip_warnings": [warning for chip in on for warning in chip.warnings],
        "architectures": architectures,
    }
    page, _ = write_report(results, folder, material, _heard_of_data(models) if audio.missing() is None else {})
    return results, page


class Steps:
    """Prints a line on stderr per step of the work, and the seconds that the step took."""

    def __init__(self, count: int) -> None:
        self.count, self.done = count, 0

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        self.done += 1
        print(f"[{self.done}/{self.count}] {what}", file=sys.stderr, flush=True)
        started = time.monotonic()
        yield
        print(f"      {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


def _machine() -> dict[str, str | int]:
    memory = round(psutil.virtual_memory().total / 2**30)
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 0,
        "memory_gib": memory,
    }


def _profile(
    model: Model,
    name: str,
    on: Sequence[Chip],
    steps: Steps,
    pieces: int,
    lava_words: int,
    python: str | None,
    seed: int,
) -> tuple[dict[str, Any], Material]:
    with steps.step(f"{name}: test split of {model.training['corpus']}"):
        corpus = corpora.load(model.training["corpus"])
        test = [piece.words for piece in corpus.split("test")]
        excerpts = excerpts_of(corpus, "test")
        # Activity and energy are those of as many excerpts as are composed. The music is compared with all excerpts.
        heard = read_music(Presentation.of(model.spiking), corpus, pieces)
        assert heard.words is not None and heard.tokens is not None  # it is music
    with steps.step(f"{name}: programs for {', '.join(chip.name for chip in on)}"):
        compiled, misfits = _on_chips(model, on)
    # A network that does not fit a chip is not run on it, so it has no quality and no cost there.
    runners = {chip: ChipRunner(c.program) for chip, c in compiled.items()}
    if not runners:
        raise BadInput(f"{name} fits no chip: {'; '.join(misfits.values())}")
    shown = PREFERRED_CHIP if PREFERRED_CHIP in runners else next(iter(runners))
    with steps.step(f"{name}: likelihood of {len(test)} pieces, torch and chip"):
        nll = likelihoods(model, runners, test)
        nll["chip"] |= dict.fromkeys(misfits)
    with steps.step(f"{name}: {pieces} pieces composed by {shown}"):
        composed = generate(runners[shown], pieces, EXCERPT, seed, ended=False)
        music, samples = _music(composed, excerpts)
    with steps.step(f"{name}: activity and energy on {heard.batch} excerpts"):
        notes, words = heard.shares, heard.tokens
        reading = {"pieces": heard.batch, "words": words, "notes": notes, "of_words": sum(map(len, test))}
        chips: dict[str, Any] = {}
        for chip in (c.name for c in on):
            if chip in misfits:
                chips[chip] = misfit_entry(misfits[chip])
                continue
            mappings = spread_over(compiled[chip])
            programs = [mapping.program for mapping in mappings]
            read = Reading(runners[chip], programs, heard.words, compiled[chip].chip)
            chips[chip] = costs_on_chip(mappings, runners[chip], read, words, notes)
            if chip == shown:
                spikes_on_chip = read.spikes
                activities = summarise(compiled[chip].program, read.firing, read.counts[0], words, notes)
            del read
        followed = _float_integer(model, compiled[shown], spikes_on_chip, heard.words)
    followed["nll_change_percent"] = (nll["chip"][shown] / nll["torch"] - 1) * 100
    spikes = differences = None
    if lava_words:
        with steps.step(f"{name}: Lava fixed_pt on {lava_words} words"):
            spikes, differences = _against_lava(compiled[shown], example_words(model, lava_words, batch=1), python)
    result = {
        "model": _about(model, name),
        "quality": {"nll_bits_per_note": nll, "metrics": music},
        "reading": reading,
        "activity": activities | {"chip": shown},
        "chip": chips,
        "agreement": {
            "lava_fixed_spikes": spikes,
            "lava_fixed_differences": differences,
            "float_integer": followed,
        },
    }
    period = model.spiking.timing.period
    score = tokens.decode(composed[0])
    material = Material(
        score=score,
        midi=_as_midi(score),
        mp3=audio.mp3(score) if audio.missing() is None else None,
        period=period,
        samples=samples,
        **_drawn_spikes(compiled[shown].program, spikes_on_chip, period),
    )
    return result, material


def _drawn_spikes(program: Program, spikes: Mapping[str, npt.NDArray[np.uint8]], period: int) -> dict[str, Any]:
    """The spikes of the first sequence, without relays, and the first token at which every population hears words.

    Before that token a deep population is silent, whatever it does later.
    """
    relays = program.roles.relays
    shown = [p for p in program.populations if p.name in spikes and p.name not in relays]
    return {
        "spikes": {p.name: spikes[p.name][:, 0] for p in shown},
        "first_token": -(-max(p.level for p in shown) // period),
        "relays": {p.name: p.size for p in program.populations if p.name in relays},
    }


def _on_chips(model: Model, on: Sequence[Chip]) -> tuple[dict[str, Compiled], dict[str, str]]:
    """The model compiled for each chip that it fits, and for each other chip the reason why it does not, by name."""
    compiled, misfits = {}, {}
    for chip in on:
        try:
            found = compile_model(model, chip, must_fit=False)
        except BadInput as error:  # the chip has no means for it, whatever the number of cores
            misfits[chip.name] = str(error)
            continue
        if found.use.fits:
            compiled[chip.name] = found
        else:
            misfits[chip.name] = "; ".join(found.use.problems)
    return compiled, misfits


def _about(model: Model, name: str) -> dict[str, Any]:
    timing = model.spiking.timing
    return {
        "name": name,
        "architecture": model.architecture,
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "neurons": sum(p.size for p in model.spiking.populations.values() if p.kind != "input"),
        "ticks_per_word": timing.ticks,
        "period_ticks": timing.period,
        "trained_on": model.training["corpus"],
        "training_steps": model.steps,
        "validation_bits_per_note": model.training["validation_bits_per_note"],
    }


def likelihoods(model: Model, runners: Mapping[str, ChipRunner], pieces: Sequence[Words]) -> dict[str, Any]:
    """Bits per note of whole pieces, for the float network (`torch`) and for the integer networks (`chip`, by chip)."""
    noise = model.spiking.noise

    def on_torch(words: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model.network(torch.from_numpy(noise.behind(words.numpy())))[0]
        return logits

    def on_chip(runner: ChipRunner, words: torch.Tensor) -> torch.Tensor:
        runner.reset(words.shape[1])
        given = noise.behind(words.numpy())  # the same noise as for torch
        # In parts, to save memory; the simulator keeps its state from part to part.
        parts = [runner.run(given[start : start + EXCERPT])[0] for start in range(0, len(given), EXCERPT)]
        return torch.from_numpy(np.concatenate(parts))

    return {
        "torch": likelihood(on_torch, pieces).bits_per_note,
        "chip": {
            chip: likelihood(lambda words, r=runner: on_chip(r, words), pieces).bits_per_note  # type: ignore[misc]
            for chip, runner in runners.items()
        },
    }


def _music(composed: Sequence[Words], excerpts: Words) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Every metric of the composed pieces, beside the excerpts of the test split."""
    generated, reference = (
        # Chords are recognised in both sets. The chords that a model chose itself would be another judge.
        metrics.evaluate_set(
            [dataclasses.replace(tokens.decode(w), chords=None) for w in pieces], list(metrics.METRICS)
        )
        for pieces in (composed, list(excerpts.swapaxes(0, 1)))
    )

    def moments(values: npt.NDArray[np.float64]) -> dict[str, float | None]:
        known = values[np.isfinite(values)]
        if not len(known):
            return {"mean": None, "std": None}
        return {"mean": float(known.mean()), "std": float(known.std())}

    table: dict[str, Any] = {}
    for metric in metrics.METRICS:
        table[metric] = {"generated": moments(generated[metric]), "reference": moments(reference[metric])}
        area = distance(generated[metric], reference[metric]).overlapping_area
        if np.isfinite(area):
            table[metric]["overlapping_area"] = float(area)
    return table, {m: {"generated": generated[m], "reference": reference[m]} for m in metrics.METRICS}


def costs_on_chip(
    mappings: Sequence[Compiled], runner: ChipRunner, reading: Reading, words: int, notes: int
) -> dict[str, Any]:
    """The entry of a chip in `bench.json`.

    Args:
        mappings: the mappings onto the chip, the main one first.
        runner: ran the reading.
        reading: what each mapping did, and the meters that ran along.
        words: words read.
        notes: notes read.
    """
    compiled = mappings[0]
    use = compiled.use
    rows = [{"core": core.core, "percent": dict(core.per_cent)} for core in use.cores]
    reads = words * sum(p.size for p in compiled.program.readouts)
    first, *others = (meter.energy(reads=reads) for meter in reading.meters[0])
    spread = [
        (mapping.fill, len(mapping.use.cores), meter.energy())
        for mapping, (meter, *_) in zip(mappings, reading.meters, strict=True)
    ]
    entry = chip_entry(
        first, notes, len(use.cores), use.binding, rows, fill=compiled.fill, others=others, mappings=spread
    )
    if compiled.cores_between is not None:
        entry["cores_between"] = list(compiled.cores_between)
    return {
        **entry,
        "accumulator_overflows": runner.overflows,
        "readout_resets": runner.readout_resets,
        "risks": list(compiled.risks),
    }


def _float_integer(
    model: Model, compiled: Compiled, on_chip: Mapping[str, npt.NDArray[np.uint8]], words: Words
) -> dict[str, float | None]:
    """How the integer network's spikes follow the float network's on the same words.

    `spike_agreement` is the share of all spikes of either network that both have, of the same neuron in the same ideal
    tick. `rate_change` is how much more the integer network fires.
    """
    network, program = model.spiking.without_composites(), compiled.program
    layers = [p for p in program.populations if p.kind == "lif" and p.name in network.populations]
    period = network.timing.period
    rows: list[SpikeAgreement] = []
    with _one_thread():
        for part in parts(words.shape[1], 4 * len(words) * period * sum(p.size for p in layers)):
            with torch.no_grad():
                _, spikes = network(torch.from_numpy(words[:, part]), record=[p.name for p in layers])
            ideal = {}
            for population in layers:
                recorded = spikes[population.name].numpy()  # [tokens, slots, batch, neurons]
                ticks = np.zeros((recorded.shape[0], period, *recorded.shape[2:]), np.uint8)
                ticks[:, : recorded.shape[1]] = recorded != 0
                ideal[population.name] = ticks.reshape(-1, *recorded.shape[2:])
            chip = {name: spikes[:, part] for name, spikes in on_chip.items()}
            rows += (row for row in agreement(program, ideal, {}, chip, {}) if isinstance(row, SpikeAgreement))
    total = SpikeAgreement.together("all layers", rows)
    return {"spike_agreement": total.agreement, "rate_change": total.rate_change}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch work on one thread for a while.

    The products of a network that is computed slot by slot are small. On two threads that wait for each other, S-LSTM
    took 46 s of two cores' time, and 6 s on one thread.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _against_lava(compiled: Compiled, words: Words, python: str | None) -> tuple[int, int]:
    """Spikes of Lava's run, and neuron-ticks in which a spike, u or v differs from the simulator's."""
    program = compiled.program
    rows, _ = lava_runner.verify(program, Presentation.read(program.metadata).spikes(words), python)
    return sum(r.spikes for r in rows), sum(r.differences for r in rows)


def _heard_of_data(models: Mapping[str, Model]) -> dict[str, bytes]:
    """A test piece of each corpus that the models were trained on, as sound, as long as the composed ones."""
    names = dict.fromkeys(str(model.training["corpus"]) for model in models.values())
    pieces = {name: excerpts_of(corpora.load(name), "test")[:, 0] for name in names}
    return {f"{name}, a test piece": audio.mp3(tokens.decode(words)) for name, words in pieces.items()}


def _as_midi(score: midi.Score) -> bytes:
    with tempfile.TemporaryDirectory(prefix="muspike-") as folder:
        file = Path(folder) / "piece.mid"
        midi.write(score, file)
        return file.read_bytes()
