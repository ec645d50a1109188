"""The lists of synapses in a core's synaptic memory: how many bits they take, and which input axons find them.

The list of an axon holds the synapses of one source neuron, after one delay, onto neurons of the core (nengo-loihi,
`block.py: SynapseConfig.bits_per_axon`). The layout of the synapses says what is in a list. A dense list holds all
targets on the core. A sparse list holds the targets with a weight other than 0, and their indices. The axons of a
convolution share lists, or a core holds the kernel alone (`SynapseFormat.convolution`).

Shared lists (nengo-loihi, `builder/connection.py` and `conv.py: conv2d_loihi_weights`,
`block.py: Synapse.set_population_weights`, `Synapse.bits`). Take two source neurons of one channel. If their spikes
land on the core through the same set of taps, they find the same list. Each neuron has an offset of its own, which is
added to the target indices of the list. An offset is less than `SynapseFormat.axon_offsets`. A neuron beyond that finds
a copy of the list with larger indices, as in nengo-loihi. So there is one list for each input channel, set of taps and
multiple of the largest offset. A border of a core that cuts through an image makes new sets, and so do targets that lie
elsewhere behind one another. nengo-loihi packs the
lists of all channels of a pixel one behind the other and rounds them up together. Here lists are rounded up one by one,
which takes the same memory or more.

Axons. There is one axon for each source neuron that has a list on the core. The offset belongs to the axon, so two
convolutions, or a convolution and a matrix, never share an axon. nengo-loihi counts one axon for each *pixel*, because
its axons carry the channel of the spike with it (population spikes). Loihi has such axons, but what else they cost is
not published. So the count here is the safe one. It is larger by up to the number of input channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array

from muspike.hardware import weights as w
from muspike.hardware.chip import Chip, SynapseFormat
from muspike.hardware.mapping.quantise import IntegerSynapses
from muspike.hardware.program import ChipSynapses
from muspike.hardware.weights import Conv, Sparse, Weights
from muspike.jit import njit

Ints = npt.NDArray[np.int64]
Neurons = npt.NDArray[np.int32]
"""Numbers of source neurons, each once, in any order."""


class Lists(Protocol):
    """The lists of one `IntegerSynapses`, for any run of its target neurons in the order of packing.

    Lists with equal `source`, `delay` and `own` are found through the same axons.

    Attributes:
        source: the name of the source population.
        delay: in chip ticks.
        own: the name of the synapses if their axons have offsets, else None.
    """

    source: str
    delay: int
    own: str | None

    def on_core(self, start: int, stop: int, first_index: int) -> tuple[int, Neurons]:
        """Memory in bits, and the source neurons of the axons, of the targets `start..stop - 1`.

        The targets lie on the core from index `first_index` on. The results for two runs of targets do not add up to
        that of the joint run.
        """
        ...


def lists(synapses: IntegerSynapses | ChipSynapses, sparse: bool, chip: Chip, order: Ints) -> Lists:
    """The lists of synapses in chip time.

    Args:
        synapses: the synapses.
        sparse: whether the lists leave out zero weights. The lists of a convolution are shared in any case.
        chip: the chip whose memory format is used.
        order: the targets in the order of packing, `[targets]`; for a convolution, an `image_order`.
    """
    if isinstance(synapses.weight, Conv):
        kind = _CONVOLUTIONS[chip.synapse_format.convolution]
        return kind(synapses, synapses.weight, chip.synapse_format, order)
    return (_SparseLists if sparse else _DenseLists)(synapses, synapses.weight, chip.synapse_format, order)


def image_order(shape: tuple[int, int, int], together: int) -> Ints:
    """The neurons of an image (channels, y, x), ordered so that `together` channels of a pixel stand side by side.

    The same channels of the next pixel follow, and after all pixels the next channels. `together` must divide the
    channels. In this order, the targets that the same taps reach from two pixels lie alike, which shared lists need.
    """
    blocks = np.arange(np.prod(shape)).reshape(-1, together, shape[1] * shape[2])
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).ravel()


def list_bits(n: npt.NDArray[Any], entry_bits: int, form: SynapseFormat) -> Ints:
    """The memory, in bits, of a list of n synapses, for each entry of `n`. A synapse takes `entry_bits`."""

    def block(n: Any) -> Any:
        return -(-(n * entry_bits + form.block_header_bits) // form.word_bits) * form.word_bits

    whole, rest = np.divmod(np.asarray(n, np.int64), form.block_synapses)
    return np.asarray(whole * block(form.block_synapses) + np.where(rest > 0, block(rest), 0))


def entry_bits(delay: int, highest_index: int | None, form: SynapseFormat) -> int:
    """The bits of one synapse. `highest_index` is the highest target index on the core; None: a dense list."""
    bits = form.weight_bits + min((delay - 1).bit_length(), form.max_delay_bits)
    if highest_index is None:
        return bits
    needed = highest_index.bit_length()
    return bits + next((b for b in form.sparse_index_bits if b >= needed), needed)


def is_smaller_sparse(weight: Weights, delay: int, chip: Chip, fill: float) -> bool:
    """Whether a matrix takes less memory as lists without its zeros. True for a `Sparse`, false for a `Conv`.

    For a dense matrix this is an estimate before packing; see `_memory`.
    """
    if not isinstance(weight, np.ndarray):
        return isinstance(weight, Sparse)
    dense, sparse = _memory(weight, delay, chip, fill)
    return sparse < dense


def is_cheaper_sparse(weight: Weights, delay: int, chip: Chip, fill: float) -> bool:
    """Whether a matrix costs less as lists without its zeros. True for a `Sparse`, false for a `Conv`.

    A dense list takes fewer bits for each synapse, because it holds no indices. But each spike pays for its zeros. So
    the two layouts are held against each other in memory (see `_memory`) and in what a spike costs (`_spike`), and the
    one with the smaller product of both is cheaper. Memory counts as much as energy, because a network that takes more
    memory takes more cores.

    If the chip's default costs do not price one of the two kinds of lists, memory alone decides.
    """
    if not isinstance(weight, np.ndarray):
        return isinstance(weight, Sparse)
    dense, sparse = _memory(weight, delay, chip, fill)
    of_dense, of_sparse = _spike(chip, "synop_dense"), _spike(chip, "synop_sparse")
    if of_dense is None or of_sparse is None:
        return sparse < dense
    return bool(sparse * np.count_nonzero(weight) * of_sparse < dense * weight.size * of_dense)


def _spike(chip: Chip, operation: str) -> float | None:
    """What a synaptic operation costs, in pJ: its energy, and the chip's static power for its time.

    The time counts as if all other cores waited for it. None: the chip's default costs lack one of the two.
    """
    costs = chip.cost_set()
    energy, time = costs.energy.get(operation), costs.latency.get(operation)
    if energy is None or time is None:
        return None
    return energy.value + chip.static_power.value * time.value  # mW x ns = pJ


def _memory(weight: npt.NDArray[Any], delay: int, chip: Chip, fill: float) -> tuple[int, int]:
    """The memory in bits of all lists of a matrix, with and without its zeros, as estimated before packing.

    The estimate assumes that each core holds as many neurons as it may (`fill` is the share of the limit that is used),
    and that all of them are targets of the matrix. Packing may begin a core at another target, put fewer targets on it,
    or add other populations.
    """
    form = chip.synapse_format
    full = max(int((chip.limits.neurons_per_core.value or len(weight)) * fill), 1)
    dense = sparse = 0
    for start in range(0, len(weight), full):
        part = weight[start : start + full]
        sources = part.shape[1]
        dense += sources * int(list_bits(np.array(len(part)), entry_bits(delay, None, form), form))
        stored = np.count_nonzero(part, axis=0)
        sparse += int(list_bits(stored, entry_bits(delay, len(part) - 1, form), form).sum())
    return dense, sparse


def _bits(lengths: npt.NDArray[Any], entry: int, form: SynapseFormat) -> int:
    """The memory of lists of these lengths together, in bits."""
    lists_of = np.bincount(lengths)
    return int(list_bits(np.arange(len(lists_of)), entry, form) @ lists_of)


class _DenseLists:
    """Lists of which each, one per source, holds every target on the core."""

    def __init__(
        self, synapses: IntegerSynapses | ChipSynapses, weight: Weights, form: SynapseFormat, order: Ints
    ) -> None:
        self.source, self.delay, self.form = synapses.source, synapses.delay, form
        self.own: str | None = None
        self.all = np.arange(weight.shape[1], dtype=np.int32)

    def on_core(self, start: int, stop: int, first_index: int) -> tuple[int, Neurons]:
        entry = entry_bits(self.delay, None, self.form)
        return len(self.all) * int(list_bits(np.array(stop - start), entry, self.form)), self.all


class _SparseLists:
    """Lists that hold the targets on the core with a weight other than 0. A source without such targets has no list."""

    def __init__(
        self, synapses: IntegerSynapses | ChipSynapses, weight: Weights, form: SynapseFormat, order: Ints
    ) -> None:
        self.source, self.delay, self.form = synapses.source, synapses.delay, form
        self.own: str | None = None
        stored = w.with_values(weight, weight.values) if isinstance(weight, Sparse) else Sparse.of(weight)
        assert isinstance(stored, Sparse)
        present = np.ones(len(stored.targets), np.int8)
        by_target = csc_array((present, stored.targets, stored.starts), shape=stored.shape).tocsr()[order]
        self.starts, self.sources = by_target.indptr, by_target.indices
        self.lengths = np.zeros(stored.shape[1], np.int32)
        self.found = np.empty(stored.shape[1], np.int32)

    def on_core(self, start: int, stop: int, first_index: int) -> tuple[int, Neurons]:
        sources = self.sources[self.starts[start] : self.starts[stop]]
        axons = self.found[: _tally(sources, self.lengths, self.found)].copy()
        entry = entry_bits(self.delay, first_index + stop - start - 1, self.form)
        bits = _bits(self.lengths[axons], entry, self.form)
        self.lengths[axons] = 0
        return bits, axons


@njit(nogil=True)
def _tally(sources, lengths, found):  # type: ignore[no-untyped-def]
    """Count each source's synapses in `lengths`. Write the sources to `found`; return how many there are."""
    n = 0
    for source in sources:
        if lengths[source] == 0:
            found[n] = source
            n += 1
        lengths[source] += 1
    return n


