"""Runs a muspike Program in Lava's `fixed_pt` models and writes every spike (and u and v) of every population.

    python lava_worker.py PROGRAM.npz INPUTS.npy OUTPUT.npz [--membranes]
    python lava_worker.py --check

This file is a script of its own. It runs in the Python that has lava-nc, which need not have muspike. INPUTS is uint8
`[ticks, batch, size]` (uint16 if inputs are graded), with the input populations side by side. OUTPUT holds arrays
`[ticks, batch, size]` for each population i of the Program that is no input: `spikes_<i>` (uint8), `v_<i>` (int32; of
the readouts, with --membranes of all) and `u_<i>` (int32; with --membranes).

Timing. A RingBuffer sends the spikes of tick t in Lava's step t + 1. Dense, Sparse and Conv pass spikes on one step
later. LIF takes no step. So Dense, Sparse and Conv are synapses of delay 1, and a DelayDense or DelaySparse with delays
d - 1 is synapses of delay d. This also holds for synapses from inputs.

A convolution runs in Lava's Conv if Conv can express it: Conv has no delay and no exponent, and pads alike on both
sides. Other convolutions are unrolled, and run in Sparse or DelaySparse.

Synapses from a graded input have its bits as `num_message_bits`. Then Lava multiplies the weights with the values that
the RingBuffer sends.
"""

import argparse
import dataclasses
import functools
import json
import multiprocessing
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def import_lava() -> None:
    """Import the module of lava-nc 0.10.0 that Python 3.11 and later refuse to import.

    `CoreEncoder` and other dataclasses have an instance of the dataclass `ByteEncoder` as a default. Since Python 3.11,
    a default must be hashable, and a dataclass that compares by value is not. So `ByteEncoder` is given a hash, which
    nothing ever uses.
    """
    # No file beside this one may be found in place of a module that Lava imports.
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

from lava.magma.core.model.py.type import LavaPyType  # noqa: E402
from lava.magma.core.process.ports.ports import ReshapePort  # noqa: E402
from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi1SimCfg  # noqa: E402
from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc  # noqa: E402
from lava.proc.dense.process import DelayDense, Dense  # noqa: E402
from lava.proc.io.source import RingBuffer  # noqa: E402
from lava.proc.lif.models import PyLifModelBitAcc, PyLifResetModelBitAcc  # noqa: E402
from lava.proc.lif.process import LIF, LIFReset  # noqa: E402
from lava.proc.sparse.models import PyDelaySparseModelBitAcc, PySparseModelBitAcc  # noqa: E402
from lava.proc.sparse.process import DelaySparse, Sparse  # noqa: E402
from lava.utils.weightutils import SignMode  # noqa: E402
from scipy.sparse import csc_matrix, csr_matrix, issparse  # noqa: E402
from scipy.sparse.csgraph import connected_components  # noqa: E402

FORMAT, VERSIONS = "muspike program", (2, 3)  # version 2 has no graded inputs
SECONDS_BETWEEN_LINES = 5.0
FIRST_CHUNK = 20


