"""The queue: train what is missing, measure it, and keep its result, its log and, if it ships, its weights.

A recipe is done when the folder of results holds a result of just this recipe, on these words and this edition of the
corpus. Any number of processes can work on one queue: each takes the next model that no other has. A process that is
killed loses the steps since the last validation; the next one goes on from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from muspike import adversarial, architectures, corpora, tokens
from muspike.bench.shipped import measure
from muspike.bench.shipped.recipes import Entry, told_apart
from muspike.checkpoint import Model, load_model, save_model
from muspike.errors import BadInput, Busy, Diverged, Failed
from muspike.files import check_file, check_target, is_owned, owned_folder, remove_temporaries, write_whole
from muspike.generation import Sampling
from muspike.model_folder import read_header
from muspike.processes import CPU
from muspike.recipe import train
from muspike.training import Run, Settings, kept_in, without_denormals


@dataclass(frozen=True)
class Place:
    """Where the queue works.

    Attributes:
        runs: a folder for each model, with a folder for the run of each of its recipes. They may be removed when the
            result is there; what another model is to learn from is then trained again, unless it ships.
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
    """The result of a finished model; None if there is none, or one of another recipe, sampling, words or corpus.

    Where the corpus cannot be had, its edition is not compared.
    """
    found = _result_of_trained(entry, place)
    return found if found and found["made"].get("sampling") == dataclasses.asdict(entry.sampling) else None


def _result_of_trained(entry: Entry, place: Place) -> dict[str, Any] | None:
    """As `result_of`, also where the music was sampled in another way than the recipe says."""
    file = place.results / f"{entry.name}.json"
    if not file.exists():
        return None
    found = read_result(file)
    made = json.loads(json.dumps(_made(entry, None if lacks(entry) else corpora.load(entry.recipe.data).digest)))
    if made["corpus"] is None:
        made["corpus"] = found["made"].get("corpus")
    return found if told_apart(found["made"]) == told_apart(made) else None


