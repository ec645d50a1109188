"""The conformance pack: its files, its cases as programs, Lava's verdict on them, and what a verdict covers."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from conformance_cases import Case
from joined_programs import joined
from muspike.export import lava_runner
from muspike.hardware import weights as w
from muspike.hardware.program import Program
from mutated_chip import convolution_matrix

FOLDER = Path(__file__).parents[1] / "conformance"
if not FOLDER.is_dir():  # the tests lie elsewhere while their types are checked
    FOLDER = Path(__file__).parent / "tests" / "conformance"
CASES, MANIFEST = FOLDER / "cases", FOLDER / "manifest.json"
FORMAT, VERSION = "spiking chip conformance case", 1
_REGISTERS = ("du", "dv", "v_threshold", "bias_mant", "bias_exp")
_MOST_PROCESSES = 70  # populations and synapses that run in Lava at once; each is a process
Arrays = dict[str, npt.NDArray[Any]]


def question(case: Case) -> Arrays:
    """The arrays of a case without the verdict: the program and its inputs."""
    populations, ends = [], Counter[bool]()
    for p in case.program.populations:
        given = p.kind == "input"
        columns = [ends[given], ends[given] + p.size]
        ends[given] += p.size
        names = ("name", "kind", "reset_interval", "reset_offset", "graded_bits")
        populations.append({name: getattr(p, name) for name in names} | {"columns": columns})
    synapses: list[dict[str, Any]] = []
    arrays: Arrays = {"inputs": case.inputs.astype(np.uint16)}
    neurons = [p for p in case.program.populations if p.kind != "input"]
    arrays |= {name: np.concatenate([getattr(p, name) for p in neurons]).astype(np.int32) for name in _REGISTERS}
    for i, s in enumerate(case.program.synapses):
        form = "sparse" if isinstance(s.weight, w.Sparse) else "conv" if isinstance(s.weight, w.Conv) else "dense"
        entry = {name: getattr(s, name) for name in ("name", "source", "target", "weight_exp", "delay")}
        entry["form"] = form
        if isinstance(s.weight, w.Conv):
            geometry = ("input_shape", "output_shape", "stride", "padding", "dilation", "groups")
            entry["geometry"] = {name: getattr(s.weight, name) for name in geometry}
            arrays[f"kernel_{i}"] = s.weight.kernel.astype(np.int16)
            arrays[f"matrix_{i}"] = convolution_matrix(s.weight.kernel, entry["geometry"])
        else:
            arrays[f"matrix_{i}"] = w.dense(s.weight).astype(np.int16)
        synapses.append(entry)
    header = {"format": FORMAT, "version": VERSION, "name": case.name, "tests": case.tests}
    header |= {"populations": populations, "synapses": synapses}
    text = json.dumps(header, sort_keys=True).encode()
    return {"header": np.frombuffer(text, np.uint8), **arrays}


def packed(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """An `.npz` of these arrays, whose bytes tell no time."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in sorted(arrays.items()):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return file.getvalue()