# A set of taps is recognised by its mark: the sum of a random 64-bit number for each tap and for where its target lies
# behind the first one, and of another one times the multiple of the largest offset. With 10^5 sets, the chance that two
# are taken for one is 3e-10. (In an `image_order`, equal taps reach targets that lie alike; the neurons of a program
# from elsewhere can lie in any order.)
_SEED = 0x5EED
_OFFSET_MARK = np.uint64(0x9E3779B97F4A7C15)


class _Convolution:
    """The synapses of a convolution, whose spikes from one pixel reach the same targets in all channels of a group.

    Only the weights of the channels differ. So what lands on a core is found once for each *cell*, a pixel of a group.
    """

    def __init__(self, synapses: IntegerSynapses | ChipSynapses, conv: Conv, form: SynapseFormat, order: Ints) -> None:
        self.source, self.delay, self.form, self.conv = synapses.source, synapses.delay, form, conv
        self.own: str | None = synapses.name
        self.order = order
        c_out, _, *taps = conv.kernel.shape
        self.pixels = conv.input_shape[1] * conv.input_shape[2]
        self.marks = np.random.default_rng(_SEED).integers(0, 2**64, (c_out, *taps), np.uint64)
        cells = conv.groups * self.pixels
        self.lengths = np.zeros(cells, np.int32)
        self.sets, self.first = np.empty(cells, np.uint64), np.empty(cells, np.int64)
        self.found = np.empty(cells, np.int64)

    def land(self, start: int, stop: int) -> Ints:
        """The cells that reach the targets `start..stop - 1`; their `lengths`, `sets` and `first` are filled in."""
        conv = self.conv
        geometry = (conv.input_shape, conv.output_shape, conv.stride, conv.padding, conv.dilation, conv.groups)
        scratch = (self.lengths, self.sets, self.first, self.found)
        return self.found[: _land(start, stop, self.order, self.marks, *geometry, *scratch)]

    def axons(self, cells: Ints) -> Neurons:
        """The source neurons of these cells, all channels of a group."""
        per_group = self.conv.kernel.shape[1]
        group, pixel = np.divmod(cells, self.pixels)
        channels = group * per_group + np.arange(per_group)[:, None]  # [channels of a group, cells]
        return np.asarray((channels * self.pixels + pixel).ravel(), np.int32)


