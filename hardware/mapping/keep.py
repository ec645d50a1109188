"""Networks whose numbers are the chip's integers already, as in a file that was trained for it: taken as they stand.

Such a network must not be rescaled. The chip rounds its state to whole membrane units in every tick, so at another
scale it rounds otherwise, and spikes move.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware import weights as w
from muspike.hardware.chip import Chip
from muspike.hardware.graph import Population, SpikingGraph
from muspike.hardware.mapping.scale import Fidelity, Scales, largest_bias
from muspike.hardware.program import FULL_DECAY, SHIFT, WEIGHT_EXP_MAX
from muspike.hardware.weights import Conv, Weights

Doubles = npt.NDArray[np.float64]

# The relative error of a number that took a few roundings in float32.
_FLOAT32 = 2.0**-21

SCALES = ("auto", "keep")
"""`auto` takes a network of the chip's integers as it stands, and scales any other. `keep` refuses any other."""


def kept_scales(graph: SpikingGraph, chip: Chip, scale: str) -> dict[str, Scales]:
    """The scales of the populations whose numbers stand as they are, by name; empty if the network is to be scaled.

    A network is kept as a whole or not at all, up to what moves no spike: the scale of a readout (`li`), and of neurons
    that fire in every tick.

    Args:
        graph: the float network.
        chip: the chip whose integers are meant.
        scale: one of `SCALES`.

    Raises:
        BadInput: with "keep", a number is not an integer of the chip. The message names the population and the number.
    """
    found: dict[str, Scales] = {}
    free = graph.always_firing
    for population, incoming in graph.with_incoming():
        if population.kind == "input" or population.name in free:
            continue
        result = kept(population, [s.weight for s in incoming], chip)
        if isinstance(result, Scales):
            found[population.name] = result
        elif population.kind == "lif":
            if scale == "keep":
                raise BadInput(
                    f"population {population.name!r} cannot be kept as it stands: {result}; scale 'auto' rounds it"
                )
            return {}
    return found


def kept(population: Population, weights: Sequence[Weights], chip: Chip) -> Scales | str:
    """The scale 1, if the population's numbers are integers of the chip as they stand; else which is not, in words.

    What one spike adds to the membrane, before the chip's shift by 6 bits, is an even number in the range of weights,
    or such a number times 2**weight_exp. Thresholds are whole numbers, decays are whole 4096ths, and a bias is what the
    chip's mantissa and exponent can say.
    """
    one = np.ones(population.size)
    wholes = {"the leak, in 4096ths,": FULL_DECAY * population.leak}
    wholes["the decay of the synaptic filter, in 4096ths,"] = FULL_DECAY / population.tau_syn
    if population.kind == "lif":
        wholes["v_threshold"] = population.v_threshold
    for what, values in wholes.items():
        if (off := ~_are_multiples(values, one)).any():
            return f"{what} is {values[off][0]:g}, expected a whole number"
    most = chip.ranges.v_threshold
    if population.kind == "lif" and (off := (population.v_threshold > most.high + 0.5)).any():
        return f"v_threshold is {population.v_threshold[off][0]:g}, {chip.name} holds {most.low}..{most.high}"
    bias = population.bias * population.gain * 2**SHIFT
    step = 2 ** np.ceil(np.log2(np.maximum(np.abs(bias) / chip.ranges.bias_mant.high, 1)))
    if (off := ~_are_multiples(bias, step) | (np.abs(bias) > largest_bias(chip))).any():
        return f"a bias adds {bias[off][0]:g} to the membrane, which no bias_mant << bias_exp is"
    factor = population.gain / population.tau_syn
    exponents = []
    for x in weights:
        exponent = _exponent(x, factor, chip)
        if isinstance(exponent, str):
            return exponent
        exponents.append(exponent)
    fidelity = Fidelity.of(population, weights, one, exponents, chip.ranges.weight)
    return Scales(one, tuple(exponents), 1, fidelity)


def _exponent(weight: Weights, factor: Doubles, chip: Chip) -> int | str:
    """The least exponent with which a matrix is integers of the chip as it stands; or what is not, in words."""
    weight = w.shared(weight, factor)
    numbers = np.asarray(w.values(weight) * w.per_value(weight, factor), np.float64)
    grid = chip.ranges.weight
    exponent = 0
    if not isinstance(weight, Conv):  # Lava's convolution has no exponent
        over = max(numbers.max(initial=0) / grid.high, numbers.min(initial=0) / grid.low)
        exponent = min(WEIGHT_EXP_MAX, int(np.ceil(np.log2(max(over * (1 - _FLOAT32), 1)))))
    low, high, step = (n << exponent for n in (grid.low, grid.high, grid.step))
    slack = _FLOAT32 * high
    off = ~_are_multiples(numbers, np.float64(step)) | (numbers < low - slack) | (numbers > high + slack)
    if off.any():
        return f"a spike adds {numbers[off].flat[0]:g}, expected a multiple of {step} in {low}..{high}"
    return exponent


def _are_multiples(values: Doubles, step: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which values are multiples of `step`, up to the error of float32."""
    step = np.asarray(step, np.float64)
    return np.asarray(np.abs(values - np.rint(values / step) * step) <= _FLOAT32 * np.abs(values))
