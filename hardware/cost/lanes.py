"""Arithmetic on the ticks of a block, side by side in the registers of the processor.

Each function works on `LANES` numbers of float64 from some index of an array on. LLVM makes no vectors of such loops by
itself where arrays could overlap.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

LANES = 16
_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
_WORDS = ir.VectorType(ir.IntType(64), LANES)
_INDEX = ir.IntType(32)
_TWO_52 = 0x4330000000000000  # 2^52 in float64: its lowest bits hold a whole number


def _data(context: Any, builder: Any, signature: Any, arguments: Any, i: int) -> Any:
    return make_array(signature.args[i])(context, builder, arguments[i]).data


def _place(builder: Any, data: Any, index: Any, kind: Any = _DOUBLES) -> Any:
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


def _load(builder: Any, data: Any, index: Any, kind: Any = _DOUBLES) -> Any:
    return builder.load(_place(builder, data, index, kind), align=8)


def _spread(builder: Any, number: Any, kind: Any = _DOUBLES) -> Any:
    nothing = ir.Constant(kind, ir.Undefined)
    places = ir.Constant(ir.VectorType(_INDEX, LANES), None)
    return builder.shuffle_vector(builder.insert_element(nothing, number, _INDEX(0)), nothing, places)


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _folded(builder: Any, vector: Any, join: Any) -> Any:
    """All lanes joined to one number."""
    nothing, half = ir.Constant(_DOUBLES, ir.Undefined), LANES // 2
    while half:
        places = [(i + half) % LANES for i in range(LANES)]
        moved = builder.shuffle_vector(vector, nothing, ir.Constant(ir.VectorType(_INDEX, LANES), places))
        vector = join(builder, vector, moved)
        half //= 2
    return builder.extract_element(vector, _INDEX(0))


def _counter(module: Any) -> Any:
    """LLVM's function that counts the bits of words."""
    name = f"llvm.ctpop.v{LANES}i64"
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(_WORDS, [_WORDS]), name)


def _summing(_context, start, first, end, offset, moving, number, at, values, to, place):  # type: ignore[no-untyped-def]
    """to[place] = start + the sum over j of number[j] * values[offset[j] + moving[j] * at], j from `first` to `end`."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        offsets, movings, numbers, values, to = (
            _data(context, builder, signature, arguments, i) for i in (3, 4, 5, 7, 8)
        )
        first, end, at = arguments[1], arguments[2], arguments[6]
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        begun = _spread(builder, arguments[0])
        builder.cbranch(builder.icmp_signed("<", first, end), loop, after)

        builder.position_at_end(loop)
        j, total = builder.phi(first.type), builder.phi(_DOUBLES)
        offset, moving, factor = (builder.load(builder.gep(array, [j])) for array in (offsets, movings, numbers))
        index = builder.add(offset, builder.mul(moving, at))
        added = builder.fadd(total, builder.fmul(_spread(builder, factor), _load(builder, values, index)))
        following = builder.add(j, first.type(1))
        for phi, initial, new in ((j, first, following), (total, begun, added)):
            phi.add_incoming(initial, before)
            phi.add_incoming(new, loop)
        builder.cbranch(builder.icmp_signed("<", following, end), loop, after)

        builder.position_at_end(after)
        result = builder.phi(_DOUBLES)
        result.add_incoming(begun, before)
        result.add_incoming(added, loop)
        builder.store(result, _place(builder, to, arguments[9]), align=8)
        return context.get_dummy_value()

    return types.void(start, first, end, offset, moving, number, at, values, to, place), generate


def _adding(_context, to, i, factor, values, j):  # type: ignore[no-untyped-def]
    """to[i] += factor * values[j]"""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        to, values = (_data(context, builder, signature, arguments, k) for k in (0, 3))
        product = builder.fmul(_spread(builder, arguments[2]), _load(builder, values, arguments[4]))
        total = builder.fadd(_load(builder, to, arguments[1]), product)
        builder.store(total, _place(builder, to, arguments[1]), align=8)
        return context.get_dummy_value()

    return types.void(to, i, factor, values, j), generate


def _raising(_context, peaks, k, values, i, factor, others, j):  # type: ignore[no-untyped-def]
    """peaks[k] = the larger of peaks[k] and values[i] + factor * others[j]"""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        peaks, values, others = (_data(context, builder, signature, arguments, n) for n in (0, 2, 5))
        product = builder.fmul(_spread(builder, arguments[4]), _load(builder, others, arguments[6]))
        found = builder.fadd(_load(builder, values, arguments[3]), product)
        best = _larger(builder, found, _load(builder, peaks, arguments[1]))
        builder.store(best, _place(builder, peaks, arguments[1]), align=8)
        return context.get_dummy_value()

    return types.void(peaks, k, values, i, factor, others, j), generate


def _reaching(_context, values, i, slack, peaks, k, share):  # type: ignore[no-untyped-def]
    """Whether values[i] + slack is at least share * peaks[k] in any lane."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        values, peaks = (_data(context, builder, signature, arguments, n) for n in (0, 3))
        bound = builder.fmul(_spread(builder, arguments[5]), _load(builder, peaks, arguments[4]))
        most = builder.fadd(_load(builder, values, arguments[1]), _spread(builder, arguments[2]))
        reached = builder.fcmp_ordered(">=", most, bound)
        return builder.icmp_unsigned("!=", builder.bitcast(reached, ir.IntType(LANES)), ir.IntType(LANES)(0))

    return types.boolean(values, i, slack, peaks, k, share), generate


