"""The scale of each neuron: how many of the chip's membrane units one unit of the float membrane is.

The scale is 64 k (see `muspike.hardware.mapping.quantise`). Neurons with one k form a group. A group needs one
threshold register, and its neurons share tau, tau_syn and threshold.

Which neurons may form a group:

- A `li` population has no threshold, so each of its neurons has a k of its own.
- A convolution's weights are shared within a channel, not between channels. So each channel is a group, or, if a core
  has too few threshold registers, channels with about the same largest weight. Convolutions with different numbers of
  channels that lead to one population are one group. They are unrolled, and treated like any other matrix, only if
  that group would change what some neurons receive too much, and a k for each neuron would change fewer.
- In any other population, all neurons that share their settings are one group if the weights are met exactly in that
  way, as those of a network that was trained on the grid (`on_grid`). If not, each neuron is a group where the chip
  has a threshold for each neuron. Where it has few threshold registers, neurons with about the same largest weight form
  a group. There are 2, 4, 8 ... such classes, as far as each step makes the error smaller by `_WORTH_IT`, and as far as
  the population's share of a core's registers goes (`registers`), so that populations can share a core. If that still
  changes what a neuron receives too much (`Fidelity.changed`), there are more, until a k for each neuron would help no
  more, or a core has no register left.

The k of a group is the one of the least error. The error of a neuron is the squared error of its weights, divided by
the sum of their squares. The error of a group is the mean over its neurons, plus the squared relative error of the
threshold. So a few large weights of one neuron do not decide for the others. Each stored weight counts once.

The candidates for k are of two kinds. The first make the threshold an exact integer, and clip ever more of the largest
weights. At the second, all weights are even integers. So a network that was trained on such a grid, its threshold
included, is met exactly.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware import weights as w
from muspike.hardware.chip import Chip, Range
from muspike.hardware.graph import Population
from muspike.hardware.program import SHIFT, WEIGHT_EXP_MAX
from muspike.hardware.weights import Conv, Weights
from muspike.jit import njit

Doubles = npt.NDArray[np.float64]
Groups = npt.NDArray[np.intp]

LARGE_ERROR = 0.1
"""A larger relative error of what a neuron receives, or of its threshold, leak, filter or bias, is a risk: it makes
another network. The number is our choice."""

# The scales to try: in steps of 8 %, from the scale at which the largest weight of a group just fits, up to 8 times the
# scale at which that of any neuron fits. That scale counts as at most this many times the first one.
_STEP, _CLIPPED, _MOST_APART = 1.08, 8.0, 2.0**16
# The relative error that float32 leaves in the weights of a network trained quantised, and its square.
ON_GRID = 1e-6
_EXACT = 1e-12
# Further scales or exponents are used if they make the error smaller by this factor.
_WORTH_IT = 0.9
# A threshold below this many units is not made exact by moving k: that would move the weights too far.
_SNAP_FROM = 8
# Between these two numbers, squares in float64 neither vanish nor overflow.
_SQUARED = (1e-140, 1e140)
_TINY = float(np.finfo(np.float64).tiny)
# The number of weights whose errors are worked out at a time.
_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Scales:
    """The scales of a population.

    Attributes:
        k: float64 `[size]`, weights and threshold are multiplied by it.
        exponents: the weight exponent of each matrix: its weights are multiplied by k / 2**exponent.
        groups: number of groups of neurons that share a k.
        fidelity: what rounding with these k does to each neuron.
        one_each: what rounding would do if each neuron had a k of its own, where the chip lacks the thresholds for that
            and fewer neurons would be changed; else None.
    """

    k: Doubles
    exponents: tuple[int, ...]
    groups: int
    fidelity: Fidelity
    one_each: Fidelity | None = None

    @property
    def exact(self) -> bool:
        """Whether every weight is met exactly."""
        return bool((self.fidelity.error <= ON_GRID).all())

    @property
    def error(self) -> float:
        """The root of the mean squared error of the neurons' weights."""
        return float(np.sqrt(np.mean(self.fidelity.error**2)))


