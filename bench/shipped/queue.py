"""The queue: train what is missing, measure it, and keep its result, its log and, if it ships, its weights.

A recipe is done when the folder of results holds a result of just this recipe, on these words and this edition of the
corpus. Any number of processes can work on one queue: each takes the next model that no other is training. A process
that is killed loses the steps since the last validation; the next one goes on from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from muspike import corpora, tokens
from muspike.bench.shipped import measure
from muspike.bench.shipped.recipes import Entry
from muspike.checkpoint import Model, load_model, save_model
from muspike.errors import BadInput
from muspike.files import owned_folder, write_whole
from muspike.generation import Sampling
from muspike.processes import CPU
from muspike.recipe import train
from muspike.training import Run, without_denormals


@dataclass(frozen=True)
class Place:
    """Where the queue works.

    Attributes:
        runs: a folder for each run. It may be removed when the run's result is there; a teacher that is wanted again
            is then trained again.
        results: a JSON file for each finished model.
        logs: a text file for each run: what its validations said.
        models: where models that ship are put.
    """

    runs: Path
    results: Path
    logs: Path
    models: Path

    @classmethod
    def of_checkout(cls) -> Place:
        """The places in a checkout of muspike.

        Raises:
            BadInput: muspike does not run from a checkout.
        """
        root = Path(__file__).parents[2]
        if not (root / "docs" / "results").is_dir() or not (root / "muspike" / "models").is_dir():
            raise BadInput(f"{root}: is no checkout of muspike; clone the repository and run this there")
        results = root / "docs" / "results"
        return cls(root / "runs" / "models", results / "models", results / "logs" / "training", root / "muspike/models")


def result_of(entry: Entry, place: Place) -> dict[str, Any] | None:
    """The result of a finished model; None if there is none, or one of another recipe, words or corpus.

    Where the corpus cannot be had, its edition is not compared.
    """
    file = place.results / f"{entry.name}.json"
    if not file.exists():
        return None
    found = read_result(file)
    made = json.loads(json.dumps(_made(entry, None if lacks(entry) else corpora.load(entry.recipe.data).digest)))
    if made["corpus"] is None:
        made["corpus"] = found["made"].get("corpus")
    return found if found["made"] == made else None


def lacks(entry: Entry) -> str:
    """Why the corpus of a model cannot be had here; "": it can."""
    try:
        corpora.load(entry.recipe.data)
    except BadInput as error:
        return str(error)
    return ""


def read_result(file: Path) -> dict[str, Any]:
    """The content of a result's file.

    Raises:
        BadInput: it cannot be read, or is of models on other words than today's.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        version = found["made"]["words"]
        for key in ("name", "family", "twin", "measured", "data"):
            found[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{file}: is no result of the queue ({error!r:.80}); remove it to train the model anew"
        ) from error
    if version != tokens.VERSION:
        raise BadInput(f"{file}: is of a model of words {version}, today's are {tokens.VERSION}; train the model anew")
    return dict(found)


def _made(entry: Entry, digest: str | None) -> dict[str, Any]:
    """What a result depends on. `digest` is that of the corpus."""
    return {**entry.to_dict(), "words": tokens.VERSION, "corpus": digest}


@dataclass(frozen=True)
class Left:
    """A model that is not finished.

    Attributes:
        entry: its recipe.
        minutes: an estimate of the time that is left on one core.
        step: the step from which a run goes on; 0 if there is none.
        held: whether a process works on it now.
        lacks: why its corpus cannot be had here; "": it can.
    """

    entry: Entry
    minutes: float
    step: int
    held: bool
    lacks: str = ""


def left(entries: Sequence[Entry], place: Place) -> list[Left]:
    """What is not finished, in the order of the queue."""
    found = []
    for entry in entries:
        with contextlib.suppress(BadInput):
            if result_of(entry, place) is not None:
                continue
        run = place.runs / entry.name
        held = False
        if run.is_dir():
            try:
                with owned_folder(run):
                    pass
            except BadInput:
                held = True
        step = _step(run)
        share = 1 - min(1.0, step / entry.recipe.steps) if entry.recipe.steps else 1.0
        found.append(Left(entry, entry.minutes * share, step, held, lacks(entry)))
    return found


