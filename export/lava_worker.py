"""Runs a muspike Program in Lava's `fixed_pt` models and writes every spike (and u and v) of every population.

    python lava_worker.py PROGRAM.npz INPUTS.npy OUTPUT.npz [--membranes]
    python lava_worker.py --check

A script of its own: it runs in the Python that has lava-nc, which need not have muspike. INPUTS is uint8
`[ticks, batch, size]`, the input populations side by side. OUTPUT holds, for population i of the Program, `spikes_<i>`
uint8, and `v_<i>` (int32; readouts, or all with --membranes) and `u_<i>` (with --membranes), `[ticks, batch, size]`.

Timing: a RingBuffer sends the spikes of tick t in Lava's step t + 1, Dense passes them on one step later, LIF takes no
step. So a Dense is a synapse of delay 1, and a DelayDense with delays d - 1 one of delay d, for inputs too.
"""

import argparse
import dataclasses
import json
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def import_lava() -> None:
    """Import the module of lava-nc 0.10.0 that Python 3.11 and later refuse, in a way that they do not.

    `CoreEncoder` and others have an instance of the dataclass `ByteEncoder` as a default. Since 3.11 a default must be
    hashable, and a dataclass that compares by value is not. Nothing ever hashes it; so it is given a hash.
    """
    # Beside this file lies muspike's own lava.py, which would be found first.
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
    plain = dataclasses.dataclass

    def dataclass(cls: Any = None, /, **options: Any) -> Any:
        if getattr(cls, "__qualname__", "") == "ByteEncoder":
            options["unsafe_hash"] = True
        return plain(cls, **options)

    dataclasses.dataclass = dataclass
    try:
        import lava.magma.compiler.var_model  # noqa: F401
    finally:
        dataclasses.dataclass = plain


import_lava()

from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi1SimCfg  # noqa: E402
from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc  # noqa: E402
from lava.proc.dense.process import DelayDense, Dense  # noqa: E402
from lava.proc.io.source import RingBuffer  # noqa: E402
from lava.proc.lif.models import PyLifModelBitAcc  # noqa: E402
from lava.proc.lif.process import LIF  # noqa: E402
from lava.utils.weightutils import SignMode  # noqa: E402

SECONDS_BETWEEN_LINES = 5.0
FIRST_CHUNK = 20


class EachSequenceAnew:
    """Zeroes a model's state at the first step of each sequence: they run one after another in one network."""

    time_step: int
    proc_params: Mapping[str, Any]

    def run_spk(self) -> None:
        if (self.time_step - 1) % self.proc_params["ticks"] == 0:
            for name in ("u", "v", "a_buff"):
                if hasattr(self, name):
                    getattr(self, name)[:] = 0
        super().run_spk()  # type: ignore[misc]

    def run(self) -> None:
        # Lava itself says how many exceptions there were, not which.
        try:
            super().run()  # type: ignore[misc]
        except Exception:
            traceback.print_exc()
            raise


class RecordedLif(EachSequenceAnew, PyLifModelBitAcc):  # type: ignore[misc]
    """Lava's LIF; after its step it notes the spikes and, where asked, u and v.

    Reading them through Monitors would send them between processes one number at a time.
    """

    def run_spk(self) -> None:
        super().run_spk()
        files = self.proc_params["files"]
        if not hasattr(self, "records"):
            self.records = {name: np.load(path, mmap_mode="r+") for name, path in files.items()}
        sequence, tick = divmod(self.time_step - 1, self.proc_params["ticks"])
        for name, value in (("spikes", self.s_out_buff), ("u", self.u), ("v", self.v)):
            if name in self.records:
                self.records[name][tick, sequence] = value


class RestartedDense(EachSequenceAnew, PyDenseModelBitAcc):  # type: ignore[misc]
    """Lava's Dense."""


class RestartedDelayDense(EachSequenceAnew, PyDelayDenseModelBitAcc):  # type: ignore[misc]
    """Lava's DelayDense."""


MODELS = {LIF: RecordedLif, Dense: RestartedDense, DelayDense: RestartedDelayDense}