@dataclass(frozen=True, eq=False)
class Fidelity:
    """What rounding does to the weights of all synapses into each neuron of a population.

    Attributes:
        error: float64 `[size]`, root of the summed squared errors, divided by the root of the summed squared weights.
        weights: int64 `[size]`, number of stored weights that are not 0.
        vanished: int64 `[size]`, how many of these are 0 on the chip.
        starved: bool `[size]`, neurons whose vanished weights matter, however small the error is beside one large
            weight: in one tick they could bring the neuron from rest over its threshold (or, if they are negative, hold
            it below), or they are more than `LARGE_ERROR` of the sum of all its weights' magnitudes.
    """

    error: Doubles
    weights: npt.NDArray[np.int64]
    vanished: npt.NDArray[np.int64]
    starved: npt.NDArray[np.bool_]

    @property
    def changed(self) -> npt.NDArray[np.bool_]:
        """The neurons that hear another network, bool `[size]`: an error above `LARGE_ERROR`, or `starved`."""
        return (self.error > LARGE_ERROR) | self.starved

    @classmethod
    def of(
        cls, population: Population, weights: Sequence[Weights], k: Doubles, exponents: Sequence[int], grid: Range
    ) -> Fidelity:
        """The fidelity of `weights` `[target, source]`, all that lead to a population, with these scales."""
        size = population.size
        drive = population.gain / population.tau_syn
        squares, errors, sums, lost = (np.zeros(size) for _ in range(4))
        ways, gone, reach = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros((2, size))
        for weight, exponent in zip(weights, exponents, strict=True):
            whole_factor = drive * k / 2**exponent
            for rows, part in w.parts(w.shared(weight, whole_factor), _AT_ONCE):
                factor = whole_factor[rows]
                chip = rounded(part, factor, grid)[0]
                numbers = w.values(part).astype(np.float64)
                vanished = np.where(chip == 0, numbers, 0)
                off = chip / w.per_value(part, factor) - numbers
                for whole, of_each in (
                    (squares, numbers * numbers), (errors, off * off), (sums, np.abs(numbers)),
                    (lost, np.abs(vanished)), (ways, numbers != 0), (gone, vanished != 0),
                    (reach[0], np.maximum(vanished, 0)), (reach[1], np.maximum(-vanished, 0)),
                ):  # fmt: skip
                    whole[rows] += w.sum_of_targets(part, of_each).astype(whole.dtype)
        error = np.sqrt(np.divide(errors, squares, out=np.zeros(size), where=squares > 0))
        starved = lost > LARGE_ERROR * sums
        if population.kind == "lif":
            starved |= (reach * drive).max(axis=0) > population.v_threshold
        return cls(error, ways, gone, starved)


def scales(population: Population, weights: Sequence[Weights], chip: Chip, registers: int | None = None) -> Scales:
    """The scales of a population, from the weights `[target, source]` of all synapses into it.

    Args:
        population: the neurons.
        weights: the matrices of all synapses into the population.
        chip: the chip whose grid and registers are used.
        registers: how many thresholds of a core the population may have in order to round less. None: as many as the
            core has.

    Raises:
        BadInput: a threshold, bias or weight is too large for any scale.
    """
    channels = _channels(population, weights, chip)
    settings = _settings(population, channels)
    none = (0,) * len(weights)
    found = _scaled(population, weights, settings, none, chip)
    if found.exact or channels is not None:
        return found
    if any(isinstance(x, Conv) for x in weights):
        return _unrolled_if_needed(population, weights, settings, found, chip)
    exponents = _exponents(population, weights, chip)
    if population.kind == "li" or chip.limits.threshold_configurations_per_core.value is None:
        each = np.arange(population.size)
        return _better(*(_scaled(population, weights, each, e, chip) for e in dict.fromkeys((none, exponents))))
    if exponents != none:
        found = _better(found, _scaled(population, weights, settings, exponents, chip))
    finest, *fewer = reversed([*_in_classes(population, weights, settings, exponents, chip, registers)])
    if _better(found, best := finest()) is best:
        # the fewest classes that round as well, as far as another step is not worth it
        found = next((made for classes in reversed(fewer) if _better(made := classes(), best) is made), best)
    if found.fidelity.changed.any():
        return _in_enough_classes(population, weights, settings, exponents, chip, found)
    return found