class _SharedLists(_Convolution):
    """One list for each input channel, set of taps that land on the core, and multiple of the largest offset."""

    def on_core(self, start: int, stop: int, first_index: int) -> tuple[int, Neurons]:
        cells = self.land(start, stop)
        offsets = (first_index - start + self.first[cells]) // self.form.axon_offsets
        marks = self.sets[cells] + offsets.astype(np.uint64) * _OFFSET_MARK
        distinct = np.unique(marks, return_index=True)[1]
        entry = entry_bits(self.delay, first_index + stop - start - 1, self.form)
        bits = self.conv.kernel.shape[1] * _bits(self.lengths[cells[distinct]], entry, self.form)
        self.lengths[cells] = 0
        return bits, self.axons(cells)


class _Kernel(_Convolution):
    """The kernel alone: for each tap and input channel, a dense list of the output channels that are on the core."""

    def on_core(self, start: int, stop: int, first_index: int) -> tuple[int, Neurons]:
        cells = self.land(start, stop)
        self.lengths[cells] = 0
        c_out, per_group, *taps = self.conv.kernel.shape
        pixels = self.conv.output_shape[1] * self.conv.output_shape[2]
        present = np.unique(self.order[start:stop] // pixels)
        of_each_group = np.bincount(present // (c_out // self.conv.groups))
        entry = entry_bits(self.delay, None, self.form) - self.form.weight_bits + self.form.kernel_weight_bits
        return per_group * math.prod(taps) * _bits(of_each_group, entry, self.form), self.axons(cells)


_CONVOLUTIONS: Mapping[str, type[_SharedLists] | type[_Kernel]] = {"lists": _SharedLists, "kernel": _Kernel}


@njit(nogil=True)
def _mixed(number):  # type: ignore[no-untyped-def]
    """A 64-bit number that looks random and depends on all bits of `number` (the last steps of SplitMix64)."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@njit(nogil=True)
def _land(  # type: ignore[no-untyped-def]
    start, stop, order, marks, input_shape, output_shape, stride, padding, dilation, groups, lengths, sets, first, found
):
    """Find the cells that reach the targets `start..stop - 1`: write them to `found`, and return how many there are.

    For each cell, write the number of taps that land to `lengths`, the sum of the marks of these and of their targets'
    places behind the first target to `sets`, and the position of the first target to `first`.
    """
    n = 0
    channels, rows, columns = output_shape
    _, height, width = input_shape
    for position in range(start, stop):
        target = order[position]
        o, pixel = target // (rows * columns), target % (rows * columns)
        y, x = pixel // columns, pixel % columns
        for a in range(marks.shape[1]):
            from_y = y * stride[0] - padding[0] + a * dilation[0]
            if from_y < 0 or from_y >= height:
                continue
            for b in range(marks.shape[2]):
                from_x = x * stride[1] - padding[1] + b * dilation[1]
                if from_x < 0 or from_x >= width:
                    continue
                cell = (o // (channels // groups) * height + from_y) * width + from_x
                if lengths[cell] == 0:
                    found[n] = cell
                    sets[cell] = 0
                    first[cell] = position
                    n += 1
                lengths[cell] += 1
                sets[cell] += _mixed(marks[o, a, b] + np.uint64(position - first[cell]))
    return n
