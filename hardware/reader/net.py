"""Networks of lava-dl (`.net`, HDF5), as its SLAYER writes them (`export_hdf5`): `read_net`.

Such a file holds the integers of a chip: weights, thresholds, decays, biases. They are read as they stand, as Lava's
own reader does (`lava.lib.dl.netx.hdf5`, lava-dl 0.6.0, BSD-3-Clause). Group `layer/<n>` is layer n. With a weight W,
`iDecay`, `vDecay`, `vThMant` and a bias, a layer's neurons compute

    u = u (4096 - iDecay) / 4096 + 64 (W @ spikes)
    v = v (4096 - vDecay) / 4096 + u + 64 bias
    s = v > 64 vThMant;  v = 0 where s

The graph that `read_net` gives is the float network of these numbers. `compile_graph` keeps them as they stand
(`mapping.keep`), so the program's registers and weights are the numbers of the file.

Time. A layer hears the layer before it in the same tick of ideal time. On the chip each layer is one tick later than
the one before, as with Lava's reader. A `delay` of a neuron (in SLAYER: of its output) holds back all that the neuron
receives, as with Lava's reader. That moves its spikes by as much.

Images. Neurons are in the order channel, y, x, which is the order of the file, and that in which `flatten` reads them.
Kernels `[c_out, c_in / groups, k_y, k_x]` are those of PyTorch.

An `input` layer without neurons is an input, which takes spikes. An `input` layer with neurons is a population without
synapses, which takes an image as its biases. The file's own `weight` and `bias` of that layer say how SLAYER made
biases of pixels, bias = weight * pixel + bias. They are not applied here.

A `dense` layer without neurons is a readout: an integrator without a leak. So is a last layer whose threshold is above
the chip's register, because it never fires.

Where this differs from Lava's reader:

- A matrix of zeros alone is read. Lava's reader divides by zero.
- A `pool` is a convolution of each channel alone, as in SLAYER. Lava's reader has no pools.
- A bias acts from the first tick of ideal time on. With Lava's reader, if nothing is reset, the bias of layer n acts n
  ticks before the layer's first input can arrive. (Where a delay or a loop carries such early spikes on,
  `compile_graph` makes spikes of the bias, or tells a risk.)
- Resets come with the layer's first tick of ideal time. With Lava's reader, the first layer with neurons is reset in
  tick 0, which is one tick before spikes of an input reach it (its `reset_offset` of 1 moves that).

What cannot be said on the chip, or what Lava's reader leaves out in silence, is refused: see `_NEURON`, `_LAYERS`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from muspike.arguments import path as path_of
from muspike.arguments import seconds
from muspike.errors import BadInput
from muspike.hardware import weights as w
from muspike.hardware.graph import Kind, Population, SpikingGraph, Synapses
from muspike.hardware.kinds import NET
from muspike.hardware.program import DELAY_MAX, FULL_DECAY, REGISTERS, WEIGHT_MAX, WEIGHT_MIN, WEIGHT_STEP
from muspike.hardware.reader.file import Tree, kind_of, naming, read_hdf5
from muspike.hardware.reader.node import MOST_VALUES
from muspike.hardware.weights import Conv, Sparse, Weights

Ints = npt.NDArray[np.int64]
Shape = tuple[int, ...]

MOST_LAYERS = 1000
INPUT = "input"
"""The name of the population that takes spikes. The others are `layer<n>`."""

_SLAYER_CLAMP = 255  # SLAYER rounds weights to even numbers, then clamps them to 255, which is odd
_SYNAPTIC = ("inFeatures", "outFeatures", "inChannels", "outChannels", "kernelSize", "weight", "bias", "delay")
_GEOMETRY = ("stride", "padding", "dilation")
_LAYERS: Mapping[str, tuple[str, ...]] = {
    "input": ("weight", "bias"),
    "dense": _SYNAPTIC,
    "dense_rec": (*_SYNAPTIC, "weight_rec"),
    "conv": (*_SYNAPTIC, *_GEOMETRY, "groups"),
    "pool": (*_SYNAPTIC, *_GEOMETRY),
    "flatten": (),
    "average": (),
}
"""The fields of each type of layer, beside `type`, `shape` and `neuron`. A layer with another field is refused."""
_NEURON = ("iDecay", "vDecay", "vThMant")
"""The fields of neurons that count. The others have one value that is read, or stand for training alone."""
_ONE_VALUE: Mapping[str, tuple[tuple[int, ...], str]] = {
    "refDelay": ((0, 1), "0 or 1: the chip's neurons have no refractory period here"),
    "gradedSpike": ((0,), "False: spikes of neurons are 0 or 1"),
    "messageBits": ((0,), "0: spikes of neurons are 0 or 1"),
    "wgtExp": ((0,), "0: weights without an exponent"),
    "weight_exp": ((0,), "0: weights without an exponent (Lava's reader leaves it out)"),
}
_OF_TRAINING = ("theta", "tauRho", "scaleRho")
_CUBA = ("CUBA", "LOIHI")


def read_net(
    path: str | os.PathLike[str], dt_s: float | None = None, input_bias: npt.ArrayLike | None = None
) -> SpikingGraph:
    """Read the lava-dl network (`.net`) at `path` as populations and synapses.

    >>> import h5py
    >>> import numpy as np
    >>> from muspike.hardware import compile_graph, read_net
    >>> with h5py.File("tiny.net", "w") as file:
    ...     file["layer/0/type"], file["layer/0/shape"] = [b"input"], [2]
    ...     file["layer/1/type"], file["layer/1/shape"] = [b"dense"], [3]
    ...     file["layer/1/weight"] = np.full((3, 2), 40)
    ...     for field, value in {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 60}.items():
    ...         file[f"layer/1/neuron/{field}"] = value
    >>> compiled = compile_graph(read_net("tiny.net", dt_s=1e-3), "loihi2", scale="keep")
    >>> [(p.name, int(p.du[0]), int(p.dv[0]), int(p.v_threshold[0])) for p in compiled.program.populations[1:]]
    [('layer1', 1023, 128, 60)]

    Whatever the file holds, reading takes no more time and memory than `file.LIMITS` says.

    Args:
        path: the file.
        dt_s: seconds per tick. No file says it, so it must be given.
        input_bias: whole numbers, one for each neuron of the file's `input` layer, in its order (channel, y, x): what
            is added to the neuron in each tick, in units of 64 membrane units. Only for a file whose `input` layer has
            neurons. None: 0 everywhere.

    Returns:
        the network. `metadata["notes"]` lists, in sentences, what the chip's host has to do and what was changed.

    Raises:
        BadInput: there is no such file; it is no such network, is damaged, or is beyond `file.LIMITS`; a layer, a
            neuron or a number is not read; or `input_bias` does not fit. The message names layer and field.
        Failed: a process for reading cannot be started, or breaks off.
    """
    path = path_of("read_net: path", path)
    if dt_s is None:
        raise BadInput(f"{os.fspath(path)}: a .net does not say how long a tick is; give its dt in seconds (--dt)")
    dt_s = seconds("read_net: dt_s", dt_s)
    with naming(path, "lava-dl", but=NET):
        layers = read_hdf5(path, members=["layer"]).get("layer")
        if not isinstance(layers, dict):
            raise BadInput("it has no group 'layer', which holds the layers")
    try:
        return _Reader(input_bias).read(layers, dt_s)
    except BadInput as error:
        raise BadInput(f"{os.fspath(path)}: {error}") from error


@dataclass(frozen=True)
class _Layer:
    """One layer of a file.

    Attributes:
        number, kind: its number and type.
        fields: what the file holds of it.
    """

    number: int
    kind: str
    fields: Tree

    @property
    def where(self) -> str:
        return f"layer {self.number} ({self.kind})"

    @property
    def name(self) -> str:
        return f"layer{self.number}"

    def refuse(self, what: str, right: str) -> NoReturn:
        raise BadInput(f"{self.where}: {what}; expected {right}")

    def whole(self, field: str, low: int, high: int, of: Tree | None = None) -> Ints:
        """A field of whole numbers in a range. Floats are accepted if they are whole: SLAYER writes float32."""
        within = self.fields if of is None else of
        if field not in within:
            self.refuse(f"it has no {field}", "whole numbers")
        return _whole(f"{self.where}: {field}", within[field], low, high)

    def shape(self) -> Shape:
        """The layer's own shape: (neurons,), or (channels, y, x)."""
        found = self.whole("shape", 1, MOST_VALUES)
        if found.ndim != 1 or len(found) not in (1, 2, 3):
            self.refuse(f"shape has {found.size} numbers", "1 to 3: neurons, or channels, y, x")
        if (size := math.prod(map(int, found))) > MOST_VALUES:
            self.refuse(f"shape {found.tolist()} has {size} values", f"at most {MOST_VALUES}")
        return tuple(int(n) for n in found)

    def pair(self, field: str, low: int) -> tuple[int, int]:
        """A field of a convolution: one number for both axes, or (y, x)."""
        found = self.whole(field, low, MOST_VALUES).ravel()
        if len(found) not in (1, 2):
            self.refuse(f"{field} has {len(found)} numbers", "one, or two: y, x")
        return int(found[0]), int(found[-1])

    def kernel(self) -> Ints:
        """`weight` as `[c_out, c_in / groups, k_y, k_x]`."""
        found = self.weight("weight")
        if found.ndim == 5 and found.shape[4] == 1:  # SLAYER's axis of time
            found = found[..., 0]
        if found.ndim != 4:
            self.refuse(f"weight has shape {list(found.shape)}", "[c_out, c_in / groups, k_y, k_x]")
        return found

    def weight(self, field: str) -> Ints:
        """Weights in the chip's range. 255, to which SLAYER clamps, is kept here: see `_Reader.on_grid`."""
        if isinstance(self.fields.get(field), dict):
            self.refuse(f"{field} is a group, as of complex weights", "an array of real weights")
        found = self.whole(field, WEIGHT_MIN, _SLAYER_CLAMP)
        odd = (found % WEIGHT_STEP != 0) & (found != _SLAYER_CLAMP)
        if odd.any():
            place = ", ".join(map(str, np.argwhere(odd)[0]))
            self.refuse(
                f"{field}[{place}] is {found[odd][0]}, and {int(odd.sum()) - 1} more are odd",
                f"even numbers in {WEIGHT_MIN}..{WEIGHT_MAX}, as SLAYER's quantisation to 8 bits makes them",
            )
        return found