def _unrolled_if_needed(
    population: Population, weights: Sequence[Weights], settings: Groups, found: Scales, chip: Chip
) -> Scales:
    """The scales of a population that convolutions with different numbers of channels lead to.

    `found` are its scales as one group for each of the settings.
    """
    limited = chip.limits.threshold_configurations_per_core.value is not None
    if population.kind == "li" or (limited and not found.fidelity.changed.any()):
        return found
    # A convolution's stored weights are of whole channels.
    weights = [w.unrolled(x) if isinstance(x, Conv) else x for x in weights]
    none = (0,) * len(weights)
    one_each = _scaled(population, weights, np.arange(population.size), none, chip)
    if one_each.fidelity.changed.sum() >= found.fidelity.changed.sum():
        return found
    return _in_enough_classes(population, weights, settings, none, chip, found, one_each) if limited else one_each


def _in_classes(
    population: Population,
    weights: Sequence[Weights],
    settings: Groups,
    exponents: tuple[int, ...],
    chip: Chip,
    registers: int | None = None,
) -> Iterator[Callable[[], Scales]]:
    """Functions that find the scales with 2, 4, 8 ... classes for each of the settings.

    There are as many classes as the thresholds of a core, or `registers`, allow.
    """
    limit = chip.limits.threshold_configurations_per_core.value or population.size
    drives = _drives(population, weights, settings, exponents)
    peaks = _peaks(population, drives)
    for number in _class_numbers(min(limit, registers or limit) // _count(settings)):
        group = _together(settings, _classes(peaks, number))
        yield functools.partial(_scaled, population, weights, group, exponents, chip, drives)


def _in_enough_classes(
    population: Population,
    weights: Sequence[Weights],
    settings: Groups,
    exponents: tuple[int, ...],
    chip: Chip,
    before: Scales,
    one_each: Scales | None = None,
) -> Scales:
    """The scales with as few classes as change no more neurons than a scale for each neuron does (`one_each`).

    If a core has too few thresholds for that: those that change the fewest neurons, `before` included.
    """
    one_each = one_each or _scaled(population, weights, np.arange(population.size), exponents, chip)
    tried = [before]
    for classes in _in_classes(population, weights, settings, exponents, chip):
        tried.append(classes())
        if tried[-1].fidelity.changed.sum() <= one_each.fidelity.changed.sum():
            return tried[-1]
    best = min(tried, key=lambda scales: int(scales.fidelity.changed.sum()))
    return dataclasses.replace(best, one_each=one_each.fidelity)


def _scaled(
    population: Population,
    weights: Sequence[Weights],
    group: Groups,
    exponents: tuple[int, ...],
    chip: Chip,
    drives: _Drives | None = None,
) -> Scales:
    """The scales if the neurons of a group share one. `drives` are those of `_drives`, if they are known."""
    drives = drives or _drives(population, weights, group, exponents)
    k = _group_scales(population, drives, group, chip)
    fidelity = Fidelity.of(population, weights, k, exponents, chip.ranges.weight)
    return Scales(k, exponents, _count(group), fidelity)


def _better(first: Scales, *others: Scales) -> Scales:
    """The scales of the least error; an earlier one, if a later one is not better by `_WORTH_IT`."""
    best = first
    for other in others:
        if other.fidelity.changed.sum() <= best.fidelity.changed.sum() and other.error < best.error * _WORTH_IT:
            best = other
    return best


def on_grid(population: Population, weights: Sequence[Weights], chip: Chip) -> list[Doubles]:
    """Round the weights of all synapses into a population to a grid that `quantise` then meets exactly.

    The neurons of a group share a scale; the module says which these are. Groups are not split. Each number is the
    chip's integer, divided by the factor that the float weight was multiplied with, so it is in units of the float
    weights.

    Args:
        population: its bias must be in range (the populations of a `network.Network` have none).
        weights: the matrices `[target, source]` of all synapses into the population.
        chip: the chip whose grid is used.

    Returns:
        For each matrix, in the order of `weights`: its stored numbers (`weights.values`), rounded.
    """
    settings = _settings(population, _channels(population, weights, chip))
    k = _group_scales(population, _drives(population, weights, settings, (0,) * len(weights)), settings, chip)
    factor = population.gain / population.tau_syn * k
    return [rounded(x, factor, chip.ranges.weight)[0] / w.per_value(x, factor) for x in weights]


def rounded(weight: Weights, factor: Doubles, grid: Range) -> tuple[Doubles, int]:
    """The stored weights times `factor` `[target]`, rounded to the grid, and how many were clipped at its ends."""
    scaled = w.values(weight).astype(np.float64) * w.per_value(weight, factor)
    whole = np.floor(scaled / grid.step + 0.5) * grid.step
    clipped = np.clip(whole, grid.low, grid.high)
    return clipped, int((clipped != whole).sum())


def largest_bias(chip: Chip) -> int:
    """The largest bias that the chip's mantissa and exponent can say, in membrane units."""
    return chip.ranges.bias_mant.high << chip.ranges.bias_exp.high


# --- groups ----------------------------------------------------------------------------------------------------


def _settings(population: Population, channels: Groups | None) -> Groups:
    """The group of each neuron `[size]`, counted from 0, if neurons form as few groups as they can.

    `channels` is what `_channels` gives.
    """
    if population.kind == "li" and channels is None:
        return np.arange(population.size)
    settings = [population.tau, population.tau_syn, population.v_threshold]
    return _together(*settings, *([] if channels is None else [channels]))


def _together(*keys: npt.NDArray[Any]) -> Groups:
    """The neurons that agree in all keys `[size]` form a group."""
    return np.unique(np.stack([key.astype(np.float64) for key in keys], axis=1), axis=0, return_inverse=True)[1].ravel()


def _count(group: Groups) -> int:
    return int(group.max()) + 1


def _channels(population: Population, weights: Sequence[Weights], chip: Chip) -> Groups | None:
    """The class of each neuron's channel `[size]`. Neurons of one class may share a scale.

    If a core has threshold registers for all channels that lie on it, each channel is a class. Otherwise channels with
    about the same largest weight form a class, and there are as many classes as the registers allow. None if no
    convolution leads to the population, or if convolutions with different numbers of channels do.
    """
    counts = {x.output_shape[0] for x in weights if isinstance(x, Conv)}
    if len(counts) != 1:
        return None
    (count,) = counts
    per_channel = population.size // count
    limit, neurons = chip.limits.threshold_configurations_per_core.value, chip.limits.neurons_per_core.value
    classes = np.arange(count)
    if population.kind == "lif" and limit is not None:
        on_a_core = min(count, -(-(neurons or population.size) // per_channel) + 1)
        different = max(len(np.unique(t)) for t in population.v_threshold.reshape(count, -1))
        if on_a_core * different > limit:
            convolutions = [x for x in weights if isinstance(x, Conv)]
            drives = _drives(population, convolutions, np.zeros(population.size, np.intp), (0,) * len(convolutions))
            peaks = _peaks(population, drives).reshape(count, -1).max(axis=1)
            classes = _classes(peaks, max(limit // different, 1))
    return np.repeat(classes, per_channel)


def _peaks(population: Population, drives: _Drives) -> Doubles:
    """The largest weight of each neuron `[size]`, in what sets its scale; 0 without weights."""
    peaks = np.zeros(population.size)
    np.maximum.at(peaks, np.repeat(np.arange(population.size), np.diff(drives.rows)), np.abs(drives.x))
    return peaks


def _classes(peaks: Doubles, most: int) -> Groups:
    """The class of each value: at most `most` classes, such that no class spans a larger ratio than needed.

    A value of 0 is of the class of the largest values: it sets no scale.
    """
    scale = np.log(np.where(peaks > _SQUARED[0], peaks, peaks.max(initial=0) or 1))
    ordered = np.unique(scale)

    def starts(width: float) -> list[float]:
        """The least value of each class, if a class is at most `width` wide."""
        found: list[float] = []
        at = 0
        while at < len(ordered) and len(found) <= most:
            found.append(float(ordered[at]))
            at = int(np.searchsorted(ordered, ordered[at] + width, side="right"))
        return found

    if len(ordered) <= most:
        return np.searchsorted(ordered, scale)
    low, high = 0.0, 1.001 * float(ordered[-1] - ordered[0])
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if len(starts(middle)) <= most else (middle, high)
    return np.searchsorted(np.array(starts(high)), scale, side="right") - 1


def _class_numbers(most: int) -> Iterator[int]:
    """2, 4, 8 ... and last `most`; 1 if there is no room for more."""
    yield from itertools.takewhile(lambda n: n < most, (2**i for i in itertools.count(1)))
    yield max(most, 1)


def _exponents(population: Population, weights: Sequence[Weights], chip: Chip) -> tuple[int, ...]:
    """The weight exponent of each matrix that would leave the least error, by an estimate from the largest weights.

    All are 0 if less than two matrices lead to the population, or a convolution does (Lava's has no exponent). An
    exponent takes headroom from the synaptic sum. So only exponents are taken with which not even all sources together
    overflow it.
    """
    none = (0,) * len(weights)
    if len(weights) < 2 or any(isinstance(x, Conv) for x in weights):
        return none
    factor = population.gain / population.tau_syn
    shape = len(weights), population.size
    peaks, counts, squares, sums = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros((2, *shape))
    for n, x in enumerate(weights):
        numbers = w.values(x).astype(np.float64)
        for rows, of_each in (
            (counts, numbers != 0), (squares, numbers * numbers), (sums[0], np.maximum(numbers, 0)),
            (sums[1], np.maximum(-numbers, 0)),
        ):  # fmt: skip
            rows[n] = w.sum_of_targets(x, of_each)
        np.maximum.at(
            peaks[n], np.broadcast_to(w.per_value(x, np.arange(population.size)), numbers.shape), np.abs(numbers)
        )
    peaks, squares, sums = peaks * factor, squares * factor**2, sums.sum(axis=1) * factor
    hears = squares.sum(axis=0) > 0
    if not hears.any():
        return none
    peaks, counts, squares, sums = peaks[:, hears], counts[:, hears], squares[:, hears].sum(axis=0), sums[:, hears]
    sizes = np.array([np.median(row[row > 0]) if (row > 0).any() else 0 for row in peaks])
    found, least = none, np.inf
    for largest in range(WEIGHT_EXP_MAX + 1):
        with np.errstate(divide="ignore"):
            wanted = np.ceil(largest + np.log2(sizes / sizes.max()))
        exponents = np.clip(wanted, 0, WEIGHT_EXP_MAX)
        k = chip.ranges.weight.high / (peaks / 2.0 ** exponents[:, None]).max(axis=0)
        error = float(np.mean((counts * 4.0 ** exponents[:, None]).sum(axis=0) / (k * k * squares)))
        fits = (sums * k).max() <= chip.ranges.a_in.high
        if (largest == 0 or fits) and error < least * _WORTH_IT**2:
            found, least = tuple(int(e) for e in exponents), error
    return found


# --- the k of a group ------------------------------------------------------------------------------------------


class _Drives(NamedTuple):
    """All stored weights that are not 0, as the chip would hold them at k = 1, neuron after neuron.

    A kernel's weight counts once: for the first neuron of its channel.

    Attributes:
        x: the weights, times gain / tau_syn, divided by their matrix's `units`.
        units: 2 to the exponent of the matrix.
        rows: int64 `[size + 1]`, where the weights of each neuron begin in `x`, and where the last one's end.
    """

    x: Doubles
    units: Doubles
    rows: npt.NDArray[np.int64]


def _drives(population: Population, weights: Sequence[Weights], group: Groups, exponents: Sequence[int]) -> _Drives:
    factor = population.gain / population.tau_syn
    numbers, units, places = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, np.int64)]
    for x, exponent in zip(weights, exponents, strict=True):
        x = w.shared(w.shared(x, factor), group)
        scaled = w.values(x) * w.per_value(x, factor)
        if (largest := np.abs(scaled).max(initial=0)) > _SQUARED[1]:
            raise BadInput(
                f"population {population.name!r}: a weight of it adds {largest:.3g} to its membrane, expected at most "
                f"{_SQUARED[1]:g}"
            )
        stored = np.abs(scaled) > _SQUARED[0]  # zeros, most of what wires are, are exact at any scale
        numbers.append(scaled[stored] / 2**exponent)
        units.append(np.full(len(numbers[-1]), 2.0**exponent))
        places.append(np.broadcast_to(w.per_value(x, np.arange(population.size)), scaled.shape)[stored])
    at, together, unit = np.concatenate(places), np.concatenate(numbers), np.concatenate(units)
    if (at[1:] < at[:-1]).any():
        order = np.argsort(at, kind="stable")
        together, unit = together[order], unit[order]
    rows = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=population.size))])
    return _Drives(together, unit, rows)


