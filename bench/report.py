"""Write the report: `bench.json` for programs, and one self-contained `report.html` for people, from the same results.

`results` is the content of `bench.json`. Everything in it is JSON-able and finite. `?` marks what may be missing or
None. A QUANTITY is `{"value", "low", "high", "unit", "tag", "band_known"?}`. Its tag is one of measured, fitted,
simulated, inferred, assumed. If `band_known` is false, something in the quantity has no published spread, and the band
is too narrow. "Per note" means per note that the network read or wrote in the run from which the figure comes.

    muspike         version
    machine         {name: text or number}: where the run took place
    versions        {package: version}
    settings        {name: value}: seed, excerpt_words, lava_words (compared with Lava), ...
    chip_warnings?  [sentence]: what is doubtful about the file of a chip
    architectures   {name: ARCHITECTURE}

    ARCHITECTURE
      model           parameters, preset?, file?, trained_on?, ...: shown as they are
      reading?        pieces, words, notes, of_words: the activity and the costs are counted on the first words of each
                      piece, `words` of `of_words` in all
      quality
        nll_bits_per_note   {"torch": number, "chip": {chip: number or None}}
        nll_interval?       {"torch": [low, high], "chip": {chip: [low, high]}}: 95 %, over pieces
        twin?               {"name", "bits_per_note", "parameters"}: a network of the same size that does not spike
        metrics?            {metric: {"generated": {"mean", "std"}, "reference": {"mean", "std"}, "overlapping_area"?}}
      activity?       what `muspike.bench.activity.summarise` returns; missing if the network fits no chip
      chip            {chip: CHIP}
      agreement?
        lava_fixed_spikes        spikes compared with Lava's `fixed_pt`; None: not compared in this run
        lava_fixed_differences   neuron-ticks whose spike, u or v differ; None: not compared
        float_integer?           {"spike_agreement"?, "rate_change"?, "nll_change_percent"?}

    CHIP, as `chip_entry` and `misfit_entry` make it
      fits                  False: then only `reason`
      cores_between?        [the fewest cores, the most], where sources disagree on what a core holds
      cores, chips, binding_limit, boundary, costs, description, bottleneck (a sentence)
      fill                  the share of each core that the packing used: an assumption
      energy_uj_per_note    {"total", "dynamic", "static"}: QUANTITY in uJ
      static_uj_per_ms_of_waiting   QUANTITY in uJ: added by each ms for which the chip waits for its host
      latency_ms_per_note   QUANTITY in ms
      components            [{"name", "status", "count_per_note", "energy_uj_per_note", "price_per_event" or "power",
                            "source", "note"}]: the energy is None unless the status is `priced`
      uncertainty           [{"name", "energy_uj_per_note": {"low", "high", "unit"}}]: the total with one input at its
                            ends
      unbanded              names of the inputs without a published spread
      time_sources          where the latencies come from
      other_costs           [{"costs", "description", "energy_uj_per_note", "latency_ms_per_note"}]: the total, with the
                            chip's other cost sets
      mappings              [{"fill", "cores", "energy_uj_per_note", "latency_ms_per_note"}]: the total, on more cores
      accumulator_overflows?, readout_resets?   in the run: the figures are the chip's only if both are 0
      risks?                list of sentences: how the program's spikes may differ from the float network's
      use                   [{"core", "percent": {resource: percent of its limit}}]
"""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy.typing as npt
from markupsafe import Markup

from muspike.bench import answer, audio, pictures
from muspike.errors import BadInput
from muspike.files import write_whole
from muspike.hardware.constant import TAGS
from muspike.hardware.cost.energy import Energy
from muspike.hardware.running.page import environment
from muspike.midi import Score
from muspike.tables import several


