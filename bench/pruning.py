"""Prune a model until it costs less on a chip: rounds of pruning, each of them measured there.

A round prunes the model of the round before to the next share of zeros (`muspike.pruning`). After each round the model
is compiled for the chip, reads excerpts of the validation split, and is priced. The rounds end when the energy per note
is at or below the target. The test split is read once, after the last round, for the table alone.

Energy per note is that of the cheapest mapping: the one of the fewest cores, or one of those that spread the network
(`compile.spread_over`). Sparse lists are small, so a pruned network fits fewer cores. On these, a tick takes longer
than it would on more cores, so the energy of the fewest cores hides a part of what pruning saves. Both are measured,
for the dense network too.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from muspike import pruning, training
from muspike.bench import suite
from muspike.bench.front import on_front as beaten_by_none
from muspike.bench.reading import Reading
from muspike.bench.report import misfit_entry
from muspike.bench.workload import excerpts_of, notes_in, read_after_pad
from muspike.checkpoint import Model, save_model
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.export.loihi import ChipRunner, compile_model
from muspike.files import owned_folder
from muspike.hardware.chip import Chip, as_chip
from muspike.hardware.mapping.compile import spread_over
from muspike.hardware.running.pictures import COLOURS, Picture, figure_of, picture_of, settle
from muspike.host import completed
from muspike.processes import CPU
from muspike.ranges import ENERGY_UJ, LEARNING_RATE, RATE, SEED, STEPS, at_least, check, setting, share_below_1
from muspike.recipe import Report, untold
from muspike.tables import text_table

SPARSITIES = (0.5, 0.7, 0.8, 0.87, 0.92, 0.95)
"""The shares of zeros of the rounds, unless others are asked for."""
STEPS_PER_ROUND = 500
RATE_WEIGHT = 100.0
"""Weight of the penalty on firing rates, if a plan asks for a rate; it has fewer steps to act than a whole training."""
PIECES = 16
"""How many excerpts of a split are read for the energy, at most."""
_MODEL, _ROUNDS = "model", "rounds"


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a model is pruned.

    Attributes:
        target_uj: the energy per note, in uJ, at which the rounds end. None: all rounds are made.
        sparsities: the share of zeros of each round, rising.
        steps: steps of each round.
        learning_rate: the largest learning rate of each round. None: `pruning.LEARNING_RATE_SHARE` of the model's own.
        target_rate: firing above this rate, in spikes per neuron and tick, is penalised. None: as in the model's own
            training.
        all_rounds: whether to go on when the target is reached, and so to find the whole front.
        seed: of batches and dropout.

    Raises:
        BadInput: a number is outside its range, or the sparsities do not rise.
    """

    target_uj: float | None = setting(None, ENERGY_UJ)
    sparsities: tuple[float, ...] = setting(SPARSITIES, share_below_1(), count=at_least(1))
    steps: int = setting(STEPS_PER_ROUND, STEPS)
    learning_rate: float | None = setting(None, LEARNING_RATE)
    target_rate: float | None = setting(None, RATE)
    all_rounds: bool = False
    seed: int = setting(0, SEED)

    def __post_init__(self) -> None:
        check(self, "prune")
        if list(self.sparsities) != sorted(set(self.sparsities)):
            raise BadInput(f"prune: the sparsities {list(self.sparsities)} must rise from round to round")

    def settings(self, model: Model, sparsity: float, device: torch.device = CPU) -> pruning.Settings:
        """How a round prunes `model`: as the model was trained, where neither plan nor device say otherwise."""
        known = {field.name for field in dataclasses.fields(training.Settings)}
        of_model = {k: v for k, v in model.training.get("settings", {}).items() if k in known}
        settings = pruning.Settings(**of_model)
        changes: dict[str, Any] = {
            "steps": self.steps,
            "learning_rate": self.learning_rate or settings.learning_rate * pruning.LEARNING_RATE_SHARE,
            "warmup": max(1, min(settings.warmup, self.steps // 20)),
            "schedule": "cosine",
            "validate_every": max(1, self.steps // 4),
            "sparsity": sparsity,
            "seed": self.seed,
            "precision": training.precision_on(device, settings.precision),
        }
        if self.target_rate is not None:
            changes |= {"target_rate": self.target_rate, "rate_weight": max(settings.rate_weight, RATE_WEIGHT)}
        return dataclasses.replace(settings, **changes)


def prune(
    model: Model,
    plan: Plan,
    corpus: Corpus,
    chip: Chip | str | os.PathLike[str],
    folder: Path,
    *,
    teacher: Model | None = None,
    device: torch.device = CPU,
    report: Report = untold,
) -> dict[str, Any]:
    """Prune `model` in rounds, or go on with the rounds in `folder`, which no second command may use meanwhile.

    The first point whose energy is at or below the target is kept, as a model in `folder`/model. Without a target it is
    the last point.

    Args:
        model: a model that spikes.
        plan: how to prune it.
        corpus: the data: excerpts of the validation split are read after each round, of the test split at the end.
        chip: the chip to measure on: a `Chip`, the name of a known one, or the path of its TOML file.
        folder: where runs and model are put.
        teacher: a model whose distributions are learned beside the data, such as `model` itself.
        device: where torch trains.
        report: watches each round.

    Returns:
        The points, dense first, and which one is kept (`None`: no point reaches the target).

    Raises:
        BadInput: the model does not spike, the folder holds other rounds, or a split has no piece of enough words.
        Failed: the training meets numbers that are not finite, or the disk refuses.
    """
    chip = as_chip(chip)
    model.spiking  # noqa: B018  # refuses before the work
    for split in ("validation", "test"):
        excerpts_of(corpus, split)
    with owned_folder(folder):
        return _pruned(model, plan, corpus, chip, folder, teacher, device, report)


def _pruned(
    model: Model,
    plan: Plan,
    corpus: Corpus,
    chip: Chip,
    folder: Path,
    teacher: Model | None,
    device: torch.device,
    report: Report,
) -> dict[str, Any]:
    models, points = [model], [_point(model, corpus, "validation", chip)]
    steps = suite.Steps(len(plan.sparsities))
    for sparsity in plan.sparsities:
        if _reaches(points[-1], plan) and not plan.all_rounds:
            break
        with steps.step(f"{model.architecture}: {100 * sparsity:g} % of the weights become 0"):
            place = folder / _ROUNDS / f"{sparsity:g}"
            settings = plan.settings(model, sparsity, device)
            run = pruning.Run(place, models[-1], settings, corpus, device=device, teacher=teacher)
            with report(run, "") as told:
                models.append(run.train(told))
            points.append(_point(models[-1], corpus, "validation", chip))
    reached = [n for n, point in enumerate(points) if _reaches(point, plan)]
    kept = len(points) - 1 if plan.target_uj is None else reached[0] if reached else None
    if kept:
        record = {**models[kept].training["pruned"], "chip": chip.name, "target_uj": plan.target_uj}
        record["energy_uj_per_note"] = points[kept]["validation"]["energy_uj_per_note"]
        chosen = dataclasses.replace(models[kept], training={**models[kept].training, "pruned": record})
        save_model(chosen, folder / _MODEL)
    for pruned, point in zip(models, points, strict=True):
        point["test"] = _measured(pruned, corpus, "test", chip)
    on_front = front(points)
    for n, point in enumerate(points):
        point["on_front"] = n in on_front
    return {
        "chip": chip.name,
        "chip_warnings": list(chip.warnings),
        "corpus": corpus.name,
        "plan": dataclasses.asdict(plan),
        "kept": kept,
        "model": str(folder / _MODEL) if kept else None,
        "points": points,
    }


def _reaches(point: Mapping[str, Any], plan: Plan) -> bool:
    energy = point["validation"]["energy_uj_per_note"]
    return plan.target_uj is not None and energy is not None and bool(energy["value"] <= plan.target_uj)


def _point(model: Model, corpus: Corpus, split: str, chip: Chip) -> dict[str, Any]:
    point = {"sparsity": pruning.sparsity(model.spiking), "steps": model.steps}
    return point | {split: _measured(model, corpus, split, chip)}


def _measured(model: Model, corpus: Corpus, split: str, chip: Chip) -> dict[str, Any]:
    """What a model does on a chip when it reads a split: likelihood of whole pieces, cost of excerpts."""
    compiled = compile_model(model, chip, must_fit=False)
    whole = corpus.evaluated(split)
    if not compiled.use.fits:
        nll, _ = suite.likelihoods(model, {}, whole)
        missing = dict.fromkeys(("bits_per_note", "energy_uj_per_note"))
        return {"torch_bits_per_note": nll["torch"], **missing, **misfit_entry("; ".join(compiled.use.problems))}
    excerpts = excerpts_of(corpus, split)[:, :PIECES]
    notes, words = notes_in(excerpts), excerpts.shape[0] * excerpts.shape[1]
    mappings, runner = spread_over(compiled), ChipRunner(compiled.program)
    heard = completed(read_after_pad(excerpts), model.spiking)
    reading = Reading(runner, [mapping.program for mapping in mappings], heard, chip)
    entry = suite.costs_on_chip(mappings, runner, reading, words, notes)
    nll, _ = suite.likelihoods(model, {chip.name: ChipRunner(compiled.program)}, whole)
    counts, fewest = reading.counts[0], entry["mappings"][0]
    cheapest = min(entry["mappings"], key=lambda mapping: mapping["energy_uj_per_note"]["value"])
    return {
        "fits": True,
        "bits_per_note": nll["chip"][chip.name],
        "torch_bits_per_note": nll["torch"],
        "energy_uj_per_note": cheapest["energy_uj_per_note"],
        "cores": cheapest["cores"],
        "fewest_cores": fewest,
        "mappings": entry["mappings"],
        "components": [
            {key: row[key] for key in ("name", "count_per_note", "energy_uj_per_note")}
            for row in entry["components"]
            if row["energy_uj_per_note"] is not None
        ],
        "synops_per_note": int(counts.synops.sum()) / notes,
        "sparse_synops_per_note": int(counts.synops_sparse.sum()) / notes,
        "spikes_per_note": int(counts.neuron_spikes.sum()) / notes,
        "layouts": {s.name: s.layout for s in compiled.program.synapses},
        "accumulator_overflows": entry["accumulator_overflows"],
        "readout_resets": entry["readout_resets"],
        "pieces": excerpts.shape[1],
        "notes": notes,
    }


def front(points: Sequence[Mapping[str, Any]]) -> list[int]:
    """The numbers of the points that no other point beats: none has as little energy per note and as few bits per note.

    They are chosen by the validation split. A point that does not fit the chip is not among them.
    """
    fitting = [n for n, point in enumerate(points) if point["validation"]["fits"]]
    of = [points[n]["validation"] for n in fitting]
    return [
        fitting[n] for n in beaten_by_none([(row["energy_uj_per_note"]["value"], row["bits_per_note"]) for row in of])
    ]


def least_energy(results: Mapping[str, Any]) -> float | None:
    """The least energy per note of all points, in uJ, by the validation split; None: no point fits the chip."""
    found = [point["validation"]["energy_uj_per_note"] for point in results["points"]]
    return min((energy["value"] for energy in found if energy is not None), default=None)


def table(results: Mapping[str, Any]) -> str:
    """The result of `prune` as a table: a line per point, and what its columns mean."""
    titles = [
        "zeros", "bits, validation", "bits, test", "", "µJ per note", "band", "", "cores",
        "fewest cores", "cores", "", "synops", "spikes", "",
    ]  # fmt: skip
    rows, first = [], results["points"][0]["test"]
    for n, point in enumerate(results["points"]):
        kept = "kept" if n == results["kept"] else "on the front" if point["on_front"] else ""
        rows.append([f"{100 * point['sparsity']:.1f} %", *_told(point, first), kept])
    return "\n".join([*text_table(titles, rows, left=(len(titles) - 1,)), "", *_notes(results)])


def _told(point: Mapping[str, Any], first: Mapping[str, Any]) -> list[str]:
    validation, test = point["validation"], point["test"]
    if not test["fits"]:
        return [*["–"] * 11, "does not fit"][:12]
    energy, fewest = test["energy_uj_per_note"], test["fewest_cores"]
    change = less = less_fewest = ""
    if test is not first and first["fits"]:
        change = f"{100 * (test['bits_per_note'] / first['bits_per_note'] - 1):+.2f} %"
        less = f"{first['energy_uj_per_note']['value'] / energy['value']:.2f}x less"
        before = first["fewest_cores"]["energy_uj_per_note"]["value"]
        less_fewest = f"{before / fewest['energy_uj_per_note']['value']:.2f}x less"
    band = f"{energy['low']:.3g} to {energy['high']:.3g}"
    return [
        f"{validation['bits_per_note']:.3f}",
        f"{test['bits_per_note']:.3f}",
        change,
        f"{energy['value']:.3g}",
        band if energy["band_known"] else f"at least {band}",
        less,
        str(test["cores"]),
        f"{fewest['energy_uj_per_note']['value']:.3g}",
        str(fewest["cores"]),
        less_fewest,
        f"{test['synops_per_note']:,.0f}",
        f"{test['spikes_per_note']:.0f}",
    ]


def _notes(results: Mapping[str, Any]) -> Iterator[str]:
    test = next((point["test"] for point in results["points"] if point["test"]["fits"]), None)
    read = f" {test['pieces']} excerpts of the test split, {test['notes']} notes;" if test else ""
    yield (
        f"Bits per note are of the integer network of {results['chip']} on the whole validation and test splits of "
        f"{results['corpus']}. Energy is modelled, for reading{read} synops and spikes are per note of these. It is "
        "that of the cheapest mapping, and beside it that of the fewest cores."
    )
    for point in results["points"]:
        for split in ("validation", "test"):
            found, where = point[split], f"{100 * point['sparsity']:.1f} % zeros, {split}"
            if not found["fits"]:
                yield f"{where}: does not fit: {found['reason']}"
            elif found["accumulator_overflows"] or found["readout_resets"]:
                yield (
                    f"{where}: a chip would give other figures: {found['accumulator_overflows']} synaptic sums left "
                    f"its 16-bit accumulator, and {found['readout_resets']} readouts reached their threshold"
                )


def picture(results: Mapping[str, Any]) -> Picture:
    """Bits per note over energy per note, both of the test split: the cheapest mapping, and the fewest cores."""
    shown = [point for point in results["points"] if point["test"]["fits"]]
    bits = [point["test"]["bits_per_note"] for point in shown]
    lines = {
        "the cheapest mapping": [point["test"]["energy_uj_per_note"] for point in shown],
        "the fewest cores": [point["test"]["fewest_cores"]["energy_uj_per_note"] for point in shown],
    }
    with figure_of(4.2) as figure:
        axes = figure.add_subplot()
        for (name, energies), colour in zip(lines.items(), COLOURS, strict=False):
            values = [energy["value"] for energy in energies]
            low, high = ([energy[end] for energy in energies] for end in ("low", "high"))
            axes.hlines(bits, low, high, color=colour, alpha=0.3, linewidth=4)
            axes.plot(values, bits, "o-", color=colour, label=name)
            for point, value, height in zip(shown, values, bits, strict=True):
                zeros = f"{100 * point['sparsity']:.0f} %"
                axes.annotate(zeros, (value, height), xytext=(4, 5), textcoords="offset points", fontsize=8)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel=f"µJ per note on {results['chip']}, modelled (bars: band)", ylabel="bits per note, test split")
        axes.set_title("What pruning saves: the share of zeros stands beside each point")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        settle(figure)
        return picture_of(
            figure, f"Bits per note over energy per note on {results['chip']}, for {len(shown)} shares of zeros."
        )