def _group_scales(population: Population, drives: _Drives, group: Groups, chip: Chip) -> Doubles:
    """k of each neuron `[size]`, if the neurons of a group share it."""
    first = np.unique(group, return_index=True)[1]
    threshold = np.zeros(len(first)) if population.kind == "li" else population.v_threshold[first]
    bias = np.zeros(len(first))
    np.maximum.at(bias, group, np.abs(population.bias * population.gain))
    for what, found in (("threshold", threshold.max()), ("bias", bias.max())):
        if found > _SQUARED[1]:
            raise BadInput(f"population {population.name!r}: a {what} of {found:.3g}, expected at most {_SQUARED[1]:g}")
    with np.errstate(divide="ignore", over="ignore"):
        k_max = np.minimum(
            np.where(threshold > 0, chip.ranges.v_threshold.high / threshold, np.inf),
            largest_bias(chip) / np.maximum(bias * 2**SHIFT, _TINY),
        )
    grid = _Grid(chip.ranges.weight.low, chip.ranges.weight.high, chip.ranges.weight.step)
    members, ends = np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))
    return np.asarray(_best_scales(*drives, members, ends, threshold, k_max, grid)[group])


class _Grid(NamedTuple):
    low: int
    high: int
    step: int


@njit(nogil=True)
def _best_scales(x, units, rows, members, ends, threshold, k_max, grid):  # type: ignore[no-untyped-def]
    """k of each group. The neurons of group g are `members[ends[g - 1] : ends[g]]`."""
    k = np.empty(len(ends))
    first = 0
    for g in range(len(ends)):
        k[g] = _best_scale(x, units, rows, members[first : ends[g]], threshold[g], k_max[g], grid)
        first = ends[g]
    return k


