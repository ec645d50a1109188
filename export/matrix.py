"""Which architecture can be exported to which target: every pair is tried, and proved, refused or found unequal."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from muspike.errors import BadInput, MuspikeError
from muspike.export.subject import Subject
from muspike.export.targets import TARGETS, export
from muspike.tables import text_table

Outcome = Literal["proved", "unequal", "refused", "not run", "failed"]
WORDS = 16


@dataclass(frozen=True)
class Cell:
    """What became of one network and one target.

    Attributes:
        network: the name of the network.
        target: the target with its options, as they are typed.
        outcome: `proved`: nothing differs; `unequal`: something does; `refused`: the target cannot hold the network;
            `not run`: a package is missing; `failed`: what runs the file stopped.
        why: the reason, if it is not proved; else empty.
        spikes: spikes compared.
        differences: neuron-ticks that differ.
        seconds: of writing and proving.
    """

    network: str
    target: str
    outcome: Outcome
    why: str = ""
    spikes: int = 0
    differences: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The cell as a JSON-able dict, without the seconds, which differ from run to run."""
        return {name: value for name, value in asdict(self).items() if name != "seconds"}


def columns(only: Iterable[str] | None = None) -> dict[str, tuple[str, Mapping[str, str]]]:
    """The targets with their options, by how they are typed: `onnx --form scan`. `only` are names of targets."""
    found: dict[str, tuple[str, Mapping[str, str]]] = {}
    for name, target in TARGETS.items():
        if only is None or name in only:
            for options in ({}, *target.forms):
                found[" ".join([name, *(f"--{key} {value}" for key, value in options.items())])] = name, options
    return found


def try_pair(network: Subject, typed: str, count: int = WORDS) -> Cell:
    """Export a network in one column, prove it, and forget the file."""
    target, options = columns()[typed]
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="muspike-targets-") as folder:
        path = Path(folder) / f"network{TARGETS[target].suffix}"
        try:
            proof = export(network, target, path, count, **options)
        except MuspikeError as error:
            outcome: Outcome = "refused" if isinstance(error, BadInput) else "failed"
            if isinstance(error, BadInput) and "pip install" in str(error):
                outcome = "not run"
            why = str(error).removeprefix(f"{path}: ").replace(folder, "")
            return Cell(network.name, typed, outcome, why, seconds=time.perf_counter() - begun)
    return Cell(
        network.name,
        typed,
        "proved" if proof.holds else "unequal",
        proof.why,
        sum(row.spikes for row in proof.rows),
        sum(row.differences for row in proof.rows),
        time.perf_counter() - begun,
    )


def try_all(
    networks: Iterable[Subject], only: Iterable[str] | None = None, tried: Callable[[Cell], object] = lambda _: None
) -> list[Cell]:
    """Every network in every column; `tried` is called with each cell."""
    found = []
    for network in networks:
        for typed in columns(only):
            found.append(try_pair(network, typed))
            tried(found[-1])
    return found


def table(cells: Iterable[Cell]) -> list[str]:
    """The cells as a table for a terminal, a row per target and a column per network; and why some are not proved."""
    cells = list(cells)
    networks, targets = (list(dict.fromkeys(getattr(cell, end) for cell in cells)) for end in ("network", "target"))
    by_pair = {(cell.network, cell.target): cell for cell in cells}
    rows = [[typed, *(_short(by_pair[name, typed]) for name in networks)] for typed in targets]
    lines = list(text_table(["", *networks], rows))
    return lines + [f"{', '.join(pairs)}: {why}" for why, pairs in reasons(cells).items()]


def markdown(cells: Sequence[Mapping[str, Any]]) -> str:
    """The cells, as `to_dict` gives them, as a table of the documentation, with the reasons as a list below it."""
    made = [Cell(**cell) for cell in cells]
    networks, targets = (list(dict.fromkeys(getattr(cell, end) for cell in made)) for end in ("network", "target"))
    by_pair = {(cell.network, cell.target): cell for cell in made}
    lines = [f"| `--to` | {' | '.join(networks)} |", "|---" * (len(networks) + 1) + "|"]
    for typed in targets:
        lines.append(f"| `{typed}` | {' | '.join(_short(by_pair[name, typed]) for name in networks)} |")
    found = reasons(made)
    return "\n".join([*lines, *([""] if found else []), *(f"- {', '.join(of)}: {why}" for why, of in found.items())])


def reasons(cells: Iterable[Cell]) -> dict[str, list[str]]:
    """By reason, the pairs that are not proved because of it."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        if cell.why:
            found.setdefault(cell.why, []).append(f"{cell.network} to {cell.target}")
    return found


def _short(cell: Cell) -> str:
    if cell.outcome == "proved":
        return f"proved, {cell.spikes:,} spikes" if cell.spikes else "proved"
    return cell.outcome