def read_program(path: str) -> dict[str, Any]:
    """The header, and the per-neuron arrays of each population."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header"].tobytes())
    ends = np.cumsum([p["size"] for p in header["populations"]])
    for i, p in enumerate(header["populations"]):
        for name in ("du", "dv", "v_threshold", "bias_mant", "bias_exp"):
            p[name] = arrays[name][ends[i] - p["size"] : ends[i]]
    for i, s in enumerate(header["synapses"]):
        s["weight"] = arrays[f"weight_{i}"]
    return header  # type: ignore[no-any-return]


def make_process(
    population: Mapping[str, Any], ticks: int, source: npt.NDArray[np.int32] | None, files: Mapping[str, Path] | None
) -> Any:
    if population["kind"] == "input":
        return RingBuffer(data=source)
    return LIF(
        shape=(population["size"],),
        # Lava adds 1 to du and wraps beyond 4095, which already forgets all.
        du=np.minimum(population["du"], 4095),
        dv=population["dv"],
        vth=population["v_threshold"],
        bias_mant=population["bias_mant"],
        bias_exp=population["bias_exp"],
        ticks=ticks,
        files=files,
    )


def make_synapses(weight: npt.NDArray[Any], weight_exp: int, delay: int, ticks: int) -> Any:
    # Mixed signs, whatever the weights are: the low bit is then cut from all alike, and it is 0.
    shared = {"weight_exp": weight_exp, "sign_mode": SignMode.MIXED, "ticks": ticks}
    weights = weight.astype(np.int32)
    return Dense(weights=weights, **shared) if delay == 1 else DelayDense(weights=weights, delays=delay - 1, **shared)


def connect(source: Any, synapses: Any, target: Any) -> None:
    source.s_out.connect(synapses.s_in)
    synapses.a_out.connect(target.a_in)


def connected(start: str, edges: Sequence[tuple[str, str]]) -> set[str]:
    """The populations that a path of synapses, in any direction, joins to `start`."""
    found = {start}
    while True:
        more = {n for edge in edges if found & set(edge) for n in edge} - found
        if not more:
            return found
        found |= more


def build(
    program: Mapping[str, Any], inputs: npt.NDArray[np.uint8], folder: Path, membranes: bool
) -> tuple[Any, dict[int, dict[str, Path]]]:
    """All processes by population name, joined into one network, and the files they record to by population index."""
    ticks, batch, _ = inputs.shape
    processes: dict[str, Any] = {}
    records: dict[int, dict[str, Path]] = {}
    column = 0
    for i, p in enumerate(program["populations"]):
        shape = (ticks, batch, p["size"])
        source = None
        if p["kind"] == "input":
            source = (
                inputs[:, :, column : column + p["size"]].transpose(2, 1, 0).reshape(p["size"], -1).astype(np.int32)
            )
            column += p["size"]
        else:
            kinds = ["spikes"] + ["v"] * (membranes or p["kind"] == "li") + ["u"] * membranes
            records[i] = {kind: folder / f"{kind}_{i}.npy" for kind in kinds}
            for kind, path in records[i].items():
                dtype = np.uint8 if kind == "spikes" else np.int32
                np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape).flush()
        processes[p["name"]] = make_process(p, ticks, source, records.get(i))
    for s in program["synapses"]:
        synapses = make_synapses(s["weight"], s["weight_exp"], s["delay"], ticks)
        connect(processes[s["source"]], synapses, processes[s["target"]])
    # Lava runs the processes that a connection joins to the first: the others are joined by weights of 0.
    neurons = [p["name"] for p in program["populations"] if p["kind"] != "input"]
    edges = [(s["source"], s["target"]) for s in program["synapses"]]
    for name in neurons[1:]:
        if name not in connected(neurons[0], edges):
            zeros = np.zeros((processes[name].a_in.shape[0], processes[neurons[0]].s_out.shape[0]))
            connect(processes[neurons[0]], make_synapses(zeros, 0, 1, ticks), processes[name])
            edges.append((neurons[0], name))
    return processes[neurons[0]], records


def run(process: Any, steps: int) -> float:
    """Run in chunks of about the time between two lines on stderr; gives the seconds per tick after the first chunk.

    The first chunk is short, to learn how fast the network is; it also compiles and starts it.
    """
    configuration = Loihi1SimCfg(select_tag="fixed_pt", exception_proc_model_map=MODELS)
    done = chunk = min(FIRST_CHUNK, steps)
    process.run(condition=RunSteps(num_steps=chunk), run_cfg=configuration)
    started, line, per_tick = time.monotonic(), time.monotonic(), float("nan")
    while done < steps:
        process.run(condition=RunSteps(num_steps=min(chunk, steps - done)), run_cfg=configuration)
        done = min(done + chunk, steps)
        now = time.monotonic()
        per_tick = (now - started) / (done - FIRST_CHUNK)
        chunk = max(1, min(2 * chunk, int(SECONDS_BETWEEN_LINES / per_tick)))
        if now - line > SECONDS_BETWEEN_LINES:
            line = now
            print(f"lava: {done} of {steps} ticks, {1000 * per_tick:.2f} ms each", file=sys.stderr, flush=True)
    return per_tick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="print the versions, as JSON, and stop")
    parser.add_argument("--membranes", action="store_true", help="record u and v of every population")
    parser.add_argument("files", nargs="*", metavar="PROGRAM INPUTS OUTPUT")
    arguments = parser.parse_args()
    versions = {name: metadata.version(name) for name in ("lava-nc", "numpy")} | {"python": platform.python_version()}
    if arguments.check:
        print(json.dumps(versions))
        return
    if len(arguments.files) != 3:
        parser.error("needs PROGRAM INPUTS OUTPUT")
    program, inputs, output = read_program(arguments.files[0]), np.load(arguments.files[1]), arguments.files[2]
    with tempfile.TemporaryDirectory() as folder:
        process, records = build(program, inputs, Path(folder), arguments.membranes)
        seconds_per_tick = run(process, inputs.shape[0] * inputs.shape[1])
        results = {f"{kind}_{i}": np.load(path) for i, files in records.items() for kind, path in files.items()}
        np.savez(output, versions=json.dumps(versions), seconds_per_tick=seconds_per_tick, **results)
        process.stop()


if __name__ == "__main__":
    main()
