"""Turn a graph's floats into the chip's integers: `quantise` checks every range and reports every rounding error.

The chip's membrane is the float membrane times `scale`. `scale` is 64 k, because a synaptic sum is shifted by 6 bits
before it is added to the membrane. With tau and tau_syn in ticks, leak = 1/tau, and gain = 1/tau or, if tau is
infinite, 1 (see `muspike.hardware.graph`):

    weight      = even(w * gain / tau_syn * k / 2**weight_exp)     in -256..254
    v_threshold = round(v_threshold * k)
    bias        = round(bias * gain * 64 k)        as bias_mant << bias_exp
    dv = round(4096 / tau),  du = round(4096 / tau_syn) - 1

`muspike.hardware.mapping.scale` says which neurons share a k, and how k is chosen. A network whose numbers are the
chip's integers already has k = 1 (`muspike.hardware.mapping.keep`).

A source that fires in every tick, such as one that carries a bias through a synaptic filter, is a constant. What
rounding takes from its weights goes to the bias register, whose units are 64 times finer.

Where matrices of different sizes lead to one population, the larger ones get a weight exponent: their weights are
stored divided by 2**weight_exp, so that k can be larger and the smaller matrices keep more bits. An exponent takes
headroom from the 16-bit synaptic sum, so it is used only as far as no spikes of 0 or 1 can overflow it.

Every register that is filled here is in range, or there is an error. The synaptic sum, the current and the membrane
depend on how many spikes coincide. They are bounded for the worst case: all sources fire at once, graded inputs with
their largest value. If that bound exceeds a register, the report carries a risk (for the synaptic sum, with the fewest
spikes that could overflow it), and k stays. A smaller k would cost up to two of the eight weight bits for a case that
sparse activity never meets. `Simulator.run` counts what really happens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware import weights as w
from muspike.hardware.chip import Chip, Range
from muspike.hardware.graph import Kind, Population, SpikingGraph, Synapses
from muspike.hardware.mapping.keep import kept_scales
from muspike.hardware.mapping.scale import LARGE_ERROR, ON_GRID, Fidelity, Scales, largest_bias, rounded, scales
from muspike.hardware.program import FULL_DECAY, GRADED_BITS_MAX, SHIFT
from muspike.hardware.weights import Conv, Sparse, Weights

Ints = npt.NDArray[np.int32]
Doubles = npt.NDArray[np.float64]

# A dense matrix becomes a `Sparse` if it has at least so many weights and a larger share of zeros than this.
_SPARSE_FROM_SIZE, _SPARSE_FROM_ZEROS = 2**12, 7 / 8
# The number of neurons whose incoming weights are sorted at a time.
_ROWS_AT_ONCE = 256
_GRADED = "; a graded spike counts as many as its value"
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, eq=False)
class IntegerPopulation:
    """A population on the chip's grid: a `program.ChipPopulation` that has no level, resets and cores yet.

    Attributes:
        name, kind, size: those of the float population.
        du, dv: int32 `[size]`, decays of current and membrane per tick in 1/4096; the chip adds 1 to `du`.
        v_threshold: int32 `[size]`, in units of 64 membrane units.
        bias_mant, bias_exp: int32 `[size]`; `bias_mant << bias_exp` is added to the membrane each tick.
        scale: float64 `[size]`, chip membrane units per unit of the float membrane.
        graded_bits: of an input: the bits of a spike's value; 0: spikes are 0 or 1.
    """

    name: str
    kind: Kind
    size: int
    du: Ints
    dv: Ints
    v_threshold: Ints
    bias_mant: Ints
    bias_exp: Ints
    scale: Doubles
    graded_bits: int = 0


@dataclass(frozen=True, eq=False)
class IntegerSynapses:
    """Synapses on the chip's grid.

    Attributes:
        name, source, target: those of the float synapses.
        weight: int16 `[target, source]`, in any form of `muspike.hardware.weights`.
        delay: in ideal ticks out of `quantise`, in chip ticks out of `retime`.
        weight_exp: what arrives is shifted left by so many bits.
    """

    name: str
    source: str
    target: str
    weight: Weights
    delay: int
    weight_exp: int = 0


@dataclass(frozen=True, eq=False)
class IntegerGraph:
    """A spiking graph in integers, in ideal time. Its fields are those of `graph.SpikingGraph`."""

    populations: Sequence[IntegerPopulation]
    synapses: Sequence[IntegerSynapses]
    dt_s: float
    outputs: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SynapsesReport:
    """What rounding did to one weight matrix.

    Attributes:
        name: the name of the synapses.
        rms_error: root of the summed squared errors, divided by the root of the summed squared weights.
        max_error: largest error of a weight, in units of what a spike adds to the neuron's input: the file's weight
            times r and w_in.
        saturated: number of stored weights that were clipped at an end of the range.
        zero_fraction: share of the weights (of a convolution: of its kernel) that are 0 on the chip.
        vanished: number of stored weights that are 0 on the chip but not in the float network.
        weight_exp: the exponent of the matrix.
    """

    name: str
    rms_error: float
    max_error: float
    saturated: int
    zero_fraction: float
    vanished: int
    weight_exp: int = 0


@dataclass(frozen=True)
class PopulationReport:
    """What rounding did to one population, and how near its worst case comes to the chip's registers.

    Attributes:
        name, kind: those of the population.
        groups: number of groups of neurons that have a scale of their own.
        weight_error: the largest error of a neuron's weights: root of the summed squared errors of all weights onto it,
            divided by the root of their summed squares.
        neurons_changed: number of neurons that hear another network (`scale.Fidelity.changed`).
        scale_low, scale_high: lowest and highest scale, in chip membrane units per unit of the float membrane.
        scale_reason: why the scale is this one, in words.
        leak_error: largest relative error of 1/tau.
        filter_error: largest relative error of 1/tau_syn.
        threshold_error: largest relative error of the threshold; 0 for `li`.
        bias_error: largest error of a bias, in units of the float input.
        sum_worst: largest |synaptic sum| if all sources with weights of one sign fire at once, graded inputs with their
            largest value.
        spikes_to_overflow: fewest coinciding spikes that can overflow the register of the synaptic sum; None if not
            even all of them can. A graded spike counts as many as its value.
        current_headroom: size of the current's register, divided by the worst case of the current in the steady state.
        membrane_headroom: the same for the membrane (of `lif`: its worst case downward); 0 if nothing bounds the
            membrane, because it has no leak.
    """

    name: str
    kind: Kind
    groups: int
    weight_error: float
    neurons_changed: int
    scale_low: float
    scale_high: float
    scale_reason: str
    leak_error: float
    filter_error: float
    threshold_error: float
    bias_error: float
    sum_worst: int
    spikes_to_overflow: int | None
    current_headroom: float
    membrane_headroom: float


@dataclass(frozen=True)
class QuantisationReport:
    """Every error that quantisation made, and every risk that it leaves.

    Attributes:
        chip: its name.
        populations, synapses: a report for each.
        risks: in sentences.
        kept: whether the network's numbers were the chip's integers already, and were taken as they stand.
    """

    chip: str
    populations: tuple[PopulationReport, ...]
    synapses: tuple[SynapsesReport, ...]
    risks: tuple[str, ...]
    kept: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As a JSON-able dict."""
        return dataclasses.asdict(self)


