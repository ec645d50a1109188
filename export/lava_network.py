"""A network from muspike in Lava: makes Lava's processes of an .npz file, and runs them.

    python lava_network.py NETWORK.npz INPUT.npy OUTPUT.npz

`muspike export --to lava` writes this script beside the network, under the network's name. It needs lava-nc 0.10.0,
NumPy and SciPy, and nothing of muspike. INPUT is `[ticks, size]`: the spikes of each tick, 0 or 1 (of graded inputs:
whole numbers), with the input populations side by side. OUTPUT holds the spikes of each population by its name, and
`v NAME`, the membrane of each readout, all `[ticks, size]`.

In a program of your own, `build(read(path), inputs)` gives the processes.

- A file of integers (`muspike program`) runs in Lava's `fixed_pt` models, a file of floats (`muspike floats`) in its
  `floating_pt` models.
- A RingBuffer sends the spikes of tick t in Lava's step t + 1. Dense, Sparse and Conv pass spikes on one step later:
  they are synapses of delay 1. A DelaySparse with delays d - 1 is synapses of delay d. LIF takes no step.
- A population's spikes are `level` ticks later than in the network that was exported. The header of the file says it.
- A convolution runs in Lava's Conv if Conv can express it: Conv has no delay and no exponent, and pads alike on both
  sides. Other convolutions are unrolled, and run in Sparse or DelaySparse.
"""

import dataclasses
import functools
import json
import multiprocessing
import sys
from collections.abc import Mapping
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

from lava.magma.core.process.ports.ports import ReshapePort  # noqa: E402
from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi1SimCfg  # noqa: E402
from lava.proc.dense.process import Dense  # noqa: E402
from lava.proc.io.source import RingBuffer  # noqa: E402
from lava.proc.lif.process import LIF, LIFReset  # noqa: E402
from lava.proc.monitor.process import Monitor  # noqa: E402
from lava.proc.sparse.process import DelaySparse, Sparse  # noqa: E402
from lava.utils.weightutils import SignMode  # noqa: E402
from scipy.sparse import csc_matrix, csr_matrix, issparse  # noqa: E402
from scipy.sparse.csgraph import connected_components  # noqa: E402

TAGS = {"muspike program": "fixed_pt", "muspike floats": "floating_pt"}
"""By the format of a file: which of Lava's models compute it."""
VERSIONS = {"muspike program": (2, 3), "muspike floats": (1,)}


