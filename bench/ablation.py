"""Measure what one setting of an architecture does: one network per value, measured as it would be deployed.

All figures are of the validation split, because choosing a value by the test split would spoil the test split.
Likelihoods and firing rates are of whole pieces. Empty beats and energy are of excerpts, of the same length for
networks and data.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from muspike import architectures, metrics, tokens
from muspike.bench import suite
from muspike.bench.reading import Reading
from muspike.bench.report import misfit_entry
from muspike.bench.workload import EXCERPT, excerpts_of, notes_in, read_after_pad
from muspike.checkpoint import Model
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.evaluation import firing_rate
from muspike.export.loihi import ChipRunner, compile_model
from muspike.generation import generate
from muspike.hardware.chip import Chip, as_chip
from muspike.host import completed
from muspike.network import Network
from muspike.tables import text_table
from muspike.tokens import Words

DEFAULT_VALUES: Mapping[str, tuple[float, ...]] = {"v_threshold": (0.3, 0.5, 0.7)}
_COSTS = ("cores", "energy_uj_per_note", "latency_ms_per_note", "accumulator_overflows", "readout_resets")


@dataclass(frozen=True)
class Variant:
    """An architecture with one setting changed.

    Attributes:
        architecture: its name.
        network: all settings of the network, in which `field` has `value`.
        field: the setting.
        value: its value.
    """

    architecture: str
    network: Mapping[str, Any]
    field: str
    value: float

    @property
    def name(self) -> str:
        """The setting and its value, as part of a file's name."""
        return f"{self.field}-{self.value:g}"

    def built(self) -> Model:
        """A model of this variant, with weights drawn from torch's random state.

        Raises:
            BadInput: no network has such settings.
        """
        return Model(self.architecture, dict(self.network), architectures.build(self.architecture, self.network), {})

    def with_weights_of(self, model: Model) -> Model:
        """A model of this variant with the weights of `model`, unchanged.

        Raises:
            BadInput: `model` has other synapses or sizes.
        """
        built, weights = self.built(), model.network.state_dict()
        wanted = built.network.state_dict()
        if {k: w.shape for k, w in weights.items()} != {k: w.shape for k, w in wanted.items()}:
            raise BadInput(
                f"{self.field} {self.value:g}: makes a network of other synapses, which the weights of the given "
                f"{model.architecture} do not fit; leave out --init to train one"
            )
        built.network.load_state_dict(weights)
        return dataclasses.replace(built, training=model.training)


def variants(architecture: str, network: Mapping[str, Any], field: str, values: Sequence[float]) -> list[Variant]:
    """A variant of `network` for each of the values. Every variant spikes.

    Raises:
        BadInput: the architecture has no number called `field`, or cannot have one of the values, or does not spike.
    """
    defaults = {f.name: f.default for f in dataclasses.fields(architectures.find(architecture).config)}
    numbers = {name: number for name, default in defaults.items() if (number := _number_of(default)) is not None}
    if field not in numbers:
        raise BadInput(f"{field!r}: {architecture} has no number of that name; it has {', '.join(numbers)}")
    found = []
    for value in dict.fromkeys(values):
        whole = isinstance(numbers[field], int)
        if whole and value != int(value):
            raise BadInput(f"{field} {value:g}: {architecture} takes a whole number")
        one = int(value) if whole else value
        current = network.get(field, defaults[field])
        setting = [one] * len(current) if isinstance(defaults[field], tuple) else one  # a list, as presets have it
        variant = Variant(architecture, {**network, field: setting}, field, one)
        if not isinstance(variant.built().network, Network):
            raise BadInput(f"{architecture}: does not spike; its ablation has no firing rate and no energy on a chip")
        found.append(variant)
    return found


def _number_of(default: Any) -> float | None:
    """The default if it is a number, or the first entry if it is a tuple of numbers; else None."""
    first = default[0] if isinstance(default, tuple) and default else default
    return first if isinstance(first, int | float) and not isinstance(first, bool) else None