def graded_bits(chip: Chip) -> int:
    """The bits of a graded input's spikes on a chip: 16, or fewer if the chip's spikes carry fewer.

    More are of no use. The smallest weight is 2, so a larger spike leaves the 16-bit synaptic sum by itself.

    Raises:
        BadInput: the chip's spikes carry no value.
    """
    most = chip.limits.graded_spike_bits.value
    if most == 0:
        raise BadInput(
            f"graded: graded_spike_bits of {chip.name} is 0, so its spikes are 0 or 1; graded inputs need a chip whose "
            "spikes carry a value, such as loihi2"
        )
    return GRADED_BITS_MAX if most is None else min(most, GRADED_BITS_MAX)


def quantise(
    graph: SpikingGraph, chip: Chip, scale: str = "auto", graded: bool = False
) -> tuple[IntegerGraph, QuantisationReport]:
    """Round a graph to the chip's integers.

    Args:
        graph: the float network.
        chip: the chip.
        scale: one of `keep.SCALES`: whether a network of other numbers than the chip's integers is refused.
        graded: whether spikes of inputs are whole numbers (`graded_bits`) instead of 0 or 1. The integers of the
            network are the same; what can overflow is not.

    Returns:
        graph: the same populations and synapses in integers, still in ideal time.
        report: what the rounding changed, and the risks it leaves.

    Raises:
        BadInput: no scale brings a time constant, threshold, weight or bias into the chip's registers; with scale
            "keep", a number is not an integer of the chip; or, with `graded`, the chip's spikes carry no value.
    """
    bits = graded_bits(chip) if graded else 0
    largest = {p.name: (1 << bits) - 1 if bits and p.kind == "input" else 1 for p in graph.populations}
    standing = kept_scales(graph, chip, scale)
    populations: list[IntegerPopulation] = []
    reports: list[PopulationReport] = []
    weights: dict[str, Weights] = {}
    synapse_reports: dict[str, SynapsesReport] = {}
    registers = _registers(graph, chip)
    constant = graph.always_firing
    risks: list[str] = []
    for population, incoming in graph.with_incoming():
        if population.kind == "input":
            populations.append(_input(population, bits))
            continue
        scaled = standing.get(population.name) or scales(
            population, [s.weight for s in incoming], chip, registers.get(population.name)
        )
        factor = population.gain / population.tau_syn * scaled.k
        for s, exponent in zip(incoming, scaled.exponents, strict=True):
            weights[s.name], synapse_reports[s.name] = _weights(s, factor, exponent, chip.ranges.weight)
        lost = _lost_constant(population, incoming, scaled, weights, constant, chip)
        integer = _population(population, scaled.k, lost, chip)
        populations.append(integer)
        about = [synapse_reports[s.name] for s in incoming]
        fan = _Fan(
            [(s, weights[s.name], e) for s, e in zip(incoming, scaled.exponents, strict=True)], population.size, largest
        )
        reason = _scale_reason(population, scaled.k, about, chip)
        if population.name in standing:
            reason = "kept: the chip's integers already"
        report = _report(population, integer, scaled, lost, fan, reason, chip)
        reports.append(report)
        risks += [
            *_weight_risks(population, scaled, about, chip),
            *_risks(population, integer, report, lost, fan, chip),
        ]
    leakless = [r.name for r in reports if r.kind == "lif" and r.membrane_headroom == 0]
    if leakless:
        names = ", ".join(map(repr, leakless[:3])) + (f" and {len(leakless) - 3} more" if len(leakless) > 3 else "")
        risks.append(
            f"population{'s' * (len(leakless) > 1)} {names}: without a leak, inhibition adds up without bound; the "
            f"chip's membrane stops at {chip.ranges.membrane.low}"
        )
    synapses = [
        IntegerSynapses(s.name, s.source, s.target, weights[s.name], s.delay, synapse_reports[s.name].weight_exp)
        for s in graph.synapses
    ]
    return (
        IntegerGraph(populations, synapses, graph.dt_s, graph.outputs, graph.metadata),
        QuantisationReport(
            chip.name,
            tuple(reports),
            tuple(synapse_reports[s.name] for s in graph.synapses),
            tuple(risks),
            kept=bool(standing),
        ),
    )