def reshaped(data: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    return data.reshape(shape)


# Lava's own function calls np.reshape(newshape=...), which NumPy 2.4 no longer knows.
ReshapePort.get_transform_func_fwd = lambda port: functools.partial(reshaped, shape=port.shape)


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

    u: npt.NDArray[np.int32]
    v: npt.NDArray[np.int32]

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


class RestartedDense(EachSequenceAnew, PyDenseModelBitAcc):  # type: ignore[misc]
    """Lava's Dense, restarted for each sequence."""


class RestartedDelayDense(DelaysOnce, PyDelayDenseModelBitAcc):  # type: ignore[misc]
    """Lava's DelayDense, restarted for each sequence."""


class RestartedSparse(EachSequenceAnew, PySparseModelBitAcc):  # type: ignore[misc]
    """Lava's Sparse, restarted for each sequence."""


class RestartedDelaySparse(DelaysOnce, PyDelaySparseModelBitAcc):  # type: ignore[misc]
    """Lava's DelaySparse, restarted for each sequence."""


MODELS = {
    LIF: RecordedLif,
    LIFReset: RecordedLifReset,
    Dense: RestartedDense,
    DelayDense: RestartedDelayDense,
    Sparse: RestartedSparse,
    DelaySparse: RestartedDelaySparse,
}


@functools.cache
def lavas_conv() -> Any:
    """Import Lava's Conv and add its model to `MODELS`.

    Conv imports scipy.signal, which takes half a second, and few programs need it.
    """
    from lava.proc.conv.models import PyConvModelFixed
    from lava.proc.conv.process import Conv

    class RestartedConv(EachSequenceAnew, PyConvModelFixed):  # type: ignore[misc]
        # Lava keeps these in int8. NumPy 1 widened int8 in sums with larger numbers. NumPy 2 refuses an input size, or
        # a number of channels, above 127.
        kernel_size = stride = padding = dilation = groups = LavaPyType(np.ndarray, np.int32, precision=32)

    MODELS[Conv] = RestartedConv
    return Conv


def read_program(path: str) -> dict[str, Any]:
    """Read a program: its header, with the arrays of each population and of each synapses added to their entries."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header"].tobytes())
    if header["format"] != FORMAT or header["version"] not in VERSIONS:
        raise ValueError(f"{path}: {header['format']} version {header['version']}, not {FORMAT} version {VERSIONS}")
    ends = np.cumsum([p["size"] for p in header["populations"]])
    for i, p in enumerate(header["populations"]):
        for name in ("du", "dv", "v_threshold", "bias_mant", "bias_exp"):
            p[name] = arrays[name][ends[i] - p["size"] : ends[i]]
    bits = {p["name"]: p.get("graded_bits", 0) for p in header["populations"]}
    for i, s in enumerate(header["synapses"]):
        s["message_bits"] = bits[s["source"]]
        s |= {name: arrays[f"{name}_{i}"] for name in ("weight", "starts", "targets") if f"{name}_{i}" in arrays}
    return header  # type: ignore[no-any-return]


def make_input(spikes: npt.NDArray[Any]) -> Any:
    """The process that sends `spikes` `[ticks, batch, size]`, sequence after sequence."""
    return RingBuffer(data=spikes.transpose(2, 1, 0).reshape(spikes.shape[2], -1).astype(np.int32))


def make_neurons(population: Mapping[str, Any]) -> Any:
    parameters = {
        "shape": (population["size"],),
        # Lava adds 1 to du, and wraps above 4095. A du of 4095 already forgets everything.
        "du": np.minimum(population["du"], 4095),
        "dv": population["dv"],
        "vth": population["v_threshold"],
        "bias_mant": population["bias_mant"],
        "bias_exp": population["bias_exp"],
    }
    if population["reset_interval"] == 0:
        return LIF(**parameters)
    # Ticks are counted from 0, Lava's steps from 1.
    offset = population["reset_offset"] + 1
    return LIFReset(reset_interval=population["reset_interval"], reset_offset=offset, **parameters)


def make_synapses(synapses: Mapping[str, Any]) -> Any:
    if synapses["form"] == "conv" and lava_convolves(synapses):
        return make_convolution(synapses)
    weights, delay = MATRICES[synapses["form"]](synapses), synapses["delay"]
    # Signs are mixed, whatever the weights are. Then the low bit is cut from all weights alike, and that bit is 0.
    shared = {"weights": weights, "weight_exp": synapses["weight_exp"], "sign_mode": SignMode.MIXED}
    shared["num_message_bits"] = synapses["message_bits"]
    if not issparse(weights):
        return Dense(**shared) if delay == 1 else DelayDense(delays=delay - 1, **shared)
    if delay == 1:
        return Sparse(**shared)
    # Lava would spread a single number over all pairs of neurons, so each synapse gets its own.
    delays = weights.astype(np.int64)
    delays.data[:] = delay - 1
    return DelaySparse(delays=delays, **shared)


def dense_matrix(synapses: Mapping[str, Any]) -> npt.NDArray[np.int32]:
    return np.asarray(synapses["weight"], np.int32)


def sparse_matrix(synapses: Mapping[str, Any]) -> Any:
    columns = (synapses["weight"].astype(np.int32), synapses["targets"], synapses["starts"])
    return csr_matrix(csc_matrix(columns, shape=synapses["shape"]))


def unrolled_matrix(synapses: Mapping[str, Any]) -> Any:
    """The matrix `[target, source]` of a convolution.

    Tap [o, i, a, b] leads from channel o // g_out * g_in + i, row y s_y - p_y + a d_y, column x s_x - p_x + b d_x to
    channel o, row y, column x.
    """
    kernel, geometry = synapses["weight"].astype(np.int32), synapses["geometry"]
    c_out, g_in, k_y, k_x = kernel.shape
    (_, n_y, n_x), (_, y_out, x_out) = geometry["input_shape"], geometry["output_shape"]
    (s_y, s_x), (p_y, p_x), (d_y, d_x) = geometry["stride"], geometry["padding"], geometry["dilation"]
    o, i, a, b, y, x = np.ogrid[:c_out, :g_in, :k_y, :k_x, :y_out, :x_out]
    channel = o // (c_out // geometry["groups"]) * g_in + i
    from_y, from_x = y * s_y - p_y + a * d_y, x * s_x - p_x + b * d_x
    inside = (from_y >= 0) & (from_y < n_y) & (from_x >= 0) & (from_x < n_x) & (kernel[..., None, None] != 0)
    target, source = (o * y_out + y) * x_out + x, (channel * n_y + from_y) * n_x + from_x
    taps = (np.broadcast_to(part, inside.shape)[inside] for part in (kernel[..., None, None], target, source))
    weight, row, column = taps
    shape = (int(np.prod(geometry["output_shape"])), int(np.prod(geometry["input_shape"])))
    return csr_matrix((weight, (row, column)), shape=shape)


MATRICES = {"dense": dense_matrix, "sparse": sparse_matrix, "conv": unrolled_matrix}


def lava_convolves(synapses: Mapping[str, Any]) -> bool:
    """Whether Lava's Conv can express this convolution: delay 1, exponent 0, and the same padding on both sides."""
    names = ("input_shape", "output_shape", "stride", "padding", "dilation")
    sizes, outs, strides, paddings, dilations = (synapses["geometry"][name][-2:] for name in names)
    axes = zip(sizes, outs, strides, paddings, dilations, synapses["weight"].shape[2:], strict=True)
    return (
        synapses["delay"] == 1
        and synapses["weight_exp"] == 0
        and all((n + 2 * p - d * (k - 1) - 1) // s + 1 == out for n, out, s, p, d, k in axes)
    )


def make_convolution(synapses: Mapping[str, Any]) -> Any:
    """The convolution as Lava's Conv. Lava's order is x, y, channel. Lava's kernels are flipped: PyTorch correlates."""
    geometry = synapses["geometry"]
    return lavas_conv()(
        weight=synapses["weight"][:, :, ::-1, ::-1].transpose(0, 3, 2, 1).astype(np.int32),
        input_shape=tuple(geometry["input_shape"][::-1]),
        **{name: tuple(geometry[name][::-1]) for name in ("stride", "padding", "dilation")},
        groups=geometry["groups"],
        num_message_bits=synapses["message_bits"],
    )


def connect(source: Any, synapses: Any, target: Any) -> None:
    if len(synapses.s_in.shape) == 3:  # a convolution
        source.s_out.reshape(synapses.s_in.shape[::-1]).transpose((2, 1, 0)).connect(synapses.s_in)
        synapses.a_out.transpose((2, 1, 0)).reshape(target.a_in.shape).connect(target.a_in)
    else:
        source.s_out.connect(synapses.s_in)
        synapses.a_out.connect(target.a_in)


def connected(program: Mapping[str, Any]) -> npt.NDArray[np.int32]:
    """A number for each population. Populations that synapses join, in any direction, have the same number."""
    place = {p["name"]: i for i, p in enumerate(program["populations"])}
    sources, targets = ([place[s[end]] for s in program["synapses"]] for end in ("source", "target"))
    edges = csr_matrix((np.ones(len(sources)), (sources, targets)), shape=(len(place), len(place)))
    return connected_components(edges, directed=False)[1]  # type: ignore[no-any-return]


def build(
    program: Mapping[str, Any], inputs: npt.NDArray[Any], folder: Path, membranes: bool
) -> tuple[Any, dict[int, dict[str, Path]]]:
    """Build the network in Lava.

    Returns:
        process: the first process of neurons, which is joined to all others.
        records: the files that the processes record to, by population index and kind (`spikes`, `v`, `u`).
    """
    ticks, batch, _ = inputs.shape
    processes: list[Any] = []
    records: dict[int, dict[str, Path]] = {}
    column = 0
    for i, p in enumerate(program["populations"]):
        if p["kind"] == "input":
            processes.append(make_input(inputs[:, :, column : column + p["size"]]))
            column += p["size"]
            continue
        kinds = ["spikes"] + ["v"] * (membranes or p["kind"] == "li") + ["u"] * membranes
        records[i] = {kind: folder / f"{kind}_{i}.npy" for kind in kinds}
        for kind, path in records[i].items():
            dtype = np.uint8 if kind == "spikes" else np.int32
            np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(ticks, batch, p["size"])).flush()
        processes.append(make_neurons(p))
        processes[i].proc_params["ticks"], processes[i].proc_params["files"] = ticks, records[i]
    if not records:
        raise ValueError("the program has inputs only; Lava needs a population of neurons")

    def join(source: Any, synapses: Any, target: Any) -> None:
        synapses.proc_params["ticks"] = ticks
        connect(source, synapses, target)

    by_name = {p["name"]: process for p, process in zip(program["populations"], processes, strict=True)}
    for s in program["synapses"]:
        join(by_name[s["source"]], make_synapses(s), by_name[s["target"]])
    # Lava only runs processes that a connection joins to the first one. Synapses without weights join the others.
    parts, first = connected(program), processes[min(records)]
    for i in {parts[i]: i for i in records if parts[i] != parts[min(records)]}.values():
        nothing = csr_matrix((processes[i].a_in.shape[0], first.s_out.shape[0]), dtype=np.int32)
        join(first, Sparse(weights=nothing, sign_mode=SignMode.MIXED), processes[i])
    return first, records


def sign_of_life() -> None:
    print(file=sys.stderr, flush=True)


def run(process: Any, steps: int) -> float:
    """Run the network in chunks. Returns the seconds per tick after the first chunk.

    The first chunk is short: it compiles and starts the network. Later chunks take about the time between two lines of
    progress on stderr. After each chunk, an empty line tells the waiting parent that there is progress.
    """
    configuration = Loihi1SimCfg(select_tag="fixed_pt", exception_proc_model_map=MODELS)
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
    program, inputs, output = read_program(arguments.files[0]), np.load(arguments.files[1]), arguments.files[2]
    with tempfile.TemporaryDirectory() as folder:
        process, records = build(program, inputs, Path(folder), arguments.membranes)
        seconds_per_tick = run(process, inputs.shape[0] * inputs.shape[1])
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