def ablate(
    found: Sequence[Variant],
    model_of: Callable[[Variant], Model],
    corpus: Corpus,
    chip: Chip | str | os.PathLike[str],
    pieces: int = 64,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure every variant: a row of figures for each, and the data's own figures.

    Args:
        found: the variants.
        model_of: gives the model of a variant, for example by training it.
        corpus: the data.
        chip: the chip to measure on: a `Chip`, the name of a known one, or the path of its TOML file.
        pieces: number of pieces to compose.
        seed: seed of composing.

    Raises:
        BadInput: no piece of the validation split is long enough, or a network cannot be compiled for the chip.
    """
    chip = as_chip(chip)
    excerpts = excerpts_of(corpus, "validation")
    rows = []
    steps = suite.Steps(len(found))
    for variant in found:
        model = model_of(variant)
        with steps.step(f"{variant.architecture}, {variant.field} {variant.value:g}: measured"):
            figures = measured(model, corpus, excerpts, chip, pieces, seed)
        rows.append({"architecture": variant.architecture, "value": variant.value, **figures})
    return {
        "field": found[0].field,
        "chip": chip.name,
        "chip_warnings": list(chip.warnings),
        "corpus": corpus.name,
        "split": "validation",
        "seed": seed,
        "composed_pieces": pieces,
        "excerpt_words": EXCERPT,
        "rows": rows,
        "data": {"excerpts": excerpts.shape[1], "empty_beat_rate": _empty_beat_rate(list(excerpts.swapaxes(0, 1)))},
    }


def measured(model: Model, corpus: Corpus, excerpts: Words, chip: Chip, pieces: int, seed: int) -> dict[str, Any]:
    """The figures of one network: likelihood in torch and on the chip, firing rate, empty beats, cost."""
    compiled = compile_model(model, chip, must_fit=False)
    runner = ChipRunner(compiled.program) if compiled.use.fits else None
    whole = corpus.evaluated("validation")
    nll, _ = suite.likelihoods(model, {chip.name: runner} if runner else {}, whole)
    rate = firing_rate(model.network, whole)
    composed = generate(runner or model.network.runner(), pieces, EXCERPT, seed, ended=False)
    costs = misfit_entry("; ".join(compiled.use.problems))
    if runner:
        given = completed(read_after_pad(excerpts), model.spiking)
        reading = Reading(runner, [compiled.program], given, compiled.chip)
        words = excerpts.shape[0] * excerpts.shape[1]
        entry = suite.costs_on_chip((compiled,), runner, reading, words, notes_in(excerpts))
        costs = {"fits": True} | {key: entry[key] for key in _COSTS}
    return {
        "step": model.training["step"],
        "nll_bits_per_note": {"torch": nll["torch"], "chip": nll["chip"].get(chip.name)},
        "firing_rate": rate,
        "empty_beat_rate": _empty_beat_rate(composed),
        "chip": costs,
    }


def _empty_beat_rate(pieces: Sequence[Words]) -> float:
    """The mean rate of empty beats over the pieces."""
    rates = metrics.evaluate_set([tokens.decode(words) for words in pieces], ["empty_beat_rate"])["empty_beat_rate"]
    return float(np.nanmean(rates))


def table(results: Mapping[str, Any]) -> str:
    """The result of `ablate` as a table: a line per value, and one for the data."""
    field, chip = results["field"], results["chip"]
    titles = ["", field, "step", "bits per note", f"on {chip}", "firing rate", "empty beats", "µJ per note", ""]
    rows = []
    for row in results["rows"]:
        nll = row["nll_bits_per_note"]
        figures = [nll["torch"], nll["chip"], row["firing_rate"], row["empty_beat_rate"]]
        told = [row["architecture"], f"{row['value']:g}", str(row["step"]), *map(_figure, figures)]
        rows.append([*told, *_energy(row["chip"])])
    rows.append(["data", *[""] * 5, _figure(results["data"]["empty_beat_rate"]), "", ""])
    return "\n".join([*text_table(titles, rows, left=(0, len(titles) - 1)), "", *_notes(results)])


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _energy(costs: Mapping[str, Any]) -> tuple[str, str]:
    if not costs["fits"]:
        return "–", "does not fit"
    total = costs["energy_uj_per_note"]["total"]
    band = f"{_figure(total['low'])} to {_figure(total['high'])}"
    return _figure(total["value"]), f"{band if total['band_known'] else f'at least {band}'}, {total['tag']}"


def _notes(results: Mapping[str, Any]) -> Iterator[str]:
    words, data = results["excerpt_words"], results["data"]["excerpts"]
    yield (
        f"Bits per note and firing rate are of the whole {results['split']} split of {results['corpus']}. Empty beats "
        f"are a mean: of a network over {results['composed_pieces']} pieces of {words} words that it composed, of the "
        f"data over {data} excerpts of {words} words from that split. Energy is modelled, for reading these excerpts."
    )
    for row in results["rows"]:
        where, costs = f"{row['architecture']}, {results['field']} {row['value']:g}", row["chip"]
        if not costs["fits"]:
            yield f"{where}: does not fit: {costs['reason']}; torch composed its pieces instead of the chip"
        elif costs["accumulator_overflows"] or costs["readout_resets"]:
            yield (
                f"{where}: a chip would give other figures: {costs['accumulator_overflows']} synaptic sums left its "
                f"16-bit accumulator, and {costs['readout_resets']} readouts reached their threshold and were reset"
            )