def _registers(graph: SpikingGraph, chip: Chip) -> dict[str, int]:
    """How many thresholds of a core each spiking population may have, in proportion to its share of a core's neurons.

    So populations that share a core do not need more thresholds than it has. All readouts have the same one.
    """
    limit, neurons = chip.limits.threshold_configurations_per_core.value, chip.limits.neurons_per_core.value
    spiking = [p for p in graph.populations if p.kind == "lif"]
    if limit is None or not spiking:
        return {}
    limit = max(1, limit - any(p.kind == "li" for p in graph.populations))
    together = sum(p.size for p in spiking)
    core = min(together, neurons or together)
    return {p.name: max(1, min(limit, limit * p.size // core)) for p in spiking}


# --- the integers ----------------------------------------------------------------------------------------------


def _weights(synapses: Synapses, factor: Doubles, exponent: int, grid: Range) -> tuple[Weights, SynapsesReport]:
    factor = factor / 2**exponent
    weight = w.shared(synapses.weight, factor)
    numbers = w.values(weight).astype(np.float64)
    clipped, saturated = rounded(weight, factor, grid)
    error = np.abs(clipped / w.per_value(weight, factor) - numbers)
    norm = float(np.sqrt((numbers * numbers).sum()))
    zeros = int((clipped == 0).sum())
    if isinstance(weight, Sparse):
        zeros += math.prod(weight.shape) - numbers.size
    report = SynapsesReport(
        name=synapses.name,
        rms_error=float(np.sqrt((error * error).sum())) / norm if norm else 0.0,
        max_error=float(error.max(initial=0)),
        saturated=saturated,
        zero_fraction=zeros / (numbers.size if isinstance(weight, Conv) else math.prod(weight.shape)),
        vanished=int(((clipped == 0) & (numbers != 0)).sum()),
        weight_exp=exponent,
    )
    integers = w.with_values(weight, clipped.astype(np.int16))
    large = isinstance(integers, np.ndarray) and numbers.size >= _SPARSE_FROM_SIZE
    if large and report.zero_fraction > _SPARSE_FROM_ZEROS:
        integers = Sparse.of(integers)
    return integers, report


def _input(population: Population, graded_bits: int) -> IntegerPopulation:
    none = np.zeros(population.size, np.int32)
    one = np.ones(population.size)
    return IntegerPopulation(population.name, "input", population.size, none, none, none, none, none, one, graded_bits)


def _lost_constant(
    population: Population,
    incoming: Sequence[Synapses],
    scaled: Scales,
    weights: Mapping[str, Weights],
    constant: Collection[str],
    chip: Chip,
) -> Doubles:
    """What rounding takes from the constant input of each neuron, in membrane units per tick, `[size]`.

    Sources in `constant` fire in every tick. Behind a synaptic filter, the value is that of the steady state. It is cut
    off where the bias register, which also holds the population's own bias, ends.
    """
    lost = np.zeros(population.size)
    for s, exponent in zip(incoming, scaled.exponents, strict=True):
        if s.source in constant:
            every_tick = np.ones((1, s.weight.shape[1]))
            wanted = w.applied(s.weight, every_tick)[0] * population.gain / population.tau_syn * scaled.k
            given = w.applied(weights[s.name], every_tick.astype(np.int64))[0] * 2.0**exponent
            lost += wanted - given
    # A step stands for what rises through the filter. A neuron that this alone could bring a tenth of the way to its
    # threshold keeps its rounding error instead, which is told as such.
    early = np.abs(lost) * population.tau_syn * (population.tau_syn - 1)
    if population.kind == "lif":
        lost = np.where(early > LARGE_ERROR * population.v_threshold * scaled.k, 0, lost)
    room = largest_bias(chip) - np.abs(population.bias * population.gain * scaled.k * 2**SHIFT)
    return np.asarray(np.clip(lost * population.tau_syn * 2**SHIFT, -room, room))


def _population(population: Population, k: Doubles, lost: Doubles, chip: Chip) -> IntegerPopulation:
    dv = np.round(FULL_DECAY * population.leak)
    du = np.round(FULL_DECAY / population.tau_syn) - 1
    if (du < chip.ranges.du.low).any():
        raise BadInput(
            f"population {population.name!r}: tau_syn is {population.tau_syn.max():g} ticks; "
            f"the chip's current decay is at least 1/{FULL_DECAY} per tick, expected at most {FULL_DECAY} ticks"
        )
    if population.kind == "li":
        threshold = np.full(population.size, chip.ranges.v_threshold.high)
    else:
        threshold = np.round(population.v_threshold * k)
    mant, exp = _bias(population.bias * population.gain * k * 2**SHIFT + lost, chip)
    return IntegerPopulation(
        name=population.name,
        kind=population.kind,
        size=population.size,
        du=_register(population, "du", du, chip.ranges.du),
        dv=_register(population, "dv", dv, dataclasses.replace(chip.ranges.dv, high=FULL_DECAY)),
        v_threshold=_register(population, "v_threshold", threshold, chip.ranges.v_threshold),
        bias_mant=_register(population, "bias_mant", mant, chip.ranges.bias_mant),
        bias_exp=_register(population, "bias_exp", exp, chip.ranges.bias_exp),
        scale=k * 2**SHIFT,
    )


def _bias(bias: Doubles, chip: Chip) -> tuple[Doubles, Doubles]:
    """Mantissa and exponent of each bias. The smallest exponent is taken that fits, so the mantissa is the finest."""
    exponents = np.arange(chip.ranges.bias_exp.low, chip.ranges.bias_exp.high + 1)
    fits = np.abs(np.round(bias / 2.0 ** exponents[:, None])) <= chip.ranges.bias_mant.high
    exp = np.where(fits.any(axis=0), exponents[fits.argmax(axis=0)], exponents[-1])
    return np.round(bias / 2.0**exp), exp.astype(np.float64)


def _register(population: Population, name: str, values: npt.NDArray[Any], allowed: Range) -> Ints:
    outside = (values < allowed.low) | (values > allowed.high)
    if outside.any():
        raise BadInput(
            f"population {population.name!r}: {name} would be {values[outside][0]:.0f}, "
            f"the chip holds {allowed.low}..{allowed.high}"
        )
    return np.asarray(values, np.int32)


# --- the report ------------------------------------------------------------------------------------------------


class _Fan:
    """All synapses into one population, in integers.

    Attributes:
        synapses: the float synapses, each with its integer weights and their exponent.
        largest: the largest value of a spike, by population.
        sums: int64 `[2, size]`. Row 0 is the synaptic sum if all sources with positive weights fire, with their largest
            value. Row 1 is the magnitude of the sum if all sources with negative weights do.
    """

    def __init__(
        self, synapses: Sequence[tuple[Synapses, Weights, int]], size: int, largest: Mapping[str, int]
    ) -> None:
        self.synapses = synapses
        self.largest = largest
        self.sums = np.zeros((2, size), np.int64)
        for s, weight, exponent in synapses:
            numbers = (w.values(weight).astype(np.int64) << exponent) * largest[s.source]
            everyone = np.ones((1, weight.shape[1]), np.int64)
            for row, part in enumerate((np.maximum(numbers, 0), -np.minimum(numbers, 0))):
                self.sums[row] += w.applied(w.with_values(weight, part), everyone)[0]

    @property
    def graded(self) -> bool:
        """Whether a source has graded spikes."""
        return any(self.largest[s.source] > 1 for s, _, _ in self.synapses)

    def rows(self, targets: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """What a spike of 1 adds to these neurons, `[targets, columns]`: one column per source neuron and delay.

        And the largest value of a spike, `[columns]`.
        """
        together: dict[tuple[str, int], npt.NDArray[np.int64]] = {}
        for s, weight, exponent in self.synapses:
            part = weight[targets] if isinstance(weight, np.ndarray) else w.unrolled(weight).columns[targets].toarray()
            key = s.source, s.delay
            together[key] = together.get(key, 0) + (part.astype(np.int64) << exponent)
        values = [np.full(part.shape[1], self.largest[source]) for (source, _), part in together.items()]
        return np.concatenate(list(together.values()), axis=1), np.concatenate(values)


def _scale_reason(population: Population, k: Doubles, synapses: Sequence[SynapsesReport], chip: Chip) -> str:
    if not synapses:
        return "no weights: as large as threshold and bias allow"
    with np.errstate(divide="ignore", over="ignore"):
        bias = np.abs(population.bias * population.gain) * 2**SHIFT
        at_bias = (bias > 0) & (k * bias >= largest_bias(chip) * (1 - ON_GRID))
        at_threshold = k * population.v_threshold >= chip.ranges.v_threshold.high - 0.5
    if at_bias.any():
        return f"the bias register is full ({int(at_bias.sum())} neurons)"
    if population.kind == "lif" and at_threshold.any():
        return f"the threshold register is full ({int(at_threshold.sum())} neurons)"
    if all(s.max_error == 0 for s in synapses):
        return "every weight is met exactly"
    if clipped := sum(s.saturated for s in synapses):
        return f"least squared error, {clipped} of the largest weights clipped"
    return "least squared error, the largest weight fits"


def _report(
    population: Population,
    integer: IntegerPopulation,
    scaled: Scales,
    lost: Doubles,
    fan: _Fan,
    scale_reason: str,
    chip: Chip,
) -> PopulationReport:
    k = integer.scale / 2**SHIFT
    bias = (integer.bias_mant << integer.bias_exp).astype(np.float64)
    # The steady state if all sources with weights of one sign fire in every tick: row 0 upward, row 1 downward.
    currents = (fan.sums << SHIFT) * population.tau_syn
    drives = np.maximum(currents + np.stack([bias, -bias]), 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        membranes = np.where(drives > 0, drives / population.leak, 0)
    headroom = -chip.ranges.membrane.low / max(_TINY, membranes[1].max())
    if population.kind == "li":
        headroom = min(headroom, (chip.ranges.v_threshold.high << SHIFT) / max(_TINY, membranes[0].max()))
    return PopulationReport(
        name=population.name,
        kind=population.kind,
        groups=scaled.groups,
        weight_error=float(scaled.fidelity.error.max(initial=0)),
        neurons_changed=int(scaled.fidelity.changed.sum()),
        scale_low=float(integer.scale.min()),
        scale_high=float(integer.scale.max()),
        scale_reason=scale_reason,
        leak_error=_relative(integer.dv / FULL_DECAY, population.leak),
        filter_error=_relative((integer.du + 1) / FULL_DECAY, 1 / population.tau_syn),
        threshold_error=0.0 if population.kind == "li" else _relative(integer.v_threshold / k, population.v_threshold),
        bias_error=float(np.abs((bias - lost) / (integer.scale * population.gain) - population.bias).max()),
        sum_worst=int(fan.sums.max()),
        spikes_to_overflow=_fewest_spikes(fan, chip.ranges.a_in),
        current_headroom=-chip.ranges.current.low / max(_TINY, currents.max()),
        membrane_headroom=headroom,
    )


def _relative(value: npt.NDArray[Any], reference: npt.NDArray[Any]) -> float:
    """Largest |value - reference| / |reference|. For a reference of 0: 0 if the value is 0, else inf."""
    error = np.abs(value - reference)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(error == 0, 0, error / np.abs(reference)).max())


def _fewest_spikes(fan: _Fan, register: Range) -> int | None:
    """The fewest coinciding spikes whose weights onto one neuron overflow the register of the synaptic sum.

    A graded spike counts as many as its value.
    """
    counts: list[int] = []
    exceeding = np.flatnonzero((fan.sums[0] > register.high) | (-fan.sums[1] < register.low))
    for begin in range(0, len(exceeding), _ROWS_AT_ONCE):
        adds, largest = fan.rows(exceeding[begin : begin + _ROWS_AT_ONCE])
        for sign, limit in ((1, register.high), (-1, -register.low)):
            order = np.argsort(-sign * adds, axis=1)
            each = np.maximum(np.take_along_axis(sign * adds, order, axis=1), 0)
            times = largest[order]
            sums = np.cumsum(each * times, axis=1)
            row = np.flatnonzero(sums[:, -1] > limit)
            if len(row):
                last = (sums[row] > limit).argmax(
                    axis=1
                )  # the source with which it overflows, and how often it must fire
                before = (sums - each * times)[row, last]
                fired = (np.cumsum(times, axis=1) - times)[row, last]
                counts.append(int((fired + (limit - before) // each[row, last] + 1).min()))
    return min(counts, default=None)


def _weight_risks(
    population: Population, scaled: Scales, synapses: Sequence[SynapsesReport], chip: Chip
) -> Iterator[str]:
    """What the rounding of weights puts at risk: per matrix, and per neuron, however small it is beside the others."""
    for s in synapses:
        if s.saturated:
            yield f"synapses {s.name!r}: {s.saturated} weights clipped, largest error {s.max_error:.3g}"
        if s.rms_error > LARGE_ERROR:
            yield (
                f"synapses {s.name!r}: rounding changes the weights by {100 * s.rms_error:.3g} %: "
                f"{s.vanished} become 0, largest error {s.max_error:.3g}"
            )
    where, of = f"population {population.name!r}", scaled.fidelity
    off = of.error > LARGE_ERROR
    starved = of.starved & ~off
    if off.any():
        yield (
            f"{where}: rounding changes the weights onto {_out_of(off)} neurons by over {100 * LARGE_ERROR:g} % (the "
            f"worst by {100 * of.error.max():.3g} %): {_vanished(of, off)}"
        )
    if starved.any():
        yield (
            f"{where}: {_out_of(starved)} neurons lose weights that together are not small, though others onto them "
            f"are far larger: {_vanished(of, starved)}"
        )
    if (better := scaled.one_each) is not None:
        registers = chip.limits.threshold_configurations_per_core.value
        yield (
            f"{where}: {chip.name} has {registers} thresholds for a core; with one for each neuron, rounding would "
            f"change {int(better.changed.sum())} neurons as much, not {int(of.changed.sum())}"
        )


def _out_of(neurons: npt.NDArray[np.bool_]) -> str:
    return f"{int(neurons.sum())} of {len(neurons)}"


def _vanished(of: Fidelity, neurons: npt.NDArray[np.bool_]) -> str:
    return f"{int(of.vanished[neurons].sum())} of {int(of.weights[neurons].sum())} weights become 0"


def _risks(
    population: Population,
    integer: IntegerPopulation,
    report: PopulationReport,
    lost: Doubles,
    fan: _Fan,
    chip: Chip,
) -> Iterator[str]:
    where = f"population {population.name!r}"
    if report.threshold_error > LARGE_ERROR:
        yield (
            f"{where}: rounding changes the threshold by {100 * report.threshold_error:.3g} %: "
            f"the lowest is {integer.v_threshold.min()} of the chip's units"
        )
    for what, error in (("leak", report.leak_error), ("synaptic filter", report.filter_error)):
        if LARGE_ERROR < error < 1:  # an error of 1 is no leak at all, a risk of its own below
            yield f"{where}: rounding changes the {what} by {100 * error:.3g} %: it is a few 4096ths per tick"
    wanted = population.bias * population.gain * integer.scale
    missed = np.abs((integer.bias_mant << integer.bias_exp) - lost - wanted)
    if (off := (missed > LARGE_ERROR * np.abs(wanted)) & (wanted != 0)).any():
        yield (
            f"{where}: rounding changes {int(off.sum())} biases by over {100 * LARGE_ERROR:g} %: the smallest was "
            f"{np.abs(wanted[off]).min():.3g} of the chip's units"
        )
    if report.spikes_to_overflow is not None:
        yield (
            f"{where}: {report.spikes_to_overflow} spikes in one tick could overflow the "
            f"{_bits(chip.ranges.a_in)}-bit synaptic sum (worst case {report.sum_worst})"
            + (_GRADED if fan.graded else "")
        )
    if report.current_headroom < 1:
        yield f"{where}: the current's worst case is {1 / report.current_headroom:.3g} times its register, which wraps"
    if 0 < report.membrane_headroom < 1 or (report.membrane_headroom == 0 and population.kind == "li"):
        worst = f"{1 / report.membrane_headroom:.3g} times its range" if report.membrane_headroom else "without bound"
        effect = "be reset as if it spiked" if population.kind == "li" else "saturate"
        yield f"{where}: the membrane's worst case is {worst}; it would {effect}"
    if ((integer.dv > chip.ranges.dv.high) & ~_remainder_is_harmless(integer, fan, chip.ranges.weight)).any():
        yield (
            f"{where}: dv {FULL_DECAY} (tau of one tick) has no code in the chip's register; its nearest, "
            f"{chip.ranges.dv.high}, keeps 1/{FULL_DECAY} of a membrane below threshold"
        )
    if ((integer.dv == 0) & (population.leak > 0)).any():
        yield f"{where}: tau of {population.tau[np.isfinite(population.tau)].max():g} ticks rounds to no leak at all"


def _remainder_is_harmless(p: IntegerPopulation, fan: _Fan, grid: Range) -> npt.NDArray[np.bool_]:
    """Which neurons spike the same if they keep 1/4096 of their membrane each tick, bool `[size]`: above all, gates.

    A sum of weights is a whole number of grid steps, so it has a distance from the threshold. What a neuron keeps is
    harmless if it is less than that distance. At most, it is 1/4096 of a membrane at the threshold, or of the most
    negative sum.
    """
    if p.kind == "li":
        return np.zeros(p.size, bool)
    below = fan.sums[1]
    room_above = (p.v_threshold % grid.step) << SHIFT  # from the largest sum that does not spike to the threshold
    room_below = (grid.step << SHIFT) - room_above
    kept_above = (p.v_threshold << SHIFT) // FULL_DECAY
    kept_below = (below << SHIFT) // (FULL_DECAY - 1) + 1
    plain = (p.bias_mant == 0) & (p.du >= FULL_DECAY - 1)
    return np.asarray(plain & (kept_above <= room_above) & (kept_below < room_below))


def _bits(register: Range) -> int:
    return int(register.high - register.low).bit_length()
