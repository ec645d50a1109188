"""Runs a network in Lava, for muspike, and writes every spike (and u and v) of every population.

    python lava_worker.py PROGRAM.npz INPUTS.npy OUTPUT.npz [--membranes]
    python lava_worker.py --check

This file is a script of its own, beside `lava_network.py`, which makes the processes. It runs in the Python that has
lava-nc, which need not have muspike. It adds what a proof needs: sequences that begin anew, a fast record of every
neuron, and progress. INPUTS is uint8 `[ticks, batch, size]` (uint16 if inputs are graded), with the input populations
side by side. OUTPUT holds arrays `[ticks, batch, size]` for each population i of the network that is no input:
`spikes_<i>` (uint8), `v_<i>` (int32, of a network in floats float64; of the readouts, with --membranes of all) and
`u_<i>` (the same; with --membranes).
"""

import argparse
import importlib.util
import json
import multiprocessing
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def beside(name: str) -> Any:
    """The script `name` in this folder as a module; the folder stays out of `sys.path` (see `import_lava` there)."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Lava's processes are other processes: they find the classes by this name
    spec.loader.exec_module(module)
    return module


network = beside("lava_network")

from lava.magma.core.model.py.type import LavaPyType  # noqa: E402
from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi1SimCfg  # noqa: E402
from lava.proc.dense.models import PyDenseModelBitAcc, PyDenseModelFloat  # noqa: E402
from lava.proc.dense.process import Dense  # noqa: E402
from lava.proc.lif.models import (  # noqa: E402
    PyLifModelBitAcc,
    PyLifModelFloat,
    PyLifResetModelBitAcc,
    PyLifResetModelFloat,
)
from lava.proc.lif.process import LIF, LIFReset  # noqa: E402
from lava.proc.sparse.models import (  # noqa: E402
    PyDelaySparseModelBitAcc,
    PyDelaySparseModelFloat,
    PySparseModelBitAcc,
    PySparseModelFloat,
)
from lava.proc.sparse.process import DelaySparse, Sparse  # noqa: E402

SECONDS_BETWEEN_LINES = 5.0
FIRST_CHUNK = 20


class EachSequenceAnew:
    """Lets a model begin each sequence at step 1 with zero states. Sequences run one after another in one network."""

    time_step: int
    proc_params: Mapping[str, Any]

    def run_spk(self) -> None:
        step = self.time_step
        self.time_step = (step - 1) % self.proc_params["ticks"] + 1
        if self.time_step == 1:
            for name in ("u", "v", "a_buff", "a_buf"):
                if hasattr(self, name):
                    getattr(self, name)[:] = 0
        super().run_spk()  # type: ignore[misc]
        self.time_step = step

    def run(self) -> None:
        # Lava itself says only how many exceptions there were.
        try:
            super().run()  # type: ignore[misc]
        except Exception:
            traceback.print_exc()
            raise


class Recorded(EachSequenceAnew):
    """Records the spikes of a neuron model after each step and, if asked, u and v.

    Lava's Monitors would send them between processes one number at a time.
    """

    u: npt.NDArray[Any]
    v: npt.NDArray[Any]

    def spiking_activation(self) -> npt.NDArray[np.bool_]:
        self.spikes = super().spiking_activation()  # type: ignore[misc]
        return self.spikes  # type: ignore[no-any-return]

    def run_spk(self) -> None:
        super().run_spk()
        if not hasattr(self, "records"):
            files = self.proc_params["files"]
            self.records = {name: np.load(path, mmap_mode="r+") for name, path in files.items()}
        sequence, tick = divmod(self.time_step - 1, self.proc_params["ticks"])
        for name, record in self.records.items():
            record[tick, sequence] = getattr(self, name)


class DelaysOnce(EachSequenceAnew):
    """Lets a model sort its weights by delay in its first step only. Lava sorts in each step, with the same result."""

    def get_delay_wgts_mat(self, *arguments: Any) -> Any:
        if not hasattr(self, "by_delay"):
            self.by_delay = super().get_delay_wgts_mat(*arguments)  # type: ignore[misc]
        return self.by_delay


class RecordedLif(Recorded, PyLifModelBitAcc):  # type: ignore[misc]
    """Lava's LIF, recorded, and restarted for each sequence."""


class RecordedLifReset(Recorded, PyLifResetModelBitAcc):  # type: ignore[misc]
    """Lava's LIFReset, recorded, and restarted for each sequence."""


class RecordedLifFloat(Recorded, PyLifModelFloat):  # type: ignore[misc]
    """Lava's LIF in floats, recorded, and restarted for each sequence."""


class RecordedLifResetFloat(Recorded, PyLifResetModelFloat):  # type: ignore[misc]
    """Lava's LIFReset in floats, recorded, and restarted for each sequence."""


class RestartedDense(EachSequenceAnew, PyDenseModelBitAcc):  # type: ignore[misc]
    """Lava's Dense, restarted for each sequence."""


class RestartedDenseFloat(EachSequenceAnew, PyDenseModelFloat):  # type: ignore[misc]
    """Lava's Dense in floats, restarted for each sequence."""


class RestartedSparse(EachSequenceAnew, PySparseModelBitAcc):  # type: ignore[misc]
    """Lava's Sparse, restarted for each sequence."""


