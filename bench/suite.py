"""The whole report on one or more models: what they compose, what they do on the chip, and what it costs there.

All music and all counts are those of the deployed, integer network; the torch network is measured beside it for
comparison. Costs and activity are those of reading: the chip reads the first 128 words of the test pieces that are long
enough (the entry `reading` says how many pieces and words). NLL is of whole pieces.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch

from muspike import __version__, corpora, metrics, midi, tokens
from muspike.bench import audio, quality
from muspike.bench.activity import summarise
from muspike.bench.parts import Part, part_path
from muspike.bench.reading import Reading, parts
from muspike.bench.report import Material, chip_entry, misfit_entry, write_report
from muspike.bench.shipped.queue import Place
from muspike.bench.shipped.tables import read_results
from muspike.bench.sweep import write_sweep
from muspike.bench.workload import EXCERPT, excerpts_of, read_music
from muspike.checkpoint import Model, load_model
from muspike.errors import BadInput, MuspikeError
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
from muspike.jobs import results as results_of
from muspike.metrics.distance import distance
from muspike.model_folder import digest, find_folder, read_header, shipped_models
from muspike.tokens import Words

# This chip composes the pieces if it is reported on and the network fits it; else the first chip that the network fits.
PREFERRED_CHIP = "loihi1"
DATA = "jsb"
"""The corpus whose shipped models are measured if none is named."""
PACKAGES = ("torch", "norse", "nir", "numpy", "numba", "symusic", "music21")


@dataclass(frozen=True)
class Job:
    """One model, one seed, and how it is measured. A job can be sent to another machine that has the same muspike.

    Attributes:
        model: the name or the folder of the model.
        name: what the report calls it.
        seed: seed of composing.
        chips: the chips to report on.
        pieces: pieces that are composed, and that are read.
        lava_words: words that are compared with Lava; 0: none.
        python: an interpreter that has Lava; None: the one that muspike makes.
    """

    model: str
    name: str
    seed: int
    chips: tuple[Chip, ...]
    pieces: int
    lava_words: int
    python: str | None

    def depends_on(self) -> dict[str, Any]:
        """Everything that the figures depend on, JSON-able."""
        return {
            "muspike": __version__,
            "words": tokens.VERSION,
            "model": digest(read_header(find_folder(self.model))),
            "seed": self.seed,
            "chips": hashlib.sha256(repr(self.chips).encode()).hexdigest(),
            "pieces": self.pieces,
            "lava_words": self.lava_words,
        }


def bench(
    names: Sequence[str],
    folder: Path,
    *,
    chips: Sequence[Chip | str | os.PathLike[str]] = (),
    quick: bool = False,
    with_lava: bool = True,
    python: str | None = None,
    seeds: Sequence[int] = (0,),
    resume: bool = False,
    cluster: str | None = None,
) -> tuple[dict[str, Any], Path]:
    """Measure models and write the report. No second command may use the folder meanwhile.

    What is measured of a model is kept in `folder/parts`, so that a stopped report can go on.

    Args:
        names: names or folders of the models; empty: all shipped models of the chorales.
        folder: where the report is written.
        chips: the chips to report on, each a `Chip`, a name, or the path of a TOML file; empty: all known ones.
        quick: 16 generated pieces, 16 read pieces and 16 words against Lava, instead of 64 each.
        with_lava: whether to compare with Lava.
        python: an interpreter that has Lava; None: the one that muspike makes.
        seeds: seeds of composing. The report is of the first. With several, `sweep.json` and `sweep.html` have the
            mean and the spread of all.
        resume: whether to take what was measured before, of the same model with the same settings.
        cluster: the address of a Ray cluster that measures the models side by side; None: this process measures.

    Returns:
        The content of `bench.json`, and the path of the page.

    Raises:
        BadInput: there is no such model, chip or cluster, two chips have one name, or the test split of a corpus has no
            piece of `EXCERPT` words; or the folder cannot be written, or is in use.
        Failed: the disk refuses, or Lava was asked for and cannot run.
    """
    on = tuple(as_chip(chip) for chip in chips or known_chips())
    if twice := next((chip.name for chip in on if [c.name for c in on].count(chip.name) > 1), None):
        raise BadInput(f"bench: two chips are called {twice}; the report tells them apart by their names")
    if not seeds or len(set(seeds)) < len(seeds):
        raise BadInput(f"bench: seeds are {', '.join(map(str, seeds)) or 'none'}; expected each once")
    pieces, words = (16, 16) if quick else (64, 64)
    with owned_folder(folder):
        models: dict[str, str] = {}
        for name in names or shipped_models(DATA):
            architecture = read_header(find_folder(name))["architecture"]
            models[architecture if architecture not in models else str(name)] = str(name)
        if not models:
            raise BadInput("bench: muspike comes without models; name a model folder (see muspike train --help)")
        if with_lava:
            lava_runner.find_lava_python(python)  # before the work whose last step needs it
        jobs = [
            Job(model, name, seed, on, pieces, words if with_lava else 0, python)
            for seed in seeds
            for name, model in models.items()
        ]
        measured = _parts_of(jobs, folder, resume, cluster)
        first = dict(zip(models, measured[: len(models)], strict=True))
        results = {
            "muspike": __version__,
            "machine": _machine(),
            "versions": {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in PACKAGES}},
            "settings": {
                "seed": seeds[0],
                "generated_pieces": pieces,
                "excerpt_words": EXCERPT,
                "lava_words": words if with_lava else 0,
                "sampling": dataclasses.asdict(Sampling()),
            },
            "chip_warnings": [warning for chip in on for warning in chip.warnings],
            "architectures": {name: part.result for name, part in first.items()},
        }
        material = {name: _material(part) for name, part in first.items()}
        trained_on = dict.fromkeys(str(part.result["model"]["trained_on"]) for part in first.values())
        heard = {f"{name}, a test piece": _test_piece(name) for name in trained_on} if audio.missing() is None else {}
        page, _ = write_report(results, folder, material, heard)
        if len(seeds) > 1:
            write_sweep([(job.name, job.seed, part.result) for job, part in zip(jobs, measured, strict=True)], folder)
        return results, page


def _parts_of(jobs: Sequence[Job], folder: Path, resume: bool, cluster: str | None) -> list[Part]:
    """What is measured of each job, in their order. Each is on disk as soon as it is there."""
    paths = [part_path(folder, f"{job.name}-seed-{job.seed}", job.depends_on()) for job in jobs]
    found: dict[int, Part] = {}
    for number, path in enumerate(paths):
        if resume and path.exists():
            found[number] = Part.load(path)
            print(f"{jobs[number].name}, seed {jobs[number].seed}: as measured before", file=sys.stderr, flush=True)
    missing = [number for number in range(len(jobs)) if number not in found]
    for done, (index, part) in enumerate(results_of([jobs[number] for number in missing], measure, cluster), start=1):
        number = missing[index]
        part.save(paths[number])
        found[number] = part
        if cluster is not None:
            told = f"[{done}/{len(missing)}] {jobs[number].name}, seed {jobs[number].seed}: measured"
            print(told, file=sys.stderr, flush=True)
    return [found[number] for number in range(len(jobs))]


def measure(job: Job) -> Part:
    """Measure one model.

    Raises what `bench` raises.
    """
    return _profile(load_model(job.model), job)


def _material(part: Part) -> Material:
    score = tokens.decode(part.words)
    return Material(
        score=score,
        midi=_as_midi(score),
        mp3=audio.mp3(score) if audio.missing() is None else None,
        period=part.period,
        samples=part.samples,
        spikes=part.spikes,
        first_token=part.first_token,
        relays=part.relays,
    )


class Steps:
    """Prints a line on stderr per step of the work on one model, and the seconds that the step took."""

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


def _profile(model: Model, job: Job) -> Part:
    name, pieces, seed = job.name, job.pieces, job.seed
    steps = Steps(6 if job.lava_words else 5)
    with steps.step(f"{name}: test split of {model.training['corpus']}"):
        corpus = corpora.load(model.training["corpus"])
        test = corpus.evaluated("test")
        excerpts = excerpts_of(corpus, "test")
        # Activity and energy are those of as many excerpts as are composed. The music is compared with all excerpts.
        heard = read_music(Presentation.of(model.spiking), corpus, pieces)
        assert heard.words is not None and heard.tokens is not None  # it is music
    with steps.step(f"{name}: programs for {', '.join(chip.name for chip in job.chips)}"):
        compiled, misfits = _on_chips(model, job.chips)
    # A network that does not fit a chip is not run on it, so it has no quality and no cost there.
    runners = {chip: ChipRunner(c.program) for chip, c in compiled.items()}
    if not runners:
        raise BadInput(f"{name} fits no chip: {'; '.join(misfits.values())}")
    shown = PREFERRED_CHIP if PREFERRED_CHIP in runners else next(iter(runners))
    with steps.step(f"{name}: likelihood of {len(test)} pieces, torch and chip"):
        nll, intervals = likelihoods(model, runners, test)
        nll["chip"] |= dict.fromkeys(misfits)
    with steps.step(f"{name}: {pieces} pieces composed by {shown}"):
        composed = generate(runners[shown], pieces, EXCERPT, seed, ended=False)
        music, samples = _music(composed, excerpts)
    with steps.step(f"{name}: activity and energy on {heard.batch} excerpts"):
        notes, words = heard.shares, heard.tokens
        reading = {"pieces": heard.batch, "words": words, "notes": notes, "of_words": sum(map(len, test))}
        chips: dict[str, Any] = {}
        for chip in (c.name for c in job.chips):
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
    if job.lava_words:
        with steps.step(f"{name}: Lava fixed_pt on {job.lava_words} words"):
            tried = example_words(model, job.lava_words, batch=1)
            spikes, differences = _against_lava(compiled[shown], tried, job.python)
    result = {
        "model": _about(model, name),
        "quality": {"nll_bits_per_note": nll, "nll_interval": intervals, **_twin(job.model, model), "metrics": music},
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
    drawn = _drawn_spikes(compiled[shown].program, spikes_on_chip, period)
    return Part(result=result, words=composed[0], period=period, samples=samples, **drawn)


def _twin(name: str, model: Model) -> dict[str, Any]:
    """The twin that the shipped model of this name is held against, if its result is at hand (in a checkout)."""
    if name not in shipped_models():
        return {}
    try:
        kept = read_results(Place.of_checkout(), ())
    except MuspikeError:  # no checkout, or results of other words
        return {}
    own = next((found for found in kept.get(model.architecture, ()) if found["twin"]), None)
    twins = kept.get(own["twin"], ()) if own else ()
    if not twins:
        return {}
    measured = twins[0]["measured"]
    named = {"name": twins[0]["family"], "bits_per_note": measured["test"], "parameters": measured["parameters"]}
    return {"twin": named}


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


def likelihoods(
    model: Model, runners: Mapping[str, ChipRunner], pieces: Sequence[Words]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Bits per note of whole pieces, for the float network (`torch`) and for the integer networks (`chip`, by chip).

    Returns:
        The figures, and in the same form their intervals over pieces.
    """
    in_torch = quality.of_network(model.network, pieces, compose=0).bits_per_note
    on_chip = {chip: quality.of_program(runner, pieces, compose=0).bits_per_note for chip, runner in runners.items()}
    figures = {"torch": in_torch.value, "chip": {chip: of.value for chip, of in on_chip.items()}}
    ends = {"torch": [in_torch.low, in_torch.high], "chip": {chip: [of.low, of.high] for chip, of in on_chip.items()}}
    return figures, ends


