"""The lists of synapses that the input axons of a core find in its synaptic memory: their bits, and whose they are.

An axon's list holds the synapses of one source neuron, after one delay, onto neurons of the core (nengo-loihi,
`block.py: SynapseConfig.bits_per_axon`). By the layout of the synapses it holds all targets on the core, or those with
a weight other than 0 and their indices, or it is shared.

Axons of a convolution share lists (nengo-loihi, `builder/connection.py` and `conv.py: conv2d_loihi_weights`,
`block.py: Synapse.set_population_weights`, `Synapse.bits`): two source neurons of one channel whose spikes land on the
core through the same set of taps find the same list, each at an offset of its own that is added to the target indices.
An offset is less than `SynapseFormat.axon_offsets`; whoever lies further has a copy of the list with larger indices, as
in nengo-loihi. So there is one list per input channel, set of taps and multiple of that offset. Where the border of a
core cuts through an image it makes new sets. nengo-loihi packs the lists of all channels of a pixel one behind the
other, and rounds them up together; ours are rounded one by one, which is the same or more.

There is one axon per source neuron that has a list on the core. The offset is the axon's, so that two convolutions, or
a convolution and a matrix, never share one. nengo-loihi counts one axon per *pixel*, because its axons carry the
channel of the spike beside it (population spikes); Loihi has those, but what else they cost is not published, and so
ours is the safe count, larger by up to the number of input channels.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.sparse import csc_array

from muspike.hardware import weights as w
from muspike.hardware.chip import Chip, SynapseFormat
from muspike.hardware.mapping.quantise import IntegerSynapses
from muspike.hardware.weights import Conv, Sparse, Weights

Ints = npt.NDArray[np.int64]
Neurons = npt.NDArray[np.int32]
"""Numbers of source neurons, each once, in any order."""


class Lists(Protocol):
    """The lists of one `IntegerSynapses`, for any run of its target neurons in the order of packing.

    Lists of one source and delay are found through the same axons where `own` is equal too: the name of the synapses
    where axons have offsets, else None.

    What `on_core` finds does not add up over runs of the same targets: a core takes one of them.
    """

    source: str
    delay: int
    own: str | None

    def on_core(self, start: int, stop: int, first_index: int) -> tuple[int, Neurons]:
        """Memory in bits and the axons of targets `start..stop - 1`, lying on the core from `first_index` on."""
        ...


def lists(synapses: IntegerSynapses, sparse: bool, chip: Chip, order: Ints) -> Lists:
    """Lists of the synapses in the layout that `sparse` asks for; a convolution's are shared all the same.

    `order`: the targets as they are packed, `[target]`; of a convolution an `image_order`.
    """
    if isinstance(synapses.weight, Conv):
        return _SharedLists(synapses, synapses.weight, chip.synapse_format, order)
    return (_SparseLists if sparse else _DenseLists)(synapses, synapses.weight, chip.synapse_format, order)


def image_order(shape: tuple[int, int, int], together: int) -> Ints:
    """The neurons of an image (channels, y, x), so many channels of a pixel together, and then the next pixel's.

    `together` divides the channels: then targets that the same taps reach from two pixels lie alike, as lists that are
    shared need it.
    """
    blocks = np.arange(np.prod(shape)).reshape(-1, together, shape[1] * shape[2])
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).ravel()


def list_bits(n: npt.NDArray[Any], entry_bits: int, form: SynapseFormat) -> Ints:
    """Memory of lists of n synapses, in bits, for each n."""

    def block(n: Any) -> Any:
        return -(-(n * entry_bits + form.block_header_bits) // form.word_bits) * form.word_bits

    whole, rest = np.divmod(np.asarray(n, np.int64), form.block_synapses)
    return np.asarray(whole * block(form.block_synapses) + np.where(rest > 0, block(rest), 0))


def entry_bits(delay: int, highest_index: int | None, form: SynapseFormat) -> int:
    """Bits of one synapse: of a dense list, or (with the highest target index on the core) of one with indices."""
    bits = form.weight_bits + min((delay - 1).bit_length(), form.max_delay_bits)
    if highest_index is None:
        return bits
    needed = highest_index.bit_length()
    return bits + next((b for b in form.sparse_index_bits if b >= needed), needed)


def is_smaller_sparse(weight: Weights, delay: int, chip: Chip, fill: float) -> bool:
    """Whether the matrix takes less memory as lists without its zeros.

    Estimated before packing, as if each core held as many neurons as it may, and all of them targets of the matrix;
    those that packing makes may begin at another target, hold fewer of them, or other populations too.

    One that is given as `Sparse` always has such lists, and a `Conv` never.
    """
    if not isinstance(weight, np.ndarray):
        return isinstance(weight, Sparse)
    form = chip.synapse_format
    full = max(int((chip.limits.neurons_per_core.value or len(weight)) * fill), 1)
    dense = sparse = 0
    for start in range(0, len(weight), full):
        part = weight[start : start + full]
        sources = part.shape[1]
        dense += sources * int(list_bits(np.array(len(part)), entry_bits(delay, None, form), form))
        stored = np.count_nonzero(part, axis=0)
        sparse += int(list_bits(stored, entry_bits(delay, len(part) - 1, form), form).sum())
    return sparse < dense


def _bits(lengths: npt.NDArray[Any], entry: int, form: SynapseFormat) -> int:
    """Memory of lists of these lengths together."""
    lists_of = np.bincount(lengths)
    return int(list_bits(np.arange(len(lists_of)), entry, form) @ lists_of)


class _DenseLists:
    """Every source's list holds every target on the core."""

    def __init__(self, synapses: IntegerSynapses, weight: Weights, form: SynapseFormat, order: Ints) -> None:
        self.source, self.delay, self.form = synapses.source, synapses.delay, form
        self.own: str | None = None
        self.all = np.arange(weight.shape[1], dtype=np.int32)

    def on_core(self, start: int, stop: int, first_index: int) -> tuple[int, Neurons]:
        entry = entry_bits(self.delay, None, self.form)
        return len(self.all) * int(list_bits(np.array(stop - start), entry, self.form)), self.all