class RestartedSparseFloat(EachSequenceAnew, PySparseModelFloat):  # type: ignore[misc]
    """Lava's Sparse in floats, restarted for each sequence."""


class RestartedDelaySparse(DelaysOnce, PyDelaySparseModelBitAcc):  # type: ignore[misc]
    """Lava's DelaySparse, restarted for each sequence."""


class RestartedDelaySparseFloat(DelaysOnce, PyDelaySparseModelFloat):  # type: ignore[misc]
    """Lava's DelaySparse in floats, restarted for each sequence."""


MODELS: Mapping[str, dict[Any, Any]] = {
    "fixed_pt": {
        LIF: RecordedLif,
        LIFReset: RecordedLifReset,
        Dense: RestartedDense,
        Sparse: RestartedSparse,
        DelaySparse: RestartedDelaySparse,
    },
    "floating_pt": {
        LIF: RecordedLifFloat,
        LIFReset: RecordedLifResetFloat,
        Dense: RestartedDenseFloat,
        Sparse: RestartedSparseFloat,
        DelaySparse: RestartedDelaySparseFloat,
    },
}


def convolution_models(synapses: Iterable[Any]) -> dict[str, dict[Any, Any]]:
    """By tag, the model of Lava's Conv, if one of the processes is a Conv. Importing it takes half a second."""
    if not any(len(process.s_in.shape) == 3 for process in synapses):
        return {"fixed_pt": {}, "floating_pt": {}}
    from lava.proc.conv.models import PyConvModelFixed, PyConvModelFloat
    from lava.proc.conv.process import Conv

    # Lava keeps these in int8. NumPy 1 widened int8 in sums with larger numbers. NumPy 2 refuses an input size, or
    # a number of channels, above 127.
    class Wide(EachSequenceAnew):
        kernel_size = stride = padding = dilation = groups = LavaPyType(np.ndarray, np.int32, precision=32)

    class RestartedConv(Wide, PyConvModelFixed):  # type: ignore[misc]
        pass

    class RestartedConvFloat(Wide, PyConvModelFloat):  # type: ignore[misc]
        pass

    return {"fixed_pt": {Conv: RestartedConv}, "floating_pt": {Conv: RestartedConvFloat}}


def record(
    program: Mapping[str, Any], populations: Mapping[str, Any], shape: tuple[int, int], folder: Path, membranes: bool
) -> dict[int, dict[str, Path]]:
    """Let the processes of neurons record to files, `[ticks, batch, size]`.

    Returns:
        The files, by population index and kind (`spikes`, `v`, `u`).
    """
    number = np.int32 if program["tag"] == "fixed_pt" else np.float64
    records: dict[int, dict[str, Path]] = {}
    for i, p in enumerate(program["populations"]):
        if p["kind"] == "input":
            continue
        kinds = ["spikes"] + ["v"] * (membranes or p["kind"] == "li") + ["u"] * membranes
        records[i] = {kind: folder / f"{kind}_{i}.npy" for kind in kinds}
        for kind, path in records[i].items():
            dtype = np.uint8 if kind == "spikes" else number
            np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(*shape, p["size"])).flush()
        populations[p["name"]].proc_params["files"] = records[i]
    return records


def sign_of_life() -> None:
    print(file=sys.stderr, flush=True)


def run(process: Any, steps: int, configuration: Any) -> float:
    """Run the network in chunks. Returns the seconds per tick after the first chunk.

    The first chunk is short: it compiles and starts the network. Later chunks take about the time between two lines of
    progress on stderr. After each chunk, an empty line tells the waiting parent that there is progress.
    """
    done = chunk = min(FIRST_CHUNK, steps)
    sign_of_life()
    process.run(condition=RunSteps(num_steps=chunk), run_cfg=configuration)
    sign_of_life()
    started, line, per_tick = time.monotonic(), time.monotonic(), float("nan")
    while done < steps:
        process.run(condition=RunSteps(num_steps=min(chunk, steps - done)), run_cfg=configuration)
        done = min(done + chunk, steps)
        sign_of_life()
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
    program, inputs, output = network.read(arguments.files[0]), np.load(arguments.files[1]), arguments.files[2]
    ticks, batch, size = inputs.shape
    with tempfile.TemporaryDirectory() as folder:
        populations, synapses = network.build(program, inputs.transpose(1, 0, 2).reshape(ticks * batch, size))
        records = record(program, populations, (ticks, batch), Path(folder), arguments.membranes)
        for process in (*populations.values(), *synapses.values()):
            process.proc_params["ticks"] = ticks
        models = MODELS[program["tag"]] | convolution_models(synapses.values())[program["tag"]]
        configuration = Loihi1SimCfg(select_tag=program["tag"], exception_proc_model_map=models)
        process = populations[program["populations"][min(records)]["name"]]
        seconds_per_tick = run(process, ticks * batch, configuration)
        results = {f"{kind}_{i}": np.load(path) for i, files in records.items() for kind, path in files.items()}
        np.savez(output, versions=json.dumps(versions), seconds_per_tick=seconds_per_tick, **results)
        process.stop()


if __name__ == "__main__":
    try:
        main()
    except BaseException:  # in any case, or Lava's processes and this one would wait for each other for ever
        for child in multiprocessing.active_children():
            child.kill()
        raise