def reshaped(data: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    return data.reshape(shape)


# Lava's own function calls np.reshape(newshape=...), which NumPy 2.4 no longer knows.
ReshapePort.get_transform_func_fwd = lambda port: functools.partial(reshaped, shape=port.shape)


def read(path: str) -> dict[str, Any]:
    """Read a network: its header, with the arrays of each population and of each synapses added to their entries."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header"].tobytes())
    if header["version"] not in VERSIONS.get(header["format"], ()):
        raise ValueError(f"{path}: {header['format']} version {header['version']}; this script reads {VERSIONS}")
    header["tag"] = TAGS[header["format"]]
    ends = np.cumsum([p["size"] for p in header["populations"]])
    for i, p in enumerate(header["populations"]):
        names = ("du", "dv", "v_threshold", "bias_mant", "bias_exp")
        p |= {name: arrays[name][ends[i] - p["size"] : ends[i]] for name in names if name in arrays}
    bits = {p["name"]: p.get("graded_bits", 0) for p in header["populations"]}
    for i, s in enumerate(header["synapses"]):
        s["message_bits"] = bits[s["source"]]
        s |= {name: arrays[f"{name}_{i}"] for name in ("weight", "starts", "targets") if f"{name}_{i}" in arrays}
    return header  # type: ignore[no-any-return]


def make_input(spikes: npt.NDArray[Any]) -> Any:
    """The process that sends `spikes` `[ticks, size]`."""
    return RingBuffer(data=np.ascontiguousarray(spikes.T, np.int32))


def make_neurons(population: Mapping[str, Any]) -> Any:
    """Neurons as LIF. A readout is LIF with a threshold that it never reaches."""
    parameters = {name: population[name] for name in ("dv", "bias_mant", "bias_exp") if name in population}
    parameters |= {"shape": (population["size"],), "vth": population["v_threshold"], "du": population["du"]}
    if population["du"].dtype.kind == "i":
        # Lava adds 1 to du, and wraps above 4095. A du of 4095 already forgets everything.
        parameters["du"] = np.minimum(population["du"], 4095)
    if population["reset_interval"] == 0:
        return LIF(**parameters)
    # Ticks are counted from 0, Lava's steps from 1.
    offset = population["reset_offset"] + 1
    return LIFReset(reset_interval=population["reset_interval"], reset_offset=offset, **parameters)


def make_synapses(synapses: Mapping[str, Any]) -> Any:
    """Synapses as Dense, Sparse, DelaySparse or Conv; not as DelayDense, which computes every pair for every delay."""
    if synapses["form"] == "conv" and lava_convolves(synapses):
        return make_convolution(synapses)
    weights, delay = MATRICES[synapses["form"]](synapses), synapses["delay"]
    # Signs are mixed, whatever the weights are. Then the low bit is cut from all weights alike, and that bit is 0.
    shared = {"weight_exp": synapses.get("weight_exp", 0), "sign_mode": SignMode.MIXED}
    shared["num_message_bits"] = synapses["message_bits"]
    if delay == 1:
        return Sparse(weights=weights, **shared) if issparse(weights) else Dense(weights=weights, **shared)
    weights = csr_matrix(weights)
    # Lava would spread a single number over all pairs of neurons, so each synapse gets its own.
    delays = weights.astype(np.int64)
    delays.data[:] = delay - 1
    return DelaySparse(weights=weights, delays=delays, **shared)


def plain(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Weights as Lava takes them: floats as they are, integers wide enough for sums."""
    return weight if weight.dtype.kind == "f" else weight.astype(np.int32)


def dense_matrix(synapses: Mapping[str, Any]) -> npt.NDArray[Any]:
    return plain(synapses["weight"])


def sparse_matrix(synapses: Mapping[str, Any]) -> Any:
    columns = (plain(synapses["weight"]), synapses["targets"], synapses["starts"])
    return csr_matrix(csc_matrix(columns, shape=synapses["shape"]))


def unrolled_matrix(synapses: Mapping[str, Any]) -> Any:
    """The matrix `[target, source]` of a convolution.

    Tap [o, i, a, b] leads from channel o // g_out * g_in + i, row y s_y - p_y + a d_y, column x s_x - p_x + b d_x to
    channel o, row y, column x.
    """
    kernel, geometry = plain(synapses["weight"]), synapses["geometry"]
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
        and synapses.get("weight_exp", 0) == 0
        and all((n + 2 * p - d * (k - 1) - 1) // s + 1 == out for n, out, s, p, d, k in axes)
    )


def make_convolution(synapses: Mapping[str, Any]) -> Any:
    """The convolution as Lava's Conv. Lava's order is x, y, channel. Lava's kernels are flipped: PyTorch correlates."""
    geometry = synapses["geometry"]
    from lava.proc.conv.process import Conv  # imports scipy.signal, which takes half a second, and few networks need it

    return Conv(
        weight=plain(synapses["weight"])[:, :, ::-1, ::-1].transpose(0, 3, 2, 1),
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


def build(program: Mapping[str, Any], inputs: npt.NDArray[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the processes of a network, and join them.

    Args:
        program: what `read` gives.
        inputs: `[ticks, size]`, the input populations side by side.

    Returns:
        The processes of the populations, and those of the synapses, by name. Running one process runs all.
    """
    populations: dict[str, Any] = {}
    column = 0
    for p in program["populations"]:
        if p["kind"] == "input":
            populations[p["name"]] = make_input(inputs[:, column : column + p["size"]])
            column += p["size"]
        else:
            populations[p["name"]] = make_neurons(p)
    synapses = {s["name"]: make_synapses(s) for s in program["synapses"]}
    for s in program["synapses"]:
        connect(populations[s["source"]], synapses[s["name"]], populations[s["target"]])
    # Lava only runs processes that a connection joins to the one that is run. Synapses without weights join the others.
    part = dict(zip(populations, connected(program), strict=True))
    neurons = [p["name"] for p in program["populations"] if p["kind"] != "input"]
    if not neurons:
        raise ValueError("the network has inputs only; Lava needs a population of neurons")
    first = populations[neurons[0]]
    for name in {part[name]: name for name in neurons if part[name] != part[neurons[0]]}.values():
        nothing = csr_matrix((populations[name].a_in.shape[0], first.s_out.shape[0]), dtype=np.int32)
        synapses[f"nothing to {name}"] = Sparse(weights=nothing, sign_mode=SignMode.MIXED)
        connect(first, synapses[f"nothing to {name}"], populations[name])
    return populations, synapses


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    program, inputs, output = read(sys.argv[1]), np.load(sys.argv[2]), sys.argv[3]
    populations, _ = build(program, inputs)
    ticks = len(inputs)
    monitors, results = {}, {}
    for p in program["populations"]:
        process = populations[p["name"]]
        probed = {"lif": {p["name"]: "s_out"}, "li": {f"v {p['name']}": "v"}, "input": {}}[p["kind"]]
        for name, variable in probed.items():
            monitors[name] = (process.name, variable, Monitor())
            monitors[name][2].probe(getattr(process, variable), ticks)
    first = next(populations[p["name"]] for p in program["populations"] if p["kind"] != "input")
    first.run(condition=RunSteps(num_steps=ticks), run_cfg=Loihi1SimCfg(select_tag=program["tag"]))
    for name, (process, variable, monitor) in monitors.items():
        results[name] = monitor.get_data()[process][variable]
        if variable == "s_out":
            results[name] = results[name].astype(np.uint8)
            print(f"{name}: {np.count_nonzero(results[name])} spikes")
    first.stop()
    np.savez_compressed(output, **results)


if __name__ == "__main__":
    try:
        main()
    except BaseException:  # in any case, or Lava's processes and this one would wait for each other for ever
        for child in multiprocessing.active_children():
            child.kill()
        raise