@dataclass(frozen=True)
class Material:
    """What the pictures of one architecture need beyond `bench.json`. Each part may be None.

    Attributes:
        score: a generated piece.
        midi: the same piece as a file, offered for download.
        spikes: uint8 `[ticks, size]` of each population, for one sequence, in chip time.
        period: ticks per token in `spikes`.
        samples: by metric, `generated` and `reference`: a value per piece.
        first_token: the first token of `spikes` that is drawn. By then every population hears what went in.
        relays: the neurons of each population of relays, by name. Relays only repeat spikes, and are not in `spikes`.
        mp3: the generated piece as sound.
    """

    score: Score | None = None
    midi: bytes | None = None
    spikes: Mapping[str, npt.NDArray[Any]] | None = None
    period: int = 1
    samples: Mapping[str, Mapping[str, npt.ArrayLike]] | None = None
    first_token: int = 0
    relays: Mapping[str, int] = field(default_factory=dict)
    mp3: bytes | None = None


_NUMBER = (int, float)
_QUANTITY = {"value": _NUMBER, "low": _NUMBER, "high": _NUMBER, "unit": str, "tag": TAGS, "band_known?": bool}
_TOTALS = {"energy_uj_per_note": _QUANTITY, "latency_ms_per_note": _QUANTITY}
_MOMENTS = {"mean": (int, float, None), "std": (int, float, None)}
_CHIP = {
    "fits": bool,
    "cores": int,
    "cores_between?": [int],
    "chips": int,
    "binding_limit": str,
    "boundary": str,
    "costs": str,
    "description": str,
    "bottleneck": str,
    "fill": _NUMBER,
    "energy_uj_per_note": {"total": _QUANTITY, "dynamic": _QUANTITY, "static": _QUANTITY},
    "static_uj_per_ms_of_waiting": _QUANTITY,
    "latency_ms_per_note": _QUANTITY,
    "components": [
        {
            "name": str,
            "status": ("priced", "covered", "unpriced"),
            "count_per_note": (int, float, None),
            "energy_uj_per_note?": _QUANTITY,
            "source": (str, None),
            "note": str,
        }
    ],
    "uncertainty": [{"name": str, "energy_uj_per_note": {"low": _NUMBER, "high": _NUMBER, "unit": str}}],
    "unbanded": [str],
    "time_sources": [str],
    "use": [{"core": int, "percent": {"*": _NUMBER}}],
    "other_costs": [{"costs": str, "description": str, **_TOTALS}],
    "mappings": [{"fill": _NUMBER, "cores": int, **_TOTALS}],
    "accumulator_overflows?": int,
    "readout_resets?": int,
    "risks?": [str],
}
_MISFIT = {"fits": bool, "reason": str}
_SCHEMA = {
    "muspike": str,
    "machine": {},
    "versions": {"*": str},
    "settings": {},
    "chip_warnings?": [str],
    "architectures": {
        "*": {
            "model": {"parameters": int},
            "reading?": {"pieces": int, "words": int, "notes": int, "of_words": int},
            "quality": {
                "nll_bits_per_note": {"torch": _NUMBER, "chip": {"*": (int, float, None)}},
                "nll_interval?": {"torch": [_NUMBER], "chip": {"*": [_NUMBER]}},
                "twin?": {"name": str, "bits_per_note": _NUMBER, "parameters": int},
                "metrics?": {"*": {"generated": _MOMENTS, "reference": _MOMENTS, "overlapping_area?": _NUMBER}},
            },
            "activity?": {
                "chip?": str,
                "spikes_per_note": _NUMBER,
                "populations": {"*": {"size": int, "firing_rate": _NUMBER, "sparsity": _NUMBER}},
                "synops_per_note": {"dense": _NUMBER, "effective": _NUMBER, "chip": _NUMBER},
            },
            "chip": {"*": lambda entry: _MISFIT if entry.get("fits") is False else _CHIP},
            "agreement?": {
                "lava_fixed_spikes": (int, None),
                "lava_fixed_differences": (int, None),
                "float_integer?": {"*": (int, float, None)},
            },
        }
    },
}


def check(results: Mapping[str, Any]) -> None:
    """Check results against the schema above.

    Raises:
        BadInput: an entry is missing, of the wrong type or not finite. The message names the first such entry.
    """
    _check(results, _SCHEMA, "results")
    if not results["architectures"]:
        raise BadInput("results: architectures is empty; a report is about at least one")