def every_metric(pieces: Sequence[Words]) -> dict[str, npt.NDArray[np.float64]]:
    """Every metric of pieces, by name: a value for each piece, nan where it is not defined.

    Chords are recognised anew: those that a model chose itself would be another judge.
    """
    scores = [dataclasses.replace(tokens.decode(words), chords=None) for words in pieces]
    return metrics.evaluate_set(scores, list(metrics.METRICS))


def moments(values: npt.NDArray[np.float64]) -> dict[str, float | None]:
    """Mean and standard deviation over the pieces that have a value; None if none has."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {"mean": None, "std": None}
    return {"mean": float(known.mean()), "std": float(known.std())}


def _music(composed: Sequence[Words], excerpts: Words) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Every metric of the composed pieces, beside the excerpts of the test split."""
    generated, reference = every_metric(composed), every_metric(list(excerpts.swapaxes(0, 1)))
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


def _test_piece(name: str) -> bytes:
    """A test piece of a corpus as sound, as long as the composed ones."""
    return audio.mp3(tokens.decode(excerpts_of(corpora.load(name), "test")[:, 0]))


def _as_midi(score: midi.Score) -> bytes:
    with tempfile.TemporaryDirectory(prefix="muspike-") as folder:
        file = Path(folder) / "piece.mid"
        midi.write(score, file)
        return file.read_bytes()