def _step(run: Path) -> int:
    """The step of the last state in the folder of a run, 0 without one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(run / "state.safetensors", "pt") as file:
            return int(json.loads(file.metadata()["muspike"])["progress"]["step"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return 0


def work(
    entries: Sequence[Entry],
    place: Place,
    *,
    device: torch.device = CPU,
    said: Callable[[str], object] = print,
) -> tuple[list[str], list[str]]:
    """Train and measure what is missing, and return the names of the models that were finished and of those held.

    Models whose corpus cannot be had here are left out, which is said in one line for each corpus. A teacher that is
    not here is trained first. Where another process trains it, all other models come first, and its pupils are left out
    if it is not finished then.

    Args:
        entries: the queue.
        place: where it works.
        device: where torch computes.
        said: called with a line at the start and at the end of each model, and for each corpus that is not here.

    Raises:
        BadInput: a recipe is refused.
        Failed: a training fails, or the disk refuses. What was kept stays; the next call goes on from there.
    """
    finished: list[str] = []
    held: list[str] = []
    without: dict[str, list[str]] = {}
    missing: dict[str, Entry] = {}
    for entry in entries:
        with contextlib.suppress(BadInput):  # the result is of other words: it is made anew
            if result_of(entry, place) is not None:
                continue
        if why := lacks(entry):
            without.setdefault(why, []).append(entry.name)
            continue
        if entry.teacher and not _teaches(entry.teacher, place):
            missing.setdefault(entry.teacher.name, entry.teacher)
        missing.setdefault(entry.name, entry)
    for why, names in without.items():
        said(f"{', '.join(names)}: left out: {why}")
    waiting = list(missing.values())
    while waiting:
        turn, waiting = waiting, []
        before = len(finished)
        for entry in turn:
            if entry.teacher and not _teaches(entry.teacher, place):
                waiting.append(entry)
            elif _worked(entry, place, device, said):
                finished.append(entry.name)
            else:
                held.append(entry.name)
        if len(finished) == before:  # another process has the teacher, and there is nothing else to do
            for entry in waiting:
                assert entry.teacher is not None
                said(f"{entry.name}: left out: its teacher {entry.teacher.name} is not finished")
            break
    return finished, held


def _worked(entry: Entry, place: Place, device: torch.device, said: Callable[[str], object]) -> bool:
    """Train, measure and keep a model; False if another process has it."""
    run = place.runs / entry.name
    try:
        with owned_folder(run):
            pass
    except BadInput as error:
        if "another muspike command" not in str(error):
            raise
        said(f"{entry.name}: {error}")
        return False
    said(f"{entry.name}: training, about {entry.minutes:.0f} minutes on one core")
    finish(entry, place, _trained(entry, place, run, device))
    said(f"{entry.name}: finished, {place.results / entry.name}.json")
    return True


def _teaches(teacher: Entry, place: Place) -> bool:
    """Whether a teacher is finished and its run is here."""
    with contextlib.suppress(BadInput):
        result = result_of(teacher, place)
        return result is not None and _measured_model(result, place) is not None
    return False


def _trained(entry: Entry, place: Place, run: Path, device: torch.device) -> Model:
    """Train a model, or go on from its last state. Its log holds all validations of the run so far."""

    @contextlib.contextmanager
    def report(run: Run, part: str) -> Iterator[Callable[[int, float, float | None], None]]:
        from muspike.cli.train import watched

        with watched(run, part) as told:

            def both(step: int, bits: float, validated: float | None) -> None:
                told(step, bits, validated)
                if validated is not None:
                    _log(place.logs / f"{entry.name}.txt", run, part)

            yield both
        _log(place.logs / f"{entry.name}.txt", run, part)  # also of a run that was done already

    teacher = place.runs / entry.teacher.name / "model" if entry.teacher else None
    recipe = dataclasses.replace(entry.recipe, folder=run, teacher=teacher)
    return train(recipe, report=report, device=device).model


def _log(file: Path, run: Run, part: str) -> None:
    """Write what all validations of a run said. The log of a warm-up stays above that of the run after it."""
    text = io.StringIO()
    for point in run.progress.history:
        rate = "" if point["firing_rate"] is None else f", firing rate {point['firing_rate']:.3f}"
        train = "" if point["train"] is None else f"training {point['train']:.3f}, "
        text.write(f"{part}step {point['step']}: {train}validation {point['validation']:.3f} bits per note{rate}")
        text.write(f"{run.told(point)}\n")
    text.write(f"{part}{run.progress.seconds / 60:.0f} minutes on {run.device}\n")
    above = ""
    if not part and file.exists():
        above = "".join(x for x in file.read_text(encoding="utf-8").splitlines(True) if x.startswith("warm-up "))
    with write_whole(file) as path:
        path.write_text(above + text.getvalue(), encoding="utf-8")


def finish(entry: Entry, place: Place, model: Model) -> dict[str, Any]:
    """Measure a trained model, keep its result, and put it among those that ship if it is one of them.

    What ships has weights in half precision, and these are measured. The test split is read here and nowhere before,
    and nothing is chosen by it.
    """
    corpus = corpora.load(entry.recipe.data)
    folder = place.models / entry.ships if entry.ships else place.runs / entry.name / "rounded"
    save_model(model, folder, torch.float16)
    rounded = load_model(folder)
    with without_denormals():
        found = measure.measured(rounded, corpus, entry.sampling)
    measured = {
        "measured_on": corpus.digest,
        "validation_bits_per_note": found["validation"],
        "test_bits_per_note": found["test"],
        "test_firing_rate": found["firing_rate"],
    }
    save_model(dataclasses.replace(rounded, training=rounded.training | measured), folder, torch.float16)
    result = {
        "name": entry.name,
        "family": entry.family,
        "twin": entry.twin,
        "made": _made(entry, corpus.digest),
        "measured": found,
        "data": measure.of_data(corpus),
    }
    _write_result(place.results / f"{entry.name}.json", result)
    return result


def _write_result(file: Path, result: Mapping[str, Any]) -> None:
    with write_whole(file) as path:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measure_again(place: Place, said: Callable[[str], object]) -> list[str]:
    """Measure the finished models whose weights are here, and renew their results; nothing is trained.

    So results follow a change in how networks compose or are measured. The name of each model that was measured is
    returned; `said` is told of the others.
    """
    done = []
    for file in sorted(place.results.glob("*.json")):
        result = read_result(file)
        model = _measured_model(result, place)
        if model is None:
            said(f"{result['name']}: its weights are not here; its result stays as it is")
            continue
        said(f"{result['name']}: measuring")
        corpus = corpora.load(result["made"]["recipe"]["data"])
        with without_denormals():
            sampling = Sampling(**result["made"]["sampling"])
            result["measured"] = measure.measured(model, corpus, sampling)
        result["made"]["sampling"] = dataclasses.asdict(sampling)
        _write_result(file, result | {"data": measure.of_data(corpus)})
        done.append(result["name"])
    return done


def _measured_model(result: Mapping[str, Any], place: Place) -> Model | None:
    """The very model of a result, among those that ship or that were trained here."""
    for folder in (place.models / result["family"], place.runs / result["name"] / "rounded"):
        if (folder / "model.json").exists():
            model = load_model(folder)
            # Another machine adds up in another order.
            if math.isclose(model.training.get("test_bits_per_note", 0), result["measured"]["test"], rel_tol=1e-6):
                return model
    return None


def print_left(entries: Sequence[Entry], place: Place) -> None:
    """Print what is left, with an estimate."""
    rows = left(entries, place)
    for row in rows:
        state = f"goes on from step {row.step}" if row.step else "not begun"
        if row.held:
            state = "held by another process"
        elif row.lacks:
            state += f"; corpus {row.entry.recipe.data} is not here"
        print(f"{row.entry.name:<20} {row.minutes:>5.0f} min  {state}")
    hours = sum(row.minutes for row in rows) / 60
    done = f"{len(entries) - len(rows)} of {len(entries)} models are finished"
    print(f"{done}; {hours:.1f} core hours are left")
    for why in dict.fromkeys(row.lacks for row in rows if row.lacks):
        print(why)