def _check(value: Any, schema: Any, where: str) -> None:
    if isinstance(schema, dict) or (callable(schema) and not isinstance(schema, type)):
        if not isinstance(value, Mapping):
            raise BadInput(f"{where}: found {value!r:.60}, expected a table")
        schema = schema if isinstance(schema, dict) else schema(value)
        for key, part in schema.items():
            name = key.removesuffix("?")
            if key == "*":
                for entry in value:
                    _check(value[entry], part, f"{where}.{entry}")
            elif value.get(name) is not None or (name in value and name == key):
                _check(value[name], part, f"{where}.{name}")
            elif name == key:
                raise BadInput(f"{where}: {name} is missing; found {', '.join(value) or 'nothing'}")
    elif isinstance(schema, list):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise BadInput(f"{where}: found {value!r:.60}, expected a list")
        for index, entry in enumerate(value):
            _check(entry, schema[0], f"{where}[{index}]")
    else:
        allowed = schema if isinstance(schema, tuple) else (schema,)
        if not any(_is_a(value, one) for one in allowed):
            expected = " or ".join(one.__name__ if isinstance(one, type) else repr(one) for one in allowed)
            raise BadInput(f"{where}: found {value!r:.60}, expected {expected}")


def _is_a(value: Any, kind: Any) -> bool:
    """Whether `value` is of a type, or equals a literal. A float must be finite; a bool does not count as an int."""
    if not isinstance(kind, type):
        return bool(value is kind or value == kind)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, kind) and not (isinstance(value, float) and not math.isfinite(value))


def chip_entry(
    energy: Energy,
    notes: int,
    cores: int,
    binding_limit: str,
    use: Sequence[Mapping[str, Any]],
    *,
    fill: float = 1.0,
    others: Sequence[Energy] = (),
    mappings: Sequence[tuple[float, int, Energy]] = (),
) -> dict[str, Any]:
    """The `CHIP` of a program that fits.

    Args:
        energy: the cost of the whole run.
        notes: number of notes in the run; every figure is divided by it.
        cores: number of cores in use.
        binding_limit: the limit of which some core uses the largest share.
        use: rows of `core` and `percent`, as in the schema.
        fill: the share of each core that the packing used.
        others: the cost of the same run with the chip's other cost sets.
        mappings: fill, cores and cost of the same run, for each mapping onto the chip.

    Raises:
        BadInput: `notes` is not positive.
    """
    if notes <= 0:
        raise BadInput(f"notes is {notes}; need at least one to give a figure per note")
    bottleneck, per_note = energy.bottleneck, energy.to_dict(notes, "note", time_unit="ms")
    return {
        "fits": True,
        "cores": cores,
        "chips": per_note["chips"],
        "binding_limit": binding_limit,
        "boundary": per_note["boundary"],
        "costs": per_note["costs"],
        "description": per_note["description"],
        "bottleneck": (
            f"{bottleneck.resource}, {bottleneck.share * 100:.0f} % of the time; "
            f"core {bottleneck.core}, the slowest for {bottleneck.core_share * 100:.0f} % of the time"
        ),
        "fill": fill,
        "energy_uj_per_note": per_note["energy_uj_per_note"],
        "static_uj_per_ms_of_waiting": per_note["static_uj_per_ms_of_waiting"],
        "latency_ms_per_note": per_note["latency_ms_per_note"],
        "components": per_note["components"],
        "uncertainty": per_note["uncertainty"],
        "unbanded": per_note["unbanded"],
        "time_sources": per_note["time_sources"],
        "use": [dict(row) for row in use],
        "other_costs": [
            {"costs": other.costs, "description": other.description, **_totals(other, notes)} for other in others
        ],
        "mappings": [{"fill": fill, "cores": cores, **_totals(of, notes)} for fill, cores, of in mappings],
    }