@njit(nogil=True)
def _best_scale(x, units, rows, members, threshold, k_max, grid):  # type: ignore[no-untyped-def]
    """k of one group. Its neuron i has the weights `x[rows[i] : rows[i + 1]]`, times gain / tau_syn."""
    norms = np.zeros(len(members))  # the sum of squares of each neuron's weights
    # The scale at which the largest weight of every neuron fits, and that at which the largest of some neuron does.
    fitting, widest = np.inf, 0.0
    peak = 0.0
    for n, i in enumerate(members):
        top, bottom = 0.0, 0.0
        for j in range(rows[i], rows[i + 1]):
            value = x[j]
            top, bottom = max(top, value), min(bottom, value)
            norms[n] += (value * units[j]) ** 2
            peak = value if abs(value) > abs(peak) else peak
        if rows[i] < rows[i + 1]:
            fits = min(grid.high / max(top, _TINY), grid.low / min(bottom, -_TINY))
            fitting, widest = min(fitting, fits), max(widest, fits)
    if not np.isfinite(fitting):  # no weights: the threshold or the bias sets the scale
        return min(k_max, grid.high / (threshold if threshold > 0 else 1.0))
    apart = min(widest / fitting, _MOST_APART) * _CLIPPED
    steps = int(np.ceil(np.log(apart) / np.log(_STEP))) + 1
    candidates = [_snapped(min(fitting * _STEP**n, k_max), threshold, k_max) for n in range(steps)]
    candidates += [k for k in _grid_scales(x, rows, members, peak, grid) if k <= k_max]
    best, best_error = 0.0, np.inf
    neurons = np.count_nonzero(norms)
    for k in sorted(candidates, reverse=True):  # from the largest on: of several exact k, the largest is taken
        height = threshold * k
        off = (np.rint(height) / height - 1) ** 2 if height > 0 else (1.0 if threshold > 0 else 0.0)
        error = _error(x, units, rows, members, norms, k, grid, (best_error - off) * neurons) / neurons + off
        error = error if error > _EXACT else 0.0
        if error < best_error:
            best, best_error = k, error
    return best