@dataclass(frozen=True)
class _Neurons:
    """The registers of a layer's neurons, int64 `[size]` each, as they stand in the file."""

    i_decay: Ints
    v_decay: Ints
    threshold: Ints
    kind: Kind

    @property
    def tau(self) -> npt.NDArray[np.float64]:
        with np.errstate(divide="ignore"):
            return FULL_DECAY / self.v_decay.astype(np.float64)

    @property
    def tau_syn(self) -> npt.NDArray[np.float64]:
        return FULL_DECAY / self.i_decay.astype(np.float64)

    @property
    def unit(self) -> npt.NDArray[np.float64]:
        """What a bias of 1 is in units of the float network's synaptic input."""
        tau = self.tau
        return np.where(np.isinf(tau), 1.0, tau)


class _Reader:
    """The reading of one file.

    Attributes:
        input_bias: what the caller gave.
        populations, synapses, notes: what was read so far.
        shape: how the values that the next layer hears are arranged; None: nothing says it yet.
    """

    def __init__(self, input_bias: npt.ArrayLike | None) -> None:
        self.input_bias = input_bias
        self.populations: list[Population] = []
        self.synapses: list[Synapses] = []
        self.notes: list[str] = []
        self.shape: Shape | None = None

    def read(self, layers: Tree, dt_s: float) -> SpikingGraph:
        found = _in_order(layers)
        for layer, after in zip(found, [*found[1:], None], strict=True):
            _check_fields(layer)
            if layer.kind == "input":
                self.read_input(layer)
            elif layer.kind == "flatten":
                self.flatten(layer)
            elif layer.kind == "average":
                self.average(layer, after)
            else:
                self.read_synaptic(layer, after is None or after.kind == "average")
        if all(p.kind == "input" for p in self.populations):
            raise BadInput("no layer has neurons; expected at least one dense, conv, pool or input layer with neurons")
        if self.input_bias is not None and self.populations[0].kind == "input":
            raise BadInput("input_bias is given, and the input layer has no neurons that could take it; give spikes")
        metadata = {"notes": self.notes} if self.notes else {}
        return SpikingGraph(self.populations, self.synapses, dt_s, [self.populations[-1].name], metadata)

    # --- layers without synapses

    def read_input(self, layer: _Layer) -> None:
        if layer.number:
            layer.refuse("it stands behind other layers", "an input as layer 0")
        if "neuron" not in layer.fields:
            if "shape" in layer.fields:
                self.shape = layer.shape()
                self.populations.append(_input(self.shape))
            return
        self.shape = layer.shape()
        size = math.prod(self.shape)
        bias = np.zeros(size, np.int64)
        if self.input_bias is not None:
            most = REGISTERS["bias_mant"][1]
            bias = _whole("input_bias", np.asarray(self.input_bias), -most, most)
            if bias.size != size:
                raise BadInput(f"input_bias has shape {list(bias.shape)}; layer 0 has neurons {list(self.shape)}")
        self.add(layer, self.shape, _neurons(layer, self.shape, may_be_silent=False), bias.ravel())

    def flatten(self, layer: _Layer) -> None:
        if self.shape is None:
            layer.refuse("nothing says what it flattens", "an input layer with a shape before it")
        self.shape = (math.prod(self.shape),)
        if "shape" in layer.fields and math.prod(layer.shape()) != self.shape[0]:
            layer.refuse(f"shape is {list(layer.shape())} for {self.shape[0]} values", f"{self.shape[0]} values")

    def average(self, layer: _Layer, after: _Layer | None) -> None:
        if after is not None or self.shape is None:
            layer.refuse("it is not the last layer", "an average of the last layer's spikes, which the host takes")
        groups, size = math.prod(layer.shape()), math.prod(self.shape)
        if size % groups:
            layer.refuse(f"{size} neurons do not divide into {groups} groups", "a number that divides them")
        self.notes.append(
            f"{layer.where} is left to the host: output k of {groups} is the mean of the spikes of {size // groups} "
            f"neurons of {self.populations[-1].name!r}, from neuron {size // groups} k on"
        )

    # --- layers with synapses

    def read_synaptic(self, layer: _Layer, last: bool) -> None:
        if self.populations and self.populations[-1].kind == "li":
            layer.refuse(f"it hears {self.populations[-1].name!r}, which never spikes", "a layer that spikes before it")
        shape, weight = self.convolution(layer) if layer.kind in ("conv", "pool") else self.matrix(layer)
        size = math.prod(shape)
        if "neuron" in layer.fields:
            neurons = _neurons(layer, shape, may_be_silent=last)
        elif layer.kind != "dense":
            layer.refuse("it has no neurons", "a group 'neuron'")
        elif not last:
            layer.refuse("it has no neurons, so nothing of it spikes", "such a layer as the last one")
        else:
            neurons = _Neurons(np.full(size, FULL_DECAY), np.zeros(size, np.int64), np.zeros(size, np.int64), "li")
        bias = np.zeros(size, np.int64)
        if "bias" in layer.fields:
            if "neuron" not in layer.fields:
                layer.refuse("it has a bias and no neurons", "neurons that take the bias")
            most = REGISTERS["bias_mant"][1]
            bias = _spread(layer, "bias", layer.whole("bias", -most, most), shape)
        delays = self.delays(layer, weight.shape)
        source = self.populations[-1].name
        self.add(layer, shape, neurons, bias)
        self.connect(layer, source, weight, neurons, delays)
        if layer.kind == "dense_rec":
            again = self.on_grid(layer, layer.weight("weight_rec").reshape(size, -1), "weight_rec")
            if again.shape != (size, size):
                layer.refuse(f"weight_rec holds {again.size} weights", f"[{size}, {size}]")
            scaled = w.rows_scaled(w.astype(again, np.float64), neurons.tau_syn * neurons.unit)
            self.synapses.append(Synapses(f"{layer.name}->{layer.name}", layer.name, layer.name, scaled, 1))
        self.shape = shape

    def matrix(self, layer: _Layer) -> tuple[Shape, Weights]:
        shape, found = layer.shape(), layer.weight("weight")
        size = math.prod(shape)
        if found.ndim == 1 and found.size % size == 0:
            found = found.reshape(size, -1)
        if found.ndim != 2 or len(found) != size or not found.size:
            layer.refuse(f"weight has shape {list(found.shape)} for {size} neurons", f"[{size}, neurons before]")
        if self.shape is None:
            self.shape = (found.shape[1],)
        if not self.populations:
            self.populations.append(_input(self.shape))
        if found.shape[1] != (before := math.prod(self.shape)):
            layer.refuse(
                f"weight has shape {list(found.shape)}", f"[{size}, {before}], as layer before it has {before}"
            )
        return shape, self.on_grid(layer, found, "weight")

    def convolution(self, layer: _Layer) -> tuple[Shape, Weights]:
        if self.shape is None or len(self.shape) != 3 or not self.populations:
            layer.refuse(
                "nothing says the shape of the image before it"
                if self.shape is None
                else f"what comes before it has shape {list(self.shape)}",
                "channels, y, x, from an input layer with a shape, or from a conv or pool layer",
            )
        shape, kernel = layer.shape(), layer.kernel()
        before = (self.shape[0], self.shape[1], self.shape[2])
        strides, paddings, dilations = layer.pair("stride", 1), layer.pair("padding", 0), layer.pair("dilation", 1)
        if layer.kind == "pool":
            if kernel.shape[:2] != (1, 1):
                layer.refuse(f"weight has shape {list(kernel.shape)}", "[1, 1, k_y, k_x]")
            kernel, groups = np.repeat(kernel, before[0], axis=0), before[0]
        else:
            groups = int(layer.whole("groups", 1, MOST_VALUES).ravel()[0])
        c_out = kernel.shape[0]
        if before[0] % groups or c_out % groups or kernel.shape[1] != before[0] // groups or not kernel.size:
            layer.refuse(
                f"weight has shape {list(kernel.shape)} for {before[0]} channels in {groups} groups",
                "[c_out, c_in / groups, k_y, k_x]",
            )
        rows, columns = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(before[1:], paddings, dilations, kernel.shape[2:], strides, strict=True)
        )
        if shape != (c_out, rows, columns):
            layer.refuse(f"shape is {list(shape)}", f"{[c_out, rows, columns]}, as weight, stride and padding give")
        numbers = self.on_grid(layer, kernel, "weight")
        return shape, Conv(numbers, before, (c_out, rows, columns), strides, paddings, dilations, groups)

    def on_grid(self, layer: _Layer, numbers: Ints, field: str) -> npt.NDArray[np.int16]:
        """Weights of 255 become 254, as with Lava's reader and on the chip; a note tells."""
        clamped = numbers == _SLAYER_CLAMP
        if clamped.any():
            self.notes.append(
                f"{layer.where}: {int(clamped.sum())} of {field} are {_SLAYER_CLAMP}, to which SLAYER clamps; they are "
                f"read as {WEIGHT_MAX}, the chip's largest"
            )
        return np.where(clamped, WEIGHT_MAX, numbers).astype(np.int16)

    def delays(self, layer: _Layer, weight: tuple[int, int]) -> Ints:
        """The delay of each synapse's target, or of its source, int64 `[target]` or `[1, source]`, or `[1]`."""
        if "delay" not in layer.fields:
            return np.zeros(1, np.int64)
        found = layer.whole("delay", 0, DELAY_MAX - 1)
        if layer.kind != "dense" and found.any():
            layer.refuse(
                f"delay holds {found.max()}", f"0, as Lava's reader does not run delays of {layer.kind} layers"
            )
        if found.size == 1:
            return found.reshape(1)
        if found.ndim == 1 and found.size == weight[0]:
            return found
        if found.ndim == 1 and found.size == weight[1]:
            return found[None]
        if layer.kind != "dense":
            return np.zeros(1, np.int64)
        layer.refuse(f"delay has shape {list(found.shape)}", f"one for all, [{weight[0]}], or [{weight[1]}]")

    def add(self, layer: _Layer, shape: Shape, neurons: _Neurons, bias: Ints) -> None:
        size = math.prod(shape)
        silent = neurons.kind == "li"
        self.populations.append(
            Population(
                layer.name,
                neurons.kind,
                size,
                tau=neurons.tau,
                tau_syn=neurons.tau_syn,
                v_threshold=np.full(size, np.inf) if silent else neurons.threshold.astype(np.float64),
                bias=bias * neurons.unit,
                shape=shape,
            )
        )

    def connect(self, layer: _Layer, source: str, weight: Weights, neurons: _Neurons, delays: Ints) -> None:
        """Synapses for each distinct delay."""
        # What a spike adds to the membrane at once is then the file's weight.
        scaled = w.rows_scaled(w.astype(weight, np.float64), neurons.tau_syn * neurons.unit)
        distinct = np.unique(delays)
        name = f"{source}->{layer.name}"
        if len(distinct) == 1:
            self.synapses.append(Synapses(name, source, layer.name, scaled, int(distinct[0])))
            return
        assert isinstance(scaled, np.ndarray)  # only dense layers have delays
        of = delays if delays.ndim == 2 else delays[:, None]
        for delay in distinct:
            part = Sparse.of(np.where(of == delay, scaled, 0))
            if part.values.size:
                self.synapses.append(Synapses(f"{name} (delay {delay})", source, layer.name, part, int(delay)))


