"""A chip program as the layers of a lava-dl network (`.net`), for the programs that are one chain of layers.

lava-dl's reader (`lava.lib.dl.netx.hdf5`, lava-dl 0.6.0) runs each layer on the spikes of the layer before it. Its
neurons have du = iDecay - 1, dv = vDecay, vth = vThMant and a bias of 64 times the file's. A program that says more
than that is refused, and so is one that the reader is known to get wrong (`netx_runner` lists what it does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware import weights as w
from muspike.hardware.mapping.retime import ONCE
from muspike.hardware.program import (
    DELAY_MAX,
    FULL_DECAY,
    REGISTERS,
    SHIFT,
    WEIGHT_MAX,
    WEIGHT_MIN,
    ChipPopulation,
    ChipSynapses,
    Program,
)
from muspike.hardware.weights import Conv

Ints = npt.NDArray[np.int64]

NEVER = REGISTERS["v_threshold"][1] + 1
"""The threshold of a readout: what lava-dl gives a layer without neurons. 64 times it is above the largest membrane."""
MOST_WEIGHTS = 2**26
_RESET_OFFSET = 1  # lava-dl resets layer 1 in tick 0 plus this. Spikes of an input reach layer 1 in tick 1.


@dataclass(frozen=True)
class Layers:
    """The layers of a file.

    Attributes:
        layers: the fields of each layer, by name, from layer 0 on.
        names: of each layer with neurons, in order, the population that it is.
        options: what the reader must be given beside the file: `reset_interval`, `reset_offset`; empty: nothing.
    """

    layers: Sequence[dict[str, Any]]
    names: Sequence[str]
    options: dict[str, int]


def layers_of(program: Program) -> Layers:
    """The layers of a program.

    Raises:
        BadInput: a population or synapses cannot be said in such a file, or lava-dl's reader would read them otherwise.
            The message names them and the reason.
    """
    first, chain = _chain(program)
    shape: tuple[int, ...] = (first.size,)
    if chain and isinstance(chain[0][1].weight, Conv):
        shape = chain[0][1].weight.input_shape
    layers: list[dict[str, Any]] = [{"type": "input", "shape": list(shape)}]
    for population, synapses, loop in chain:
        if isinstance(synapses.weight, Conv):
            if synapses.weight.input_shape != shape:
                _refuse(synapses, f"it convolves {list(synapses.weight.input_shape)} of a layer of {list(shape)}")
            layer, shape = _convolution(population, synapses, loop), synapses.weight.output_shape
        else:
            if len(shape) > 1:
                shape = (int(np.prod(shape)),)
                layers.append({"type": "flatten", "shape": list(shape)})
            layer, shape = _dense(population, synapses, loop), (population.size,)
        channels = shape[0] if len(shape) > 1 else None
        layer["shape"] = list(shape)
        layer["neuron"] = _neurons(population, channels)
        if population.bias.any():
            layer["bias"] = _bias(population, channels)
        layers.append(layer)
    return Layers(layers, [p.name for p, _, _ in chain], _resets([p for p, _, _ in chain]))


def _refuse(what: ChipPopulation | ChipSynapses, why: str) -> NoReturn:
    kind = "population" if isinstance(what, ChipPopulation) else "synapses"
    raise BadInput(f"{kind} {what.name!r}: {why}; lava-dl's .net cannot say that")


Link = tuple[ChipPopulation, ChipSynapses, ChipSynapses | None]


def _chain(program: Program) -> tuple[ChipPopulation, list[Link]]:
    """The input, and each population after it with its synapses and its loop."""
    if not program.inputs:
        raise BadInput(f"population {program.populations[0].name!r}: the network has no input; a .net begins with one")
    first, *more = program.inputs
    if more:
        _refuse(more[0], f"it is a second input, beside {first.name!r}")
    if first.graded_bits:
        _refuse(first, f"its spikes have {first.graded_bits} bits")
    links: dict[str, Link] = {}
    for p in program.populations:
        if p.kind == "input":
            continue
        incoming = [s for s in program.synapses if s.target == p.name]
        loops = [s for s in incoming if s.source == p.name]
        heard = [s for s in incoming if s.source != p.name]
        if not heard:
            _refuse(p, "it hears no other population")
        if len(heard) > 1:
            sources = ", ".join(repr(s.source) for s in heard)
            _refuse(p, f"it has {len(heard)} synapses, from {sources}, and a layer has one, from the layer before it")
        if len(loops) > 1:
            _refuse(loops[1], f"it is a second loop of {p.name!r}")
        if loops and loops[0].delay != 1:
            _refuse(loops[0], f"it is a loop of {loops[0].delay} ticks, and that of a layer takes 1")
        source = heard[0].source
        if source in links:
            _refuse(heard[0], f"{source!r} is heard by {links[source][0].name!r} already, and a layer is heard by one")
        links[source] = (p, heard[0], loops[0] if loops else None)
    chain, name = [], first.name
    while name in links:
        chain.append(links.pop(name))
        name = chain[-1][0].name
    if links:
        _refuse(next(iter(links.values()))[0], f"no path leads to it from {first.name!r}")
    if not chain:
        _refuse(first, "nothing hears it")
    return first, chain


def _whole(synapses: ChipSynapses) -> Ints:
    """The weights with their exponent, in the range that the reader takes."""
    numbers: Ints = w.values(synapses.weight).astype(np.int64) << synapses.weight_exp
    if not numbers.any():
        _refuse(synapses, "all its weights are 0, by which lava-dl's reader divides")
    if numbers.min() < WEIGHT_MIN or numbers.max() > WEIGHT_MAX:
        worst = numbers.flat[np.abs(numbers).argmax()]
        _refuse(
            synapses,
            f"its weight exponent {synapses.weight_exp} makes a weight {worst}, outside {WEIGHT_MIN}..{WEIGHT_MAX}",
        )
    return numbers


def _check_signs(synapses: ChipSynapses, numbers: Ints) -> None:
    """The reader shifts weights up to the largest that fit. If none is above 0, -256 is clipped to -255."""
    least = -int(numbers.min())
    if numbers.max() <= 0 and least & (least - 1) == 0:
        _refuse(synapses, f"no weight is above 0 and the least is {-least}, which its reader makes -256 and clips")


def _matrix(synapses: ChipSynapses) -> Ints:
    rows, columns = synapses.weight.shape
    if rows * columns > MOST_WEIGHTS:
        _refuse(synapses, f"as a full matrix it has {rows * columns:,} weights, more than {MOST_WEIGHTS:,}")
    _whole(synapses)
    return w.dense(synapses.weight).astype(np.int64) << synapses.weight_exp


def _dense(population: ChipPopulation, synapses: ChipSynapses, loop: ChipSynapses | None) -> dict[str, Any]:
    matrix = _matrix(synapses)
    _check_signs(synapses, matrix)
    layer: dict[str, Any] = {"type": "dense", "weight": matrix.astype(np.int32)}
    late = synapses.delay - 1
    if late > DELAY_MAX - 1:
        _refuse(synapses, f"its delay is {synapses.delay}; expected at most {DELAY_MAX}")
    if loop is not None:
        if late:
            _refuse(
                synapses, f"its delay is {synapses.delay} into {population.name!r} with a loop, which would get it too"
            )
        again = _matrix(loop)
        _check_signs(loop, again)
        layer |= {"type": "dense_rec", "weight_rec": again.astype(np.int32)}
    elif late:
        layer["delay"] = np.full(population.size, late, np.int32)
    return layer


def _convolution(population: ChipPopulation, synapses: ChipSynapses, loop: ChipSynapses | None) -> dict[str, Any]:
    conv = synapses.weight
    assert isinstance(conv, Conv)
    if loop is not None:
        _refuse(loop, f"it is a loop of {population.name!r}, whose layer is a convolution")
    if synapses.delay != 1:
        _refuse(synapses, f"its delay is {synapses.delay}, and lava-dl's reader leaves out delays of convolutions")
    sizes = zip(
        conv.input_shape[1:],
        conv.padding,
        conv.dilation,
        conv.kernel.shape[2:],
        conv.stride,
        conv.output_shape[1:],
        strict=True,
    )
    if any((n + 2 * p - d * (k - 1) - 1) // s + 1 != out for n, p, d, k, s, out in sizes):
        _refuse(synapses, f"it pads to {list(conv.output_shape)}, not alike on both sides")
    return {
        "type": "conv",
        "weight": _whole(synapses).astype(np.int32),
        "stride": list(conv.stride),
        "padding": list(conv.padding),
        "dilation": list(conv.dilation),
        "groups": conv.groups,
    }


def _for_layer(population: ChipPopulation, what: str, numbers: npt.NDArray[Any], channels: int | None) -> Any:
    """One number if all are alike; else one per neuron, or per channel of an image."""
    if (numbers == numbers[0]).all():
        return int(numbers[0])
    if channels is None:
        return numbers.astype(np.int32)
    of_channel = numbers.reshape(channels, -1)
    if (of_channel != of_channel[:, :1]).any():
        _refuse(population, f"{what} differs between neurons of a channel")
    return of_channel[:, 0].astype(np.int32)


def _neurons(population: ChipPopulation, channels: int | None) -> dict[str, Any]:
    threshold = population.v_threshold if population.kind == "lif" else np.full(population.size, NEVER, np.int32)
    return {
        "type": "CUBA",
        "iDecay": _for_layer(population, "du", np.minimum(population.du + 1, FULL_DECAY), channels),
        "vDecay": _for_layer(population, "dv", population.dv, channels),
        "vThMant": _for_layer(population, "v_threshold", threshold, channels),
        "refDelay": 1,
        "gradedSpike": False,
    }


def _bias(population: ChipPopulation, channels: int | None) -> Any:
    bias = population.bias.astype(np.int64)
    if (bias % (1 << SHIFT)).any():
        odd = bias[bias % (1 << SHIFT) != 0][0]
        _refuse(population, f"a bias adds {odd} to the membrane, no multiple of {1 << SHIFT} (its exponent is {SHIFT})")
    mantissa = bias >> SHIFT
    low, high, _ = REGISTERS["bias_mant"]
    if mantissa.min() < low or mantissa.max() > high:
        worst = mantissa[np.abs(mantissa).argmax()]
        _refuse(population, f"its bias {worst} in units of {1 << SHIFT} is outside {low}..{high}")
    found = _for_layer(population, "bias", mantissa, channels)
    return np.full(channels or population.size, found, np.int32) if isinstance(found, int) else found


def _resets(populations: Sequence[ChipPopulation]) -> dict[str, int]:
    """What the reader is told of resets: it resets every layer, each a tick after the one before it."""
    intervals = {p.reset_interval for p in populations if p.reset_interval}
    if not intervals:
        return {}
    interval = min(intervals)
    for place, p in enumerate(populations, _RESET_OFFSET):
        # Before its one reset, a population that is not reset has heard nothing, so a reset there changes nothing.
        if p.reset_interval not in (interval, 0 if interval == ONCE else interval):
            _refuse(p, f"it is reset every {p.reset_interval} ticks (0: never), and other populations every {interval}")
        if p.reset_interval and p.reset_offset != place % interval:
            _refuse(p, f"it is reset in tick {p.reset_offset}, and lava-dl's reader resets it in {place % interval}")
    return {"reset_interval": interval, "reset_offset": _RESET_OFFSET}