def _totals(energy: Energy, notes: int) -> dict[str, Any]:
    return {
        "energy_uj_per_note": energy.total.to_dict("uJ", notes),
        "latency_ms_per_note": energy.latency.to_dict("ms", notes),
    }


def misfit_entry(reason: str) -> dict[str, Any]:
    """The `CHIP` of a program that does not fit. It has no energy, only the reason."""
    return {"fits": False, "reason": reason}


def write_report(
    results: Mapping[str, Any],
    directory: str | os.PathLike[str],
    material: Mapping[str, Material] | None = None,
    reference_mp3: Mapping[str, bytes] | None = None,
) -> tuple[Path, Path]:
    """Write `report.html` and `bench.json` into a folder and return their paths.

    Args:
        results: as in the schema above.
        directory: the folder.
        material: by architecture, the material of its pictures. A picture without material is left out.
        reference_mp3: pieces of the data as sound, to be heard beside those of the networks, by what they are.

    Raises:
        BadInput: the results break the schema, or `material` names an architecture that the results lack.
        Failed: a file cannot be written.
    """
    check(results)
    material = material or {}
    if strangers := set(material) - set(results["architectures"]):
        raise BadInput(f"material: {sorted(strangers)[0]!r} is not among {', '.join(results['architectures'])}")
    try:
        data = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise BadInput(f"results: cannot be written as JSON: {error}") from error
    page = (
        environment("muspike.bench")
        .get_template("report.html")
        .render(
            results=results,
            pictures={
                name: _pictures(architecture, material.get(name, Material()))
                for name, architecture in results["architectures"].items()
            },
            midi={name: _uri("audio/midi", of.midi) for name, of in material.items() if of.midi},
            heard={
                what: _uri("audio/mpeg", mp3)
                for what, mp3 in [*((name, of.mp3) for name, of in material.items()), *(reference_mp3 or {}).items()]
                if mp3
            },
            no_sound=None if reference_mp3 is None else audio.missing(),
            answer=answer.sentences(results),
            front=_front(results),
            sorting=Markup((resources.files("muspike.bench") / "templates" / "sort.js").read_text(encoding="utf-8")),
            left_out={name: _left_out(of.relays) for name, of in material.items()},
            tags=TAGS,
        )
    )
    folder = Path(directory)
    written = folder / "report.html", folder / "bench.json"
    for path, text in zip(written, (page, data), strict=True):
        with write_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return written


def _pictures(architecture: Mapping[str, Any], of: Material) -> dict[str, pictures.Picture]:
    drawn: dict[str, pictures.Picture] = {}
    if of.score is not None:
        drawn["piano_roll"] = pictures.piano_roll(of.score)
    if of.samples:
        drawn["metrics"] = pictures.metric_distributions(of.samples)
    if of.spikes:
        drawn["raster"] = pictures.spike_raster(of.spikes, of.period, first=of.first_token)
    fitting = {chip: entry for chip, entry in architecture["chip"].items() if entry["fits"]}
    if fitting:
        components = {
            chip: [{"name": row["name"], **(row["energy_uj_per_note"] or {})} for row in entry["components"]]
            for chip, entry in fitting.items()
        }
        drawn["energy"] = pictures.energy_by_component(components, "µJ")
    for chip, entry in fitting.items():
        if entry["use"]:
            drawn[f"use {chip}"] = pictures.core_use(entry["use"], chip)
    return drawn


def _left_out(relays: Mapping[str, int]) -> str:
    """What the picture of spikes leaves out, as a sentence that goes on from the sentence before."""
    if not relays:
        return ""
    populations, neurons = several(len(relays), "population"), several(sum(relays.values()), "neuron")
    return f" Left out: {populations} of relays ({neurons}), which only repeat spikes later."


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _front(results: Mapping[str, Any]) -> pictures.Picture | None:
    """Energy against likelihood of all networks; None if there are fewer than two."""
    points = {chip: found for chip, found in answer.costed(results).items() if len(found) > 1}
    return pictures.energy_against_likelihood(points) if points else None