def _in_order(layers: Tree) -> list[_Layer]:
    if not layers or len(layers) > MOST_LAYERS:
        raise BadInput(f"it has {len(layers)} layers; expected 1 to {MOST_LAYERS}")
    found = []
    for number in range(len(layers)):
        fields = layers.get(str(number))
        if fields is None:
            strange = sorted(layers.keys() - {str(n) for n in range(len(layers))})
            raise BadInput(
                f"there is no layer {number}, and one called {strange[0]!r}; expected layers 0 to {len(layers) - 1}"
            )
        if not isinstance(fields, dict):
            raise BadInput(f"layer {number} is {kind_of(fields)}; expected a group")
        kind = _text(fields.get("type"))
        if kind is None or kind not in _LAYERS:
            shown = kind_of(fields.get("type")) if kind is None else repr(kind)
            raise BadInput(f"layer {number}: its type is {shown}; muspike reads {', '.join(_LAYERS)}")
        found.append(_Layer(number, kind, fields))
    return found


def _text(value: object) -> str | None:
    """A string of a file: SLAYER writes an array of one string of fixed length, or a string."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "SO":
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def _check_fields(layer: _Layer) -> None:
    allowed = ("type", "shape", "neuron", *_LAYERS[layer.kind])
    if odd := sorted(layer.fields.keys() - set(allowed)):
        layer.refuse(f"it has a field {odd[0]!r}", f"the fields of such a layer: {', '.join(allowed)}")


def _neurons(layer: _Layer, shape: Shape, may_be_silent: bool) -> _Neurons:
    """The neurons of a layer. `may_be_silent`: whether a threshold above the register makes them a readout."""
    fields = layer.fields["neuron"]
    if not isinstance(fields, dict):
        layer.refuse(f"neuron is {kind_of(fields)}", "a group")
    kind = _text(fields.get("type"))
    if kind not in _CUBA:
        shown = kind_of(fields.get("type")) if kind is None else kind
        layer.refuse(f"its neurons are of type {shown}", f"{' or '.join(_CUBA)}: the other kinds are not read")
    known = ("type", *_NEURON, *_ONE_VALUE, *_OF_TRAINING)
    if odd := sorted(fields.keys() - set(known)):
        layer.refuse(f"its neurons have a field {odd[0]!r}", f"the fields of {_CUBA[0]} neurons: {', '.join(known)}")
    for field, (allowed, right) in _ONE_VALUE.items():
        if field in fields:
            found = layer.whole(field, -(2**31), 2**31, fields)
            if (off := ~np.isin(found, allowed)).any():
                layer.refuse(f"{field} of its neurons is {found[off].flat[0]}", right)
    high = REGISTERS["v_threshold"][1]
    i_decay, v_decay, threshold = (
        _spread(layer, field, layer.whole(field, low, most, fields), shape)
        for field, low, most in (("iDecay", 1, FULL_DECAY), ("vDecay", 0, FULL_DECAY), ("vThMant", 0, 2 * high + 1))
    )
    silent = threshold > high
    if silent.any() and not (may_be_silent and silent.all()):
        layer.refuse(
            f"vThMant of its neurons is {threshold[silent][0]}",
            f"0..{high}; above in the last layer alone, in all neurons",
        )
    return _Neurons(i_decay, v_decay, threshold, "li" if silent.any() else "lif")


def _spread(layer: _Layer, field: str, found: Ints, shape: Shape) -> Ints:
    """One number per neuron, `[size]`: given for all, for each channel, or for each neuron."""
    size = math.prod(shape)
    if found.size in (1, size):
        return np.array(np.broadcast_to(found.ravel(), size))
    if len(shape) == 3 and found.size == shape[0]:
        return np.repeat(found.ravel(), size // shape[0])
    layer.refuse(
        f"{field} has shape {list(found.shape)} for neurons {list(shape)}",
        "one for all, for each channel, or for each neuron",
    )


def _whole(what: str, value: Any, low: int, high: int) -> Ints:
    """Whole numbers in a range, as int64 of the shape given."""
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind not in "biuf":
        raise BadInput(f"{what} is {kind_of(value)}; expected whole numbers")
    found = np.asarray(value)
    if not found.size:
        raise BadInput(f"{what} has shape {list(found.shape)}, without a number; expected whole numbers")
    with np.errstate(invalid="ignore"):
        off = ~((found >= low) & (found <= high)) | (found != np.floor(found)) if found.dtype.kind != "b" else found < 0
    if off.any():
        place = ", ".join(map(str, np.argwhere(np.atleast_1d(off))[0]))
        shown = np.atleast_1d(found)[np.atleast_1d(off)][0]
        at = f"[{place}]" if found.size > 1 else ""
        raise BadInput(f"{what}{at} is {shown}; expected whole numbers in {low}..{high}")
    return found.astype(np.int64)


def _input(shape: Shape) -> Population:
    size = math.prod(shape)
    one = np.ones(size)
    return Population(INPUT, "input", size, tau=one, tau_syn=one, v_threshold=one * np.inf, bias=0 * one, shape=shape)