def read(name: str) -> Arrays:
    """The arrays of a case of the pack."""
    with np.load(CASES / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return found


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def side_by_side(program: Program, parts: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Arrays `[ticks, batch, size]` of all neurons as one, in the order of the pack's columns."""
    return np.concatenate([parts[p.name] for p in program.populations if p.kind != "input"], axis=2)


def verdicts(cases: Sequence[Case], python: Path | None = None) -> tuple[list[Arrays], str]:
    """Lava's s, u and v on each case, and Lava's version. Several cases run in Lava at once."""
    found: dict[str, Arrays] = {}
    version = ""
    for group in _groups(cases):
        ticks = max(len(c.inputs) for c in group)
        batch = max(c.inputs.shape[1] for c in group)

        def longer(c: Case, ticks: int = ticks, batch: int = batch) -> npt.NDArray[Any]:
            """Silence behind the inputs, which changes nothing before it."""
            short = ticks - len(c.inputs), batch - c.inputs.shape[1]
            return np.pad(c.inputs, ((0, short[0]), (0, short[1]), (0, 0)))

        together = joined([c.program for c in group])
        run = lava_runner.run_lava(together, np.concatenate([longer(c) for c in group], axis=2), python, True)
        version = run.versions["lava-nc"]
        for i, c in enumerate(group):
            cut = slice(0, len(c.inputs)), slice(0, c.inputs.shape[1])
            of = {
                key: {p.name: whole[f"{i}/{p.name}"][cut] for p in c.program.populations if p.kind != "input"}
                for key, whole in (("s", run.spikes), ("u", run.current), ("v", run.membrane))
            }
            dtypes = {"s": np.uint8, "u": np.int32, "v": np.int32}
            found[c.name] = {key: side_by_side(c.program, of[key]).astype(dtypes[key]) for key in of}
    return [found[c.name] for c in cases], version


def _groups(cases: Sequence[Case]) -> list[list[Case]]:
    groups: list[list[Case]] = []
    # Alike in length, so that little silence is added.
    for c in sorted(cases, key=lambda c: (c.inputs.shape[1] > 2, c.inputs.shape[1] * len(c.inputs))):
        size = sum(len(x.program.populations) + len(x.program.synapses) for x in groups[-1]) if groups else 0
        new = len(c.program.populations) + len(c.program.synapses)
        if not groups or size + new > _MOST_PROCESSES or (c.inputs.shape[1] > 2) != (groups[-1][0].inputs.shape[1] > 2):
            groups.append([])
        groups[-1].append(c)
    return groups


def coverage(case: Mapping[str, Any]) -> set[str]:
    """What a case shows, from its frozen values and one step of the equations at a time."""
    header = json.loads(bytes(case["header"]))
    at = {p["name"]: slice(*p["columns"]) for p in header["populations"]}
    kind = {p["name"]: p["kind"] for p in header["populations"]}
    s, u, v, x = (case[key].astype(np.int64) for key in ("s", "u", "v", "inputs"))
    du, dv = np.minimum(case["du"].astype(np.int64) + 1, 4096), case["dv"].astype(np.int64)
    bias, top = case["bias_mant"].astype(np.int64) << case["bias_exp"], case["v_threshold"].astype(np.int64) << 6
    a, shows = np.zeros_like(u), set()
    for i, y in enumerate(header["synapses"]):
        spikes, matrix = (x if kind[y["source"]] == "input" else s)[:, :, at[y["source"]]], case[f"matrix_{i}"]
        heard = (spikes[: max(len(u) - y["delay"], 0)] @ matrix.T.astype(np.int64)) << y["weight_exp"]
        a[y["delay"] :, :, at[y["target"]]] += heard[: len(u)]
        if heard.any():
            shows |= {f"exponent {y['weight_exp']}", f"delay {y['delay']}", y["form"]}
            alive = spikes[: len(u) - y["delay"]].any(axis=(0, 1))
            shows |= {f"weight {n}" for n in (-256, 254) if (matrix[:, alive] == n).any()}
            shows |= {"a graded spike"} if spikes.max() > 1 else set()
            shows |= {"a self-loop"} if y["source"] == y["target"] else set()
    last_u, last_v = (np.concatenate([np.zeros_like(z[:1]), z[:-1]]) for z in (u, v))
    for p in header["populations"]:
        if p["kind"] == "input":
            if p["graded_bits"] and x[:, :, at[p["name"]]].max() == 2 ** p["graded_bits"] - 1:
                shows.add(f"{p['graded_bits']} bits full")
            continue
        if p["name"] not in {y["target"] for y in header["synapses"]}:
            shows.add("a population without synapses")
        columns = at[p["name"]]
        if p["reset_interval"]:
            due = np.arange(len(u)) % p["reset_interval"] == p["reset_offset"]
            if last_u[due][:, :, columns].any() and last_v[due][:, :, columns].any():
                shows.add("a reset")
            for z in (last_u, last_v):
                z[np.ix_(due, np.arange(z.shape[1]), np.arange(columns.start, columns.stop))] = 0
        if p["kind"] == "li" and v[:, :, columns].any():
            shows.add("a readout")
            shows |= {"a readout is reset"} if s[:, :, columns].any() else set()
    raw_u = np.sign(last_u) * (np.abs(last_u) * (4096 - du) >> 12) + (a << 6)
    raw_v = np.sign(last_v) * (np.abs(last_v) * (4096 - dv) >> 12) + u + bias
    edges = {(y["source"], y["target"]) for y in header["synapses"]}
    reached = set(edges)
    while more := {(p, r) for p, q in reached for o, r in edges if o == q} - reached:
        reached |= more
    found = {
        "a spike": s.any(),
        "spikes in a row": (s[1:] & s[:-1]).any(),
        "v meets its threshold": ((v == top) & (s == 0)).any(),
        "v saturates above": (raw_v > 2**23 - 1).any(),
        "v saturates below": (raw_v < -(2**23) + 1).any(),
        "v at -(2^23) + 1": (v == -(2**23) + 1).any(),
        "u wraps downward": (raw_u > 2**23).any(),
        "u wraps upward": (raw_u <= -(2**23)).any(),
        "u at 2^23": (u == 2**23).any(),
        "u stays at a spike": ((s == 1) & (u != 0)).any(),
        "sum -32768": (a == -(2**15)).any(),
        "sum 32766": (a == 2**15 - 2).any(),
        "sum beyond 16 bits": (np.abs(a + 0.5) > 2**15).any(),
        "u < 0 decays with a remainder": ((last_u < 0) & (last_u * (4096 - du) % 4096 != 0)).any(),
        "v < 0 decays with a remainder": ((last_v < 0) & (last_v * (4096 - dv) % 4096 != 0)).any(),
        "a cycle": any((q, p) in reached for p, q in edges if p != q),
        "several inputs": sum(k == "input" for k in kind.values()) > 1,
        "several synapses between two populations": len(edges) < len(header["synapses"]),
        "several sequences": u.shape[1] > 1 and (v != v[:, :1]).any(),
    }
    shows |= {name for name, is_so in found.items() if is_so}
    moved = {"du": u.any(axis=(0, 1)), "dv": v.any(axis=(0, 1)), "v_threshold": v.any(axis=(0, 1)) | s.any(axis=(0, 1))}
    moved |= {name: v.any(axis=(0, 1)) | s.any(axis=(0, 1)) for name in ("bias_mant", "bias_exp")}
    limits = {
        "du": (0, 1, 4094, 4095, 4096),
        "dv": (0, 1, 2048, 4095, 4096),
        "v_threshold": (0, 1, 131071),
        "bias_mant": (-4096, 4095),
        "bias_exp": tuple(range(8)),
    }
    for name, values in limits.items():
        shows |= {f"{name} {n}" for n in values if (case[name][moved[name]] == n).any()}
    return shows


def coverage_table(shown: Mapping[str, Sequence[str]]) -> str:
    """How many cases show what, in Markdown; of what is numbered, the fewest."""
    count = Counter(name for names in shown.values() for name in names)
    rows = ["| what the verdicts show | cases |", "|---|---|"]
    for delay in [f"delay {d}" for d in range(1, 64)]:
        assert count[delay], delay
    rows += [f"| {name} | {n} |" for name, n in sorted(count.items()) if not name.startswith("delay ")]
    fewest = min(count[f"delay {d}"] for d in range(1, 64))
    return "\n".join([*rows, f"| each delay from 1 to 63 | at least {fewest} |"])


def mutation_table(caught: Mapping[str, Sequence[str]], meaning: Mapping[str, str]) -> str:
    """Which cases catch a wrong simulator, in Markdown."""
    rows = ["| a wrong simulator | cases that catch it | one of them |", "|---|---|---|"]
    return "\n".join(rows + [f"| {meaning[name]} | {len(names)} | `{names[0]}` |" for name, names in caught.items()])
