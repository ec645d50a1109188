"""What each tool that reads NIR makes of the same graphs: docs/nir-readers.md and docs/results/nir-readers.json.

    python bench/versus/nir_readers.py            measure, and write both
    python bench/versus/nir_readers.py --page     write the page from the results that are there
    python bench/versus/nir_readers.py --check    measure, and say what differs from the results that are there

Every tool runs in an environment of its own, which is made on first use (`muspike.export.readers`). The reference is
muspike's float interpreter on the same inputs.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np

from muspike.errors import BadInput, one_line
from muspike.export.readers.dialects import DIALECTS
from muspike.export.readers.rewrite import populations_of, rewrite
from muspike.export.readers.run import ReaderRun, RefusedByReaderError, find_python, readers, run_all, versions_in
from muspike.export.subject import Subject
from muspike.files import write_whole
from muspike.hardware import interpreter
from muspike.hardware.reader.from_nir import from_nir

sys.path.insert(0, str(Path(__file__).parent))
from nir_causes import Meaning, cause, first_difference
from nir_graphs import CASES, SIZE, Case, behind_weights, cycle, lif

ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "docs/results/nir-readers.json", ROOT / "docs/nir-readers.md"
TEMPLATE = Path(__file__).with_name("nir_readers.template.md")
MODELS = ("s-rnn", "s-cnn", "s-lstm", "s-gan", "s-transformer")
ASSUMED_DT_S = {
    "snntorch": 1e-4,
    "spikingjelly": 1e-4,
    "sinabs": 1.0,
    "norse": 1e-3,
    "nirtorch": 1e-3,
    "rockpool": 1e-3,
}
TICKS, BATCH, RATE = 40, 3, 0.3
WORDS = 4  # of a model
LARGEST_FOR_TWO_CAUSES = 12  # nodes of a graph
Cell = dict[str, Any]

# Causes that no run of the interpreter shows, read in the tool's source, in the versions of `readers.toml`.
_SINABS = (
    "exp(-1 / tau) of a membrane stays, a spike subtracts the threshold, a neuron fires several times in a tick, and "
    "Linear nodes are left out"
)
_ROCKPOOL = "dt is taken as tau / (1 + r), exp(-dt / tau) of a membrane stays, and a spike subtracts the threshold"
IN_THE_SOURCE = {
    ("IF", "snntorch"): "an IF becomes a Leaky with beta = 0.9 that subtracts the threshold",
    ("LIF-leak", "norse"): "membranes begin at v_leak, and not at 0",
    ("braille", "norse"): "dt is 1e-3 s, unless from_nir is told another",
    **{(graph, "sinabs"): _SINABS for graph in ("cycle", "cycle-of-two", "join", "nested")},
    **{
        (graph, "sinabs"): "a spike subtracts the threshold, and no membrane is below -v_threshold"
        for graph in ("IF", "IF-dt")
    },
    **{(graph, "rockpool"): _ROCKPOOL for graph in ("LI", "CubaLIF", "CubaLIF-r", "braille")},
}


def measure() -> dict[str, Any]:
    """Every graph in every reader, and every model as it is written for one."""
    for name in readers():
        find_python(name)
    versions = {name: versions_in(name, find_python(name)) for name in readers()}
    models = {name: Subject.of(name) for name in MODELS}
    cases = dict(CASES)
    given: dict[str, Any] = {}
    for name, subject in models.items():
        cases[name] = Case(name, lambda dt, of=subject: of.nir_graph(), subject.graph.dt_s)
        given[name] = subject.stimulus(WORDS, 2).spikes
    cells: dict[str, dict[str, Cell]] = {graph: {} for graph in cases}
    for name in readers():
        for graph, cell in read(cases, given, name).items():
            cells[graph][name] = cell
            print(graph, name, told(cell), flush=True)
    written: dict[str, dict[str, Cell]] = {}
    for name in DIALECTS:
        for what, cell in write(networks(models), name).items():
            written.setdefault(what, {})[name] = cell
            print(what, "for", name, cell, flush=True)
    about = {"python": platform.python_version(), "ticks": TICKS, "sequences": BATCH, "rate": RATE, "words": WORDS}
    titles = {graph: case.what for graph, case in CASES.items()} | {m: f"{m}, `--to nir`" for m in MODELS}
    return {"made": about, "versions": versions, "graphs": titles, "cells": cells, "written": written}


def read(cases: Mapping[str, Case], given: Mapping[str, Any], reader: str) -> dict[str, Cell]:
    """What one reader makes of every graph; `given` has the inputs of some, the others get random ones."""
    with tempfile.TemporaryDirectory() as folder:
        meanings, jobs = {}, []
        for name, case in cases.items():
            dt_s = case.dt_s or ASSUMED_DT_S[reader]
            graph = case.make(dt_s)
            path = Path(folder) / f"{name}.nir"
            nir.write(path, nir.NIRGraph(graph.nodes, graph.edges, metadata={"dt": dt_s}, type_check=False))
            jobs.append((path, given[name] if name in given else _random_inputs(graph)))
            meanings[name] = Meaning(graph, dt_s)
        found = run_all(reader, jobs)
    return {
        name: _cell(meaning, inputs, run)
        for (name, meaning), (_, inputs), run in zip(meanings.items(), jobs, found, strict=True)
    }


def _random_inputs(graph: nir.NIRGraph) -> Any:
    entry = next(node for node in graph.nodes.values() if isinstance(node, nir.Input))
    shape = TICKS, BATCH, int(np.prod(entry.input_type["input"]))
    return (np.random.default_rng(0).random(shape) < RATE).astype(np.uint8)


def _cell(meaning: Meaning, given: Any, run: ReaderRun | RefusedByReaderError) -> Cell:
    if isinstance(run, RefusedByReaderError):
        return {"result": "refused", "stage": run.stage, "error": one_line(run.reason)[:160]}
    wanted = meaning.run(given)
    found = {name: array for name, array in run.outputs.items() if name in wanted} | {"output": run.final}
    extra: Cell = {key: value for key, value in (("missing", list(run.missing)), ("unchecked", run.unchecked)) if value}
    difference = first_difference(found, wanted)
    if difference is None:
        return {"result": "equal", **extra}
    node, tick, neuron = difference
    why = cause(meaning, given, found, two=len(meaning.graph.nodes) <= LARGEST_FOR_TWO_CAUSES)
    return {"result": "differs", "node": node, "tick": tick, "neuron": neuron, "why": why, **extra}


def networks(models: Mapping[str, Subject]) -> list[tuple[str, nir.NIRGraph, Any]]:
    """What is written for each reader: a name, the graph, and the inputs of the proof."""
    rng = np.random.default_rng(1)
    given = (rng.random((TICKS, BATCH, SIZE)) < RATE).astype(np.uint8)
    plain = [
        ("a feed-forward LIF", behind_weights(lif(1e-3))),
        ("a LIF with its plain cycle", cycle(1e-3)),
        ("taus and thresholds that differ", _differing()),
        ("CubaLIF", CASES["CubaLIF"].make(1e-3)),
        ("IF", CASES["IF"].make(1e-3)),
        ("Threshold", CASES["Threshold"].make(1e-3)),
        ("Delay", CASES["Delay"].make(1e-3)),
        ("two LIF in a cycle", CASES["cycle-of-two"].make(1e-3)),
        ("two ways to a LIF", CASES["join"].make(1e-3)),
    ]
    found = [(name, _told_dt(graph), given) for name, graph in plain]
    for name, subject in models.items():
        found.append((name, subject.nir_graph(), subject.stimulus(WORDS, 2).spikes))
    return found


def _differing() -> nir.NIRGraph:
    taus, thresholds = [2, 4, 8, 2, 4, 8], [0.25, 0.5, 0.125, 0.25, 0.5, 1]
    return behind_weights(lif(1e-3, ticks=taus, v_threshold=thresholds))


def _told_dt(graph: nir.NIRGraph) -> nir.NIRGraph:
    return nir.NIRGraph(graph.nodes, graph.edges, metadata={"dt": 1e-3}, type_check=False)


def write(networks: list[tuple[str, nir.NIRGraph, Any]], reader: str) -> dict[str, Cell]:
    """Write networks for a reader, run them there, and compare every spike of every population."""
    cells: dict[str, Cell] = {}
    with tempfile.TemporaryDirectory() as folder:
        jobs, made = [], {}
        for i, (name, graph, given) in enumerate(networks):
            try:
                made[name] = rewrite(copy.deepcopy(graph), reader), graph, given
            except BadInput as error:
                cells[name] = {"result": "refused", "error": one_line(str(error))}
                continue
            jobs.append((Path(folder) / f"{i}.nir", given))
            nir.write(jobs[-1][0], made[name][0])
        for (name, (written, graph, given)), (path, _), run in zip(
            made.items(), jobs, run_all(reader, jobs) if jobs else [], strict=True
        ):
            if isinstance(run, RefusedByReaderError):
                cells[name] = {"result": "refused", "stage": run.stage, "error": one_line(run.reason)[:160]}
                continue
            wanted = interpreter.run(from_nir(graph), given)[0]
            compared = {plain: run.outputs[node] for node, plain in populations_of(written).items()}
            difference = first_difference(compared, wanted)
            size: Cell = {
                "nodes": len(written.nodes),
                "megabytes": round(path.stat().st_size / 1e6, 1),
                "spikes": sum(int(wanted[plain].sum()) for plain in compared),
            }
            if difference is None:
                cells[name] = {"result": "equal", **size}
            else:
                node, tick, neuron = difference
                cells[name] = {"result": "differs", "node": node, "tick": tick, "neuron": neuron, **size}
    return {name: cells[name] for name, _, _ in networks}


def told(cell: Cell) -> str:
    """A cell in short words."""
    if cell["result"] == "refused":
        return f"refused ({cell.get('stage', 'write')}): {cell['error']}"
    if cell["result"] == "differs":
        return f"differs: {cell['node']}, tick {cell['tick']}, neuron {cell['neuron']}: {cell.get('why')}"
    return "equal"


def page(results: Mapping[str, Any]) -> str:
    """docs/nir-readers.md, from the results alone."""
    notes: dict[str, int] = {}

    def note(text: str) -> str:
        return f"[^{notes.setdefault(text, len(notes) + 1)}]"

    def short(cell: Cell, source: str | None = None) -> str:
        if cell["result"] == "equal":
            return "equal" + (note(f"`nir.read` refuses it: {cell['unchecked']}") if "unchecked" in cell else "")
        if cell["result"] == "refused":
            stage = {"read": "Reading", "load": "Loading", "run": "Running", None: ""}[cell.get("stage")]
            reason = cell["error"].replace("|", "\\|")
            return "refused" + note(f"{stage}: `{reason}`" if stage else reason)
        why = cell.get("why") or (f"No change of the graph shows it. Its source says: {source}" if source else "")
        why = f"{why or 'no cause is known'}."
        if cell.get("missing"):
            why += f" The reader makes nothing of {', '.join(cell['missing'])}."
        return f"tick {cell['tick']}, {cell['node']} {cell['neuron']}" + note(why[0].upper() + why[1:])

    def table(rows: Mapping[str, Mapping[str, Cell]], columns: list[str], titles: Mapping[str, str]) -> list[str]:
        head = ["graph", *columns]
        lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        lines += [
            f"| {' | '.join([titles.get(r, r), *(short(cells[c], IN_THE_SOURCE.get((r, c))) for c in columns)])} |"
            for r, cells in rows.items()
        ]
        return lines

    made, versions = results["made"], results["versions"]
    counts = {name: sum(cells[name]["result"] == "equal" for cells in results["cells"].values()) for name in versions}
    told_versions = [
        f"| {name} | {readers()[name].what} | {', '.join(f'{p} {v}' for p, v in versions[name].items())} | "
        f"{ASSUMED_DT_S[name]:g} s | {counts[name]} of {len(results['cells'])} |"
        for name in versions
    ]
    filled = {
        "sequences": f"{made['sequences']}",
        "ticks": f"{made['ticks']}",
        "rate": f"{made['rate']:g}",
        "words": f"{made['words']}",
        "versions": "\n".join(told_versions),
        "graphs": "\n".join(table(results["cells"], list(versions), results["graphs"])),
        "written": "\n".join(table(results["written"], list(DIALECTS), {})),
    }
    filled["notes"] = "\n".join(f"[^{number}]: {text}" for text, number in notes.items())
    text = TEMPLATE.read_text(encoding="utf-8")
    for mark, value in filled.items():
        text = text.replace("{{" + mark + "}}", value)
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", action="store_true", help="write the page from the results that are there")
    parser.add_argument("--check", action="store_true", help="measure, and say what differs from these results")
    options = parser.parse_args()
    if options.check:
        kept, found = json.loads(RESULTS.read_text()), measure()
        changed = [
            f"{part}, {graph}, {name}: {told(kept[part][graph][name])} -> {told(cell)}"
            for part in ("cells", "written")
            for graph, cells in found[part].items()
            for name, cell in cells.items()
            if kept[part].get(graph, {}).get(name) != cell
        ]
        print("\n".join(changed) or "as before")
        return bool(changed)
    if not options.page:
        text = json.dumps(measure(), indent=1) + "\n"
        with write_whole(RESULTS) as temporary:
            temporary.write_text(text)
    with write_whole(PAGE) as temporary:
        temporary.write_text(page(json.loads(RESULTS.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