@njit(nogil=True)
def _snapped(k, threshold, k_max):  # type: ignore[no-untyped-def]
    """The nearest k, up to `k_max`, at which the threshold is a whole number of units; `k` for a small threshold."""
    units = threshold * k
    if units < _SNAP_FROM:
        return k
    nearest = np.rint(units) / threshold
    return nearest if nearest <= k_max else np.floor(units) / threshold


@njit(nogil=True)
def _grid_scales(x, rows, members, peak, grid):  # type: ignore[no-untyped-def]
    """Every k at which each weight is a grid point inside the range; `peak` is the largest weight."""
    ends = range(grid.high, 0, -grid.step) if peak > 0 else range(grid.low, 0, grid.step)
    return [m / peak for m in ends if _is_on_grid(x, rows, members, m / peak, grid)]


@njit(nogil=True)
def _is_on_grid(x, rows, members, k, grid):  # type: ignore[no-untyped-def]
    for i in members:
        for value in x[rows[i] : rows[i + 1]]:
            y = value * k
            nearest = np.floor(y / grid.step + 0.5) * grid.step
            if abs(y - nearest) > ON_GRID * abs(y) or nearest < grid.low or nearest > grid.high:
                return False
    return True


@njit(nogil=True)
def _error(x, units, rows, members, norms, k, grid, give_up):  # type: ignore[no-untyped-def]
    """The sum of the neurons' relative squared errors, rounded at scale `k`; inf as soon as it exceeds `give_up`."""
    total = 0.0
    for n, i in enumerate(members):
        if norms[n] > 0:
            part = 0.0
            for j in range(rows[i], rows[i + 1]):
                y = x[j] * k
                error = y - min(max(np.floor(y / grid.step + 0.5) * grid.step, grid.low), grid.high)
                part += (error * units[j]) ** 2
            total += part / (norms[n] * k * k)
            if total > give_up:
                return np.inf
    return total