_LARGEST_RESULT = 2**20  # bytes
_KINDS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "family": str,
    "twin": (str, NoneType),
    "made": dict,
    "measured": dict,
    "data": dict,
}


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
    check_file(file, _LARGEST_RESULT)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        version = found["made"]["words"]
        for key, kinds in _KINDS.items():
            if not isinstance(found[key], kinds):
                raise ValueError(f"{key} is {found[key]!r:.40}")
        int(found["made"]["recipe"]["seed"])
        float(found["measured"]["test"])
        told_apart(found["made"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
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
        trained: whether only its figures are missing: it was measured with another sampling.
    """

    entry: Entry
    minutes: float
    step: int
    held: bool
    lacks: str = ""
    trained: bool = False


_MINUTES_TO_MEASURE = 3.0


def left(entries: Sequence[Entry], place: Place) -> list[Left]:
    """What is not finished, in the order of the queue."""
    found = []
    for entry in entries:
        with contextlib.suppress(BadInput):
            if result_of(entry, place) is not None:
                continue
        step, steps = _progress(entry, place)
        trained = _weights_of(entry, place) is not None
        minutes = _MINUTES_TO_MEASURE if trained else entry.minutes * (1 - min(1.0, step / steps))
        found.append(Left(entry, minutes, step, is_owned(place.runs / entry.name), lacks(entry), trained))
    return found


def run_of(entry: Entry, place: Place) -> Path:
    """The folder of the run of a recipe. Its name has a digest, so a changed recipe has another folder."""
    digest = hashlib.sha256(json.dumps(told_apart(_made(entry, None)), sort_keys=True).encode()).hexdigest()
    return place.runs / entry.name / digest[:8]


def _progress(entry: Entry, place: Place) -> tuple[int, int]:
    """The step from which the run of a recipe goes on, and all its steps, both with those of a warm-up."""
    preset, run = architectures.preset(entry.recipe.architecture, entry.recipe.preset), run_of(entry, place)
    steps = int(entry.recipe.steps or preset.get("training", {}).get("steps", Settings().steps))
    if "adversarial" not in preset:
        return _step(run), steps
    more = min(steps, int(preset["adversarial"].get("steps", steps)))
    if entry.initial is not None:
        return _step(run), more
    return (steps + _step(run) if kept_in(run) else _step(run / adversarial.WARMUP)), steps + more


def _step(run: Path) -> int:
    """The step of the last state in the folder of a run, 0 without one."""
    kept = kept_in(run)
    return kept.step if kept else 0


def work(
    entries: Sequence[Entry],
    place: Place,
    *,
    device: torch.device = CPU,
    said: Callable[[str], object] = print,
) -> tuple[list[str], list[str]]:
    """Train and measure what is missing, and return the names of the models that were finished and of those held.

    Models whose corpus cannot be had here are left out, which is said in one line for each corpus. A teacher that is
    not here is trained first, and so are the weights that a model starts from. Where another process trains one of
    these, all other models come first, and what needs it is left out if it is not finished then. A model that another
    process has is asked for again after the others.

    Args:
        entries: the queue.
        place: where it works.
        device: where torch computes.
        said: called with a line at the start and at the end of each model, and for each corpus that is not here.

    Raises:
        BadInput: results, logs or models cannot be written where `place` says.
        Failed: the disk refuses; or, after all other models, a training diverged, or a model, a state or a recipe was
            refused. What was kept stays; the next call goes on from there.
    """
    for folder in (place.results, place.logs, place.models):
        check_target(folder / "a file")
    finished: list[str] = []
    failed: dict[str, str] = {}
    without: dict[str, list[str]] = {}
    missing: dict[str, Entry] = {}
    learned_from: set[str] = set()
    for entry in entries:
        if _is_done(entry, place):
            continue
        if why := lacks(entry):
            without.setdefault(why, []).append(entry.name)
            continue
        for needed in _unmet(entry, place):
            for before in (*_unmet(needed, place), needed):
                missing.setdefault(before.name, before)
                learned_from.add(before.name)
        missing.setdefault(entry.name, entry)
    for why, names in without.items():
        said(f"{', '.join(names)}: left out: {why}")
    waiting, held = list(missing.values()), list[str]()
    moved = True
    while waiting and moved:  # also those that another process had: it may have ended without a result
        turn, waiting, held, moved = waiting, [], [], False
        for entry in turn:
            try:
                if _unmet(entry, place):
                    waiting.append(entry)
                    continue
                with owned_folder(place.runs / entry.name):
                    # Another process may have finished it meanwhile.
                    here = entry.name not in learned_from or _weights_of(entry, place) is not None
                    if not (here and _is_done(entry, place)):
                        _work_on(entry, place, device, said)
                        finished.append(entry.name)
                moved = True
            except Busy as error:
                said(f"{entry.name}: {error}")
                held.append(entry.name)
                waiting.append(entry)
            except Diverged as error:
                failed[entry.name] = f"{error} (here: with a lower learning_rate in the recipe, from step 0)"
                said(f"{entry.name}: {failed[entry.name]}")
            except BadInput as error:
                failed[entry.name] = f"{error} (a folder in {place.runs} that is removed is trained anew)"
                said(f"{entry.name}: {failed[entry.name]}")
    for entry in waiting:
        if unmet := [other.name for other in _unmet(entry, place)]:
            said(f"{entry.name}: left out: what it learns from is not finished: {', '.join(unmet)}")
    if failed:
        raise Failed(f"{', '.join(failed)}: could not be trained; the first: {next(iter(failed.values()))}")
    return finished, held


def _is_done(entry: Entry, place: Place) -> bool:
    with contextlib.suppress(BadInput):  # a result of other words: the model is made anew
        return result_of(entry, place) is not None
    return False


def _work_on(entry: Entry, place: Place, device: torch.device, said: Callable[[str], object]) -> None:
    """Train, measure and keep a model whose folder this process owns. One that is trained is only measured."""
    if _weights_of(entry, place) is not None:
        file = place.results / f"{entry.name}.json"
        if why := _measure_again(file, place, entry.sampling, said):
            raise BadInput(f"{file}: {why}")
        said(f"{entry.name}: finished, {file}")
        return
    step, _ = _progress(entry, place)
    goes_on = f" from step {step}" if step else ""
    said(f"{entry.name}: training{goes_on}, about {entry.minutes:.0f} minutes on one core")
    finish(entry, place, _trained(entry, place, device))
    said(f"{entry.name}: finished, {place.results / entry.name}.json")


def _unmet(entry: Entry, place: Place) -> list[Entry]:
    """The models that `entry` needs and that are not finished, or whose weights are not here."""
    return [needed for needed in entry.needed if _weights_of(needed, place) is None]


def _weights_of(entry: Entry, place: Place) -> Path | None:
    """The folder of a trained model, None if it has no result or its weights are not here."""
    with contextlib.suppress(BadInput):
        result = _result_of_trained(entry, place)
        return next(iter(_measured_folders(result, place)), None) if result else None
    return None


def _trained(entry: Entry, place: Place, device: torch.device) -> Model:
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

    teacher, initial = (
        None if other is None else _weights_of(other, place) for other in (entry.teacher, entry.initial)
    )
    recipe = dataclasses.replace(entry.recipe, folder=run_of(entry, place), teacher=teacher, initial=initial)
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
    if isinstance(run, adversarial.Run) and file.exists():
        above = "".join(x for x in file.read_text(encoding="utf-8").splitlines(True) if x.startswith("warm-up "))
    remove_temporaries(file)
    with write_whole(file) as path:
        path.write_text(above + text.getvalue(), encoding="utf-8")


def finish(entry: Entry, place: Place, model: Model) -> dict[str, Any]:
    """Measure a trained model, put it among those that ship if it is one of them, and keep its result.

    What ships has weights in half precision, and these are measured. The test split is read here and nowhere before,
    and nothing is chosen by it.
    """
    corpus = corpora.load(entry.recipe.data)
    folder = run_of(entry, place) / "rounded"
    save_model(model, folder, torch.float16)
    model = load_model(folder)
    with without_denormals():
        found = measure.measured(model, corpus, entry.sampling)
    model = _with_figures(model, corpus, found)
    for kept in (folder, place.models / entry.ships if entry.ships else None):
        if kept is not None:
            save_model(model, kept, torch.float16)
    result = {
        "name": entry.name,
        "family": entry.family,
        "twin": entry.twin,
        "made": _made(entry, corpus.digest),
        "precision": model.training["settings"]["precision"],
        "weights": read_header(folder)["weights"]["sha256"],
        "measured": found,
        "data": measure.of_data(corpus),
    }
    _write_result(place.results / f"{entry.name}.json", result)
    return result


def _with_figures(model: Model, corpus: corpora.Corpus, found: Mapping[str, Any]) -> Model:
    """`model` with the figures that `measure.measured` found, in its record."""
    figures = {
        "measured_on": corpus.digest,
        "validation_bits_per_note": found["validation"],
        "test_bits_per_note": found["test"],
        "test_firing_rate": found["firing_rate"],
    }
    return dataclasses.replace(model, training=model.training | figures)


def result_files(place: Place) -> list[Path]:
    """The files of results. What a killed process left half-written beside them has a name with a dot before it."""
    return sorted(file for file in place.results.glob("*.json") if not file.name.startswith("."))


def _write_result(file: Path, result: Mapping[str, Any]) -> None:
    remove_temporaries(file)
    with write_whole(file) as path:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measure_again(entries: Sequence[Entry], place: Place, said: Callable[[str], object]) -> list[str]:
    """Measure the finished models whose weights are here, and renew their results; nothing is trained.

    So results follow a change in how networks compose or are measured. A model of a recipe in `entries` is sampled as
    the recipe says, another as it was. The name of each model that was measured is returned; `said` is told of the
    others.
    """
    done, known = list[str](), {entry.name: entry for entry in entries}
    for file in result_files(place):
        try:
            with owned_folder(place.runs / file.stem):
                sampling, entry = None, known.get(file.stem)
                if entry is not None and _result_of_trained(entry, place) is not None:
                    sampling = entry.sampling
                if why := _measure_again(file, place, sampling, said):
                    said(f"{file.stem}: {why}; its result stays as it is")
                else:
                    done.append(file.stem)
        except BadInput as error:
            said(f"{file.stem}: {error}; its result stays as it is")
    return done


def _measure_again(file: Path, place: Place, sampling: Sampling | None, said: Callable[[str], object]) -> str:
    """Measure the model of a result's file, and renew the result and the model's record. Return why not, or "".

    Without `sampling`, its music is sampled as it was.
    """
    result = read_result(file)
    corpus = corpora.load(result["made"]["recipe"]["data"])
    if result["made"]["corpus"] != corpus.digest:
        return f"corpus {corpus.name} has another edition now"
    folders = _measured_folders(result, place)
    if not folders:
        return "its weights are not here"
    said(f"{result['name']}: measuring")
    model = load_model(folders[0])
    sampling = sampling or Sampling(**result["made"]["sampling"])
    with without_denormals():
        result["measured"] = measure.measured(model, corpus, sampling)
    result["made"]["sampling"] = dataclasses.asdict(sampling)
    result["weights"] = read_header(folders[0])["weights"]["sha256"]
    _write_result(file, result | {"data": measure.of_data(corpus)})
    for folder in folders:
        save_model(_with_figures(load_model(folder), corpus, result["measured"]), folder, torch.float16)
    return ""


def _measured_folders(result: Mapping[str, Any], place: Place) -> list[Path]:
    """The folders of the very model of a result: among those that ship, and where it was trained."""
    found = []
    for folder in (place.models / result["family"], *sorted((place.runs / result["name"]).glob("*/rounded"))):
        if (folder / "model.json").exists() and _is_of(result, read_header(folder)):
            found.append(folder)
    return found


def _is_of(result: Mapping[str, Any], header: Mapping[str, Any]) -> bool:
    """Whether a result is of the model with this header."""
    if "weights" in result:
        return bool(result["weights"] == header["weights"]["sha256"])
    # A result from before it said so. Another machine adds up in another order.
    return math.isclose(header["training"].get("test_bits_per_note", 0), result["measured"]["test"], rel_tol=1e-6)


def print_left(entries: Sequence[Entry], place: Place) -> None:
    """Print what is left, with an estimate."""
    rows = left(entries, place)
    for row in rows:
        state = f"goes on from step {row.step}" if row.step else "not begun"
        if row.trained:
            state = "to be measured again: it is sampled in another way now"
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
