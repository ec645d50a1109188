"""What a report says first: which network predicts best, which takes the least energy, which lies behind another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from muspike.bench.front import on_front


class Costed(NamedTuple):
    """A network on a chip.

    Attributes:
        name: its architecture.
        bits: bits per note of the integer network on that chip; fewer are better.
        energy: uJ per note as in `bench.json`: `value`, `low`, `high`, `tag`, `band_known`.
    """

    name: str
    bits: float
    energy: Mapping[str, Any]


def costed(results: Mapping[str, Any]) -> dict[str, list[Costed]]:
    """By chip, every network that fits it and was evaluated there, the fewest bits first."""
    found: dict[str, list[Costed]] = {}
    for name, architecture in results["architectures"].items():
        for chip, entry in architecture["chip"].items():
            bits = architecture["quality"]["nll_bits_per_note"]["chip"].get(chip)
            if entry["fits"] and bits is not None:
                found.setdefault(chip, []).append(Costed(name, bits, entry["energy_uj_per_note"]["total"]))
    return {chip: sorted(points, key=lambda point: point.bits) for chip, points in found.items()}


def front(points: Sequence[Costed]) -> list[Costed]:
    """The Pareto front: those than which no other has both fewer bits and less energy, the fewest bits first."""
    best = [points[n] for n in on_front([(point.bits, point.energy["value"]) for point in points])]
    return sorted(best, key=lambda point: point.bits)


def sentences(results: Mapping[str, Any]) -> list[str]:
    """The answer in sentences, one for each chip; none if fewer than two networks can be compared."""
    told = []
    for chip, points in costed(results).items():
        if len(points) < 2:
            continue
        best, least = points[0], min(points, key=lambda point: point.energy["value"])
        line = f"On {chip}, {best.name} predicts best: {best.bits:.3f} bits per note at {_energy(best)} per note."
        if least.name == best.name:
            line += " It takes the least energy too."
        else:
            sure = least.energy["high"] < best.energy["low"]
            line += (
                f" {least.name} takes the least energy: {_energy(least)}, with {least.bits:.3f} bits"
                f"{'' if sure else '; the bands of the two overlap'}."
            )
        between = [point.name for point in front(points) if point not in (best, least)]
        beaten = [point.name for point in points if point not in front(points)]
        if between:
            line += f" {_listed(between)} {'lies' if len(between) == 1 else 'lie'} between them."
        if beaten:
            verb = "lies" if len(beaten) == 1 else "lie"
            line += f" {_listed(beaten)} {verb} behind: another has fewer bits and less energy."
        told.append(line)
    return told


def _energy(point: Costed) -> str:
    energy = point.energy
    least = "" if energy.get("band_known", True) else "at least "
    return f"{energy['value']:.3g} µJ ({least}{energy['low']:.3g} to {energy['high']:.3g}, {energy['tag']})"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([*([", ".join(names[:-1])] if names[:-1] else []), names[-1]])