def _replacing(_context, times, i, side_by_side, peaks, k, slowest, column):  # type: ignore[no-untyped-def]
    """Where a core is slower than the slowest one so far: its time, its three parts, and its column.

    Its parts, those of synapses, neurons and spikes, are the rows of `times` from `i` on; its time is written behind
    the seventh: the sum of all three, or, side by side, that of the last two. `peaks` has a time and three parts.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        times, peaks, slowest = (_data(context, builder, signature, arguments, n) for n in (0, 3, 5))
        row = [builder.add(arguments[1], arguments[1].type(n * LANES)) for n in range(8)]
        kept = [builder.add(arguments[4], arguments[4].type(n * LANES)) for n in range(4)]
        synapses, neurons, spikes = (_load(builder, times, row[n]) for n in range(3))
        none = ir.Constant(_DOUBLES, [0.0] * LANES)
        others = builder.fadd(neurons, spikes)
        whole = builder.fadd(builder.fadd(synapses, neurons), spikes)
        apart = _spread(builder, arguments[2], ir.VectorType(ir.IntType(1), LANES))
        builder.store(builder.select(apart, others, whole), _place(builder, times, row[7]), align=8)
        ahead = builder.fcmp_ordered(">", synapses, others)
        of_synapses = builder.and_(apart, builder.not_(ahead))  # these wait for the others
        of_others = builder.and_(apart, ahead)
        parts = [
            builder.select(of_synapses, none, synapses),
            builder.select(of_others, none, neurons),
            builder.select(of_others, none, spikes),
        ]
        time = builder.select(apart, _larger(builder, synapses, others), whole)
        more = builder.fcmp_ordered(">", time, _load(builder, peaks, kept[0]))
        for place, found in zip(kept, (time, *parts), strict=True):
            builder.store(
                builder.select(more, found, _load(builder, peaks, place)), _place(builder, peaks, place), align=8
            )
        at = arguments[4].type(0)
        columns = builder.select(more, _spread(builder, arguments[6], _WORDS), _load(builder, slowest, at, _WORDS))
        builder.store(columns, _place(builder, slowest, at, _WORDS), align=8)
        return context.get_dummy_value()

    return types.void(times, i, side_by_side, peaks, k, slowest, column), generate


def _ending(_context, peaks, k, transit, sends, barrier, floor, inside):  # type: ignore[no-untyped-def]
    """The sum and the largest of peaks[k] + transit * sends + barrier, but at least the floor, each times `inside`."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        peaks, sends, inside = (_data(context, builder, signature, arguments, n) for n in (0, 3, 6))
        first = arguments[1].type(0)
        mesh = builder.fmul(_spread(builder, arguments[2]), _load(builder, sends, first))
        time = builder.fadd(builder.fadd(_load(builder, peaks, arguments[1]), mesh), _spread(builder, arguments[4]))
        time = _larger(builder, time, _spread(builder, arguments[5]))
        time = builder.fmul(time, _load(builder, inside, first))
        total = _folded(builder, time, lambda builder, a, b: builder.fadd(a, b))
        return context.make_tuple(builder, signature.return_type, [total, _folded(builder, time, _larger)])

    return types.UniTuple(types.float64, 2)(peaks, k, transit, sends, barrier, floor, inside), generate


def _tallying(_context, first, end, word, mask, words, stride, at, to, place):  # type: ignore[no-untyped-def]
    """to[place] = how many bits are set of words[word[p] * stride + at] & mask[p], for p from `first` to `end`."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        word, mask, words, to = (_data(context, builder, signature, arguments, n) for n in (2, 3, 4, 7))
        first, end, stride, at = (arguments[n] for n in (0, 1, 5, 6))
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        none = ir.Constant(_WORDS, None)
        builder.cbranch(builder.icmp_signed("<", first, end), loop, after)

        builder.position_at_end(loop)
        p, total = builder.phi(first.type), builder.phi(_WORDS)
        index = builder.add(builder.mul(builder.load(builder.gep(word, [p])), stride), at)
        bits = _spread(builder, builder.load(builder.gep(mask, [p])), _WORDS)
        found = builder.call(_counter(builder.module), [builder.and_(bits, _load(builder, words, index, _WORDS))])
        added = builder.add(total, found)
        following = builder.add(p, first.type(1))
        for phi, initial, new in ((p, first, following), (total, none, added)):
            phi.add_incoming(initial, before)
            phi.add_incoming(new, loop)
        builder.cbranch(builder.icmp_signed("<", following, end), loop, after)

        builder.position_at_end(after)
        result = builder.phi(_WORDS)
        result.add_incoming(none, before)
        result.add_incoming(added, loop)
        large = ir.Constant(_WORDS, [_TWO_52] * LANES)
        number = builder.fsub(
            builder.bitcast(builder.or_(result, large), _DOUBLES), ir.Constant(_DOUBLES, [float(2**52)] * LANES)
        )
        builder.store(number, _place(builder, to, arguments[8]), align=8)
        return context.get_dummy_value()

    return types.void(first, end, word, mask, words, stride, at, to, place), generate


sum_terms: Any = intrinsic(_summing)
add: Any = intrinsic(_adding)
raise_peak: Any = intrinsic(_raising)
reaches: Any = intrinsic(_reaching)
replace_slowest: Any = intrinsic(_replacing)
end_ticks: Any = intrinsic(_ending)
tally: Any = intrinsic(_tallying)
