"""A chip's integer program as an ONNX graph: a Scan over chip ticks in standard integer operators.

Every number is an integer, so every execution gives the same u, v and spikes. They are those of the simulator.

    inputs      <input>                     uint8 [ticks, batch, size]   spikes (uint16 if the input is graded)
                past.tick                   int64 [1]                    ticks since the start
                past.<population>.u, .v     int32 [batch, size]          current and membrane
                past.<population>.spikes    uint8 [delay, batch, size]   the latest spikes, oldest first
    outputs     spikes.<population>         uint8 [ticks, batch, size]
                membrane.<readout>          int32 [ticks, batch, size]   v of the populations that the host reads
                present.tick, ...                                        the state after the last tick, as in `past`

At the start, all of `past` is 0. The dynamics are those of `hardware.program`:

    a = sum over synapses of (weight @ spikes[t - delay]) << weight_exp
    u = wrap24(dec(u, min(du + 1, 4096)) + (a << 6))
    v = clip(dec(v, dv) + u + bias, -(2^23) + 1, 2^23 - 1)
    s = v > (v_threshold << 6);  v = 0 where s                dec(x, d) = sign(x) * ((|x| * (4096 - d)) >> 12)

ONNX shifts only numbers without a sign. So `|x| * (4096 - d)` is divided by 4096 in int64, which is the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.export.onnx_graph import CLOCK, Builder, Integers, tensor
from muspike.hardware.graph import by_end
from muspike.hardware.program import FULL_DECAY, SHIFT, STATE, ChipPopulation, Program

BATCH, TICKS = "batch", "ticks"


def chip_graph(program: Program) -> tuple[Any, dict[str, Any]]:
    """The graph of a program, and what muspike has to know about it.

    Raises:
        BadInput: the program has no input or no neurons, or a matrix is too large.
    """
    if not program.n_neurons:
        raise BadInput("program: has no population of neurons, so there is nothing to run")
    outer = Builder()
    to = Builder(outer)
    into, out_of = by_end(program.synapses, "target"), by_end(program.synapses, "source")
    state: dict[str, tuple[str, tuple[int | str, ...]]] = {"tick": ("int64", (1,))}
    for p in program.populations:
        if p.kind != "input":
            state |= {f"{p.name}.u": ("int32", (BATCH, p.size)), f"{p.name}.v": ("int32", (BATCH, p.size))}
        if longest := max((s.delay for s in out_of[p.name]), default=0):
            state[f"{p.name}.spikes"] = _spikes(p), (longest, BATCH, p.size)
    # A network without input is driven by its biases. An input without axons says how many ticks it runs.
    inputs = {p.name: (_spikes(p), p.size) for p in program.inputs} or {CLOCK: ("uint8", 0)}
    names = list(inputs)
    names += [f"spikes.{p.name}" if p.kind == "lif" else f"membrane.{p.name}" for p in program.populations]
    names += [f"{when}.{name}" for name in state for when in ("past", "present")]
    to.reserve([*names, *(f"step.{name}" for name in names)])
    after = {"tick": to.add("Add", "step.past.tick", to.constant([1], np.int64), name="next tick")}
    outputs: list[tuple[str, str, tuple[int | str, ...]]] = []
    axis = to.constant([0], np.int64)
    for p in program.populations:
        fired = f"step.{p.name}"
        if p.kind != "input":
            arriving = None
            for s in into[p.name]:
                source = program.population(s.source)
                kept = max(other.delay for other in out_of[s.source])
                late = to.slots(f"step.past.{s.source}.spikes", [kept - s.delay], f"{s.name}.late")
                if source.graded_bits:
                    late = to.cast(late, "int32")
                brought = to.product(late, s.weight, s.name, Integers(graded=bool(source.graded_bits)))
                if s.weight_exp:
                    brought = to.add("Mul", brought, to.constant(1 << s.weight_exp, np.int32), name=f"{s.name}.shifted")
                arriving = brought if arriving is None else to.add("Add", arriving, brought, name=f"{p.name}.sum")
            u, v, spiked = _moved(
                to, p, None if arriving is None else to.add("Squeeze", arriving, axis, name=f"{p.name}.a")
            )
            after |= {f"{p.name}.u": to.cast(u, "int32"), f"{p.name}.v": to.cast(v, "int32")}
            if p.kind == "li":
                to.called(f"step.membrane.{p.name}", after[f"{p.name}.v"])
                outputs.append((f"membrane.{p.name}", "int32", (BATCH, p.size)))
            else:
                fired = to.cast(spiked, "uint8")
                to.called(f"step.spikes.{p.name}", fired)
                outputs.append((f"spikes.{p.name}", "uint8", (BATCH, p.size)))
        if f"{p.name}.spikes" in state:
            kept = int(state[f"{p.name}.spikes"][1][0])
            newest = to.add("Unsqueeze", fired, axis, name=f"{p.name}.newest")
            if kept > 1:
                older = to.slots(f"step.past.{p.name}.spikes", list(range(1, kept)), f"{p.name}.older")
                newest = to.add("Concat", older, newest, axis=0, name=f"{p.name}.kept")
            after[f"{p.name}.spikes"] = newest
    for name, value in after.items():
        to.called(f"step.present.{name}", value)
    takes = [tensor(f"step.past.{name}", *about) for name, about in state.items()]
    gives = [tensor(f"step.present.{name}", *about) for name, about in state.items()]
    shown = [tensor(f"step.{name}", dtype, (BATCH, size)) for name, (dtype, size) in inputs.items()]
    told = [tensor(f"step.{name}", dtype, axes) for name, dtype, axes in outputs]
    body = to.graph("tick", [*takes, *shown], [*gives, *told])
    past, present = ([f"{which}.{name}" for name in state] for which in ("past", "present"))
    outer.scan(body, [*past, *inputs], [*present, *(name for name, _, _ in outputs)], len(inputs))
    graph = outer.graph(
        "chip",
        [
            *(tensor(name, dtype, (TICKS, BATCH, size)) for name, (dtype, size) in inputs.items()),
            *(tensor(f"past.{name}", *about) for name, about in state.items()),
        ],
        [
            *(tensor(name, dtype, (TICKS, *axes)) for name, dtype, axes in outputs),
            *(tensor(f"present.{name}", *about) for name, about in state.items()),
        ],
    )
    about: dict[str, Any] = {
        "form": "chip",
        "chip": program.chip,
        "dt_s": program.dt_s,
        "inputs": {name: size for name, (_, size) in inputs.items()},
        "state": {name: [dtype, list(shape)] for name, (dtype, shape) in state.items()},
        "program": program.digest,
        "levels": {p.name: p.level for p in program.populations},
    }
    if len(program.readouts) == 1:
        (readout,) = program.readouts
        about["readout"] = {"name": readout.name, "level": readout.level, "scale": readout.scale.tolist()}
    return graph, about


def _spikes(p: ChipPopulation) -> str:
    return "uint16" if p.graded_bits else "uint8"


def _moved(to: Builder, p: ChipPopulation, arriving: str | None) -> tuple[str, str, str]:
    """u and v after a tick, int64 `[batch, size]`, and which neurons spiked."""

    def held(values: Any) -> str:
        array = np.asarray(values, np.int64)
        return to.constant(array.flat[0] if (array == array.flat[0]).all() else array, np.int64)

    u, v = (to.cast(f"step.past.{p.name}.{part}", "int64") for part in "uv")
    if p.reset_interval:
        phase = to.add("Mod", "step.past.tick", held(p.reset_interval), name=f"{p.name}.phase")
        reset = to.add("Equal", phase, held(p.reset_offset), name=f"{p.name}.reset")
        u, v = (to.add("Where", reset, held(0), x, name=f"{p.name}.reset.{part}") for part, x in (("u", u), ("v", v)))
    u = _decayed(to, u, np.minimum(p.du.astype(np.int64) + 1, FULL_DECAY), f"{p.name}.u")
    if arriving is not None:
        wide = to.add("Mul", to.cast(arriving, "int64"), held(1 << SHIFT), name=f"{p.name}.arriving")
        u = to.add("Add", u, wide, name=f"{p.name}.u")
    low, high = STATE["current"]
    moved = to.add("Sub", u, held(low), name=f"{p.name}.u.from_low")
    u = to.add(
        "Add", to.add("Mod", moved, held(high - low + 1), name=f"{p.name}.u.wrapped"), held(low), name=f"{p.name}.u"
    )
    v = to.add("Add", _decayed(to, v, p.dv.astype(np.int64), f"{p.name}.v"), u, name=f"{p.name}.v")
    if p.bias.any():
        v = to.add("Add", v, held(p.bias), name=f"{p.name}.v.biased")
    v = to.add("Clip", v, *(held(bound) for bound in STATE["membrane"]), name=f"{p.name}.v.clipped")
    spiked = to.add("Greater", v, held(p.v_threshold.astype(np.int64) << SHIFT), name=f"{p.name}.above")
    return u, to.add("Where", spiked, held(0), v, name=f"{p.name}.v.after"), spiked


def _decayed(to: Builder, x: str, decay: npt.NDArray[np.int64], name: str) -> str:
    kept = FULL_DECAY - decay
    if (kept == FULL_DECAY).all():
        return x
    by = to.constant(kept.flat[0] if (kept == kept.flat[0]).all() else kept, np.int64)
    size = to.add("Mul", to.add("Abs", x, name=f"{name}.size"), by, name=f"{name}.scaled")
    size = to.add("Div", size, to.constant(FULL_DECAY, np.int64), name=f"{name}.decayed")
    return to.add("Mul", to.add("Sign", x, name=f"{name}.sign"), size, name=f"{name}.signed")