class _SparseLists:
    """A list holds the targets on the core with a weight other than 0; a source without any has none."""

    def __init__(self, synapses: IntegerSynapses, weight: Weights, form: SynapseFormat, order: Ints) -> None:
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


@njit(cache=True, nogil=True)
def _tally(sources, lengths, found):  # type: ignore[no-untyped-def]
    """Add each source's synapses to its `lengths`; the sources go to `found`, their number is returned."""
    n = 0
    for source in sources:
        if lengths[source] == 0:
            found[n] = source
            n += 1
        lengths[source] += 1
    return n


# What a tap, and a multiple of the largest offset, adds to the mark of a set: random numbers of 64 bits, so that two of
# 10^5 sets are taken for one with a chance of 3e-10.
_SEED = 0x5EED
_OFFSET_MARK = np.uint64(0x9E3779B97F4A7C15)


class _SharedLists:
    """A list for each input channel, set of taps that land on the core, and multiple of the largest offset.

    What a pixel's spikes meet is the same for all channels of its group, but for the weights: it is found out once for
    a *cell*, a pixel of a group.
    """

    def __init__(self, synapses: IntegerSynapses, conv: Conv, form: SynapseFormat, order: Ints) -> None:
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

    def on_core(self, start: int, stop: int, first_index: int) -> tuple[int, Neurons]:
        conv, per_group = self.conv, self.conv.kernel.shape[1]
        geometry = (conv.input_shape, conv.output_shape, conv.stride, conv.padding, conv.dilation, conv.groups)
        scratch = (self.lengths, self.sets, self.first, self.found)
        cells = self.found[: _land(start, stop, self.order, self.marks, *geometry, *scratch)]
        offsets = (first_index - start + self.first[cells]) // self.form.axon_offsets
        marks = self.sets[cells] + offsets.astype(np.uint64) * _OFFSET_MARK
        distinct = np.unique(marks, return_index=True)[1]
        entry = entry_bits(self.delay, first_index + stop - start - 1, self.form)
        bits = per_group * _bits(self.lengths[cells[distinct]], entry, self.form)
        self.lengths[cells] = 0
        group, pixel = np.divmod(cells, self.pixels)
        channels = group * per_group + np.arange(per_group)[:, None]  # [channels of a group, cells]
        return bits, (channels * self.pixels + pixel).ravel().astype(np.int32)


@njit(cache=True, nogil=True)
def _land(  # type: ignore[no-untyped-def]
    start, stop, order, marks, input_shape, output_shape, stride, padding, dilation, groups, lengths, sets, first, found
):
    """Of the cells that reach targets `start..stop - 1`: taps that land, the sum of their marks, the first target.

    The cells go to `found`, their number is returned.
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
                sets[cell] += marks[o, a, b]
    return n
