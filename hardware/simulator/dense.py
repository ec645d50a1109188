"""The simulator for GPUs: the same integers as `events.Simulator`, by matrix products in torch over all sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from muspike.errors import BadInput
from muspike.hardware import weights as w
from muspike.hardware.program import FULL_DECAY, SHIFT, STATE, WEIGHT_STEP, ChipPopulation, Program
from muspike.hardware.simulator.events import Run, as_inputs, check_batch, check_sums, words
from muspike.hardware.weights import Conv, Sparse, Weights

# Below this, float32 holds every multiple of a weight's step. So every partial sum is exact, in any order of adding.
_EXACT = WEIGHT_STEP * 2**24
_ACCUMULATOR = STATE["a_in"]
_V_MIN, _V_MAX = STATE["membrane"]
_U_MAX = STATE["current"][1]


class DenseSimulator:
    """The integer dynamics of a Program as `Simulator` computes them, for many sequences or much activity on a GPU.

    In each tick, every matrix is multiplied with the spikes of all sequences in one product, however many spikes there
    are. The product is in float32 if, for each target, the sum of the absolute weights, times the largest spike, is
    below 2^25. Weights are even, so below that no order of adding rounds. Otherwise the product is in float64. A
    convolution is a product with its unfolded input. Everything else is int32.

    The tests hold this simulator equal to `Simulator` in every s, u and v on a CPU. On a CPU, `Simulator` was at least
    3 times faster in everything that was measured (three layers of 256 and of 1,024, fully connected, 5 to 44 % of the
    neurons spiking, batches up to 512). So this one is for GPUs. It has not run on a GPU yet: there was none when it
    was written.

    Args:
        program: the program to run.
        batch: the number of sequences.
        device: "cpu", "cuda" or "cuda:<n>".

    Raises:
        BadInput: the batch is not a positive integer; torch has no such device.
    """

    def __init__(self, program: Program, batch: int = 1, device: str = "cpu") -> None:
        self.program = program
        self.batch = check_batch(batch)
        self.device = _device(device)
        neurons = [*(p for p in program.populations if p.kind == "lif"), *program.readouts]
        ends = np.cumsum([p.size for p in neurons], dtype=int).tolist()
        self._columns = {p.name: slice(end - p.size, end) for p, end in zip(neurons, ends, strict=True)}
        self._n = ends[-1] if ends else 0
        self._first_readout = self._n - sum(p.size for p in program.readouts)

        def parameter(of: Callable[[ChipPopulation], npt.NDArray[np.int32]]) -> Tensor:
            values = [np.zeros(0, np.int32), *(of(p) for p in neurons)]
            return torch.from_numpy(np.concatenate(values).astype(np.int32)).to(self.device)

        self._keep_u = parameter(lambda p: FULL_DECAY - np.minimum(p.du + 1, FULL_DECAY))
        self._keep_v = parameter(lambda p: FULL_DECAY - p.dv)
        self._bias = parameter(lambda p: p.bias)
        self._threshold = parameter(lambda p: p.v_threshold << SHIFT)
        self._resets = [(self._columns[p.name], p.reset_interval, p.reset_offset) for p in neurons if p.reset_interval]
        largest = {p.name: p.largest_spike for p in program.populations}
        self._synapses = [
            (
                s.source,
                self._columns[s.target],
                s.delay,
                s.weight_exp,
                _product(s.weight, largest[s.source], self.device),
            )
            for s in program.synapses
        ]
        self.reset()

    def reset(self) -> None:
        """Go back to silence before tick 0: every u, v and pending input is 0."""
        shape = self.batch, self._n
        self._u, self._v = (torch.zeros(shape, dtype=torch.int32, device=self.device) for _ in "uv")
        depth = self.program.max_delay + 1
        self._pending = torch.zeros((depth, *shape), dtype=torch.int32, device=self.device)
        self._tick = 0

    @torch.inference_mode()
    def run(
        self,
        inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record_membranes: bool = False,
        record_activity: bool = False,
    ) -> Run:
        """Run as `Simulator.run` does, with the same arguments. Records stay on the device until the run is over."""
        ticks, given = as_inputs(self.program, self.batch, inputs)
        check_sums(self.program, given)
        # torch has few operations on uint16.
        bits = {p.name: np.int32 if p.graded_bits else np.uint8 for p in self.program.inputs}
        host = {name: torch.from_numpy(np.array(array, bits[name])).to(self.device) for name, array in given.items()}
        first = {"u": 0, "v": 0} if record_membranes else {"u": self._n, "v": self._first_readout}

        def record(dtype: torch.dtype, start: int) -> Tensor:
            return torch.empty((ticks, self.batch, self._n - start), dtype=dtype, device=self.device)

        # Which states are not 0, before the first tick and after each one.
        moved = torch.zeros((ticks + 1, self.batch, self._n if record_activity else 0), dtype=torch.bool)
        moved = moved.to(self.device)
        if record_activity:
            moved[0] = (self._u | self._v) != 0
        fired, u, v = record(torch.uint8, 0), record(torch.int32, first["u"]), record(torch.int32, first["v"])
        overflows = torch.zeros(self._n, dtype=torch.int64, device=self.device)
        with _exact_products():
            for t in range(ticks):
                fired[t] = self._step({name: spikes[t] for name, spikes in host.items()}, overflows)
                u[t], v[t] = self._u[:, first["u"] :], self._v[:, first["v"] :]
                if record_activity:
                    moved[t + 1] = (self._u | self._v) != 0
        spikes, current, membrane = (x.cpu().numpy() for x in (fired, u, v))
        kinds = {p.name: p.kind for p in self.program.populations}

        def states(values: npt.NDArray[Any], start: int) -> dict[str, npt.NDArray[Any]]:
            at = {name: c for name, c in self._columns.items() if c.start >= start}
            return {name: values[:, :, c.start - start : c.stop - start] for name, c in at.items()}

        by_name = states(spikes, 0)
        active = states((moved[1:] | moved[:-1]).cpu().numpy(), 0) if record_activity else {}
        return Run(
            spikes={n: given[n] if kind == "input" else by_name[n] for n, kind in kinds.items() if kind != "li"},
            membrane=states(membrane, first["v"]),
            current=states(current, first["u"]),
            overflows={name: int(overflows[c].sum()) for name, c in self._columns.items()},
            readout_resets={p.name: int(by_name[p.name].sum()) for p in self.program.readouts},
            active={n: words(a | (by_name[n] != 0) if kinds[n] == "lif" else a) for n, a in active.items()},
        )

    def _step(self, given: Mapping[str, Tensor], overflows: Tensor) -> Tensor:
        """Compute one tick. Returns the spikes of all neurons, bool `[batch, neurons]`."""
        a = self._pending[self._tick % len(self._pending)]
        overflows += ((a < _ACCUMULATOR[0]) | (a > _ACCUMULATOR[1])).sum(0)
        for column, interval, offset in self._resets:
            if self._tick % interval == offset:
                self._u[:, column] = 0
                self._v[:, column] = 0
        u = _decayed(self._u, self._keep_u) + (a << SHIFT)
        u = u << 8 >> 8
        self._u = torch.where(u == -_U_MAX, _U_MAX, u)
        v = (_decayed(self._v, self._keep_v) + self._u + self._bias).clamp(_V_MIN, _V_MAX)
        fired = v > self._threshold
        self._v = v.masked_fill(fired, 0)
        a.zero_()
        for source, targets, delay, weight_exp, product in self._synapses:
            spikes = given[source] if source in given else fired[:, self._columns[source]]
            arriving = self._pending[(self._tick + delay) % len(self._pending), :, targets]
            arriving += product(spikes) << weight_exp
        self._tick += 1
        return fired


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise BadInput(f"simulator: device is {name!r}: {str(error).splitlines()[0]}") from error
    return device


@contextmanager
def _exact_products() -> Iterator[None]:
    """Turn TensorFloat-32 off for a while: its sums are less exact than float32's."""
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed


def _decayed(x: Tensor, keep: Tensor) -> Tensor:
    # sign(x) * ((|x| * keep) >> 12) within 32 bits: |x| is 4096 high + low, and only low * keep is rounded.
    magnitude = x.abs()
    return ((magnitude >> 12) * keep + ((magnitude & 4095) * keep >> 12)) * x.sign()


def _product(weight: Weights, largest_spike: int, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The function from spikes `[batch, source]` to int32 sums `[batch, target]`."""
    largest = w.applied(w.astype(_magnitudes(weight), np.float64), np.ones((1, weight.shape[1]))).max()
    dtype = torch.float32 if largest * largest_spike < _EXACT else torch.float64
    make = _convolution if isinstance(weight, Conv) else _lists if isinstance(weight, Sparse) else _matrix
    sums = make(weight, dtype, device)  # type: ignore[arg-type]
    return lambda spikes: sums(spikes.to(dtype)).to(torch.int32)


def _magnitudes(weight: Weights) -> Weights:
    return w.with_values(weight, np.abs(w.values(weight)))


def _matrix(weight: npt.NDArray[Any], dtype: torch.dtype, device: torch.device) -> Callable[[Tensor], Tensor]:
    columns = torch.from_numpy(weight.T.copy()).to(device, dtype)
    return lambda spikes: spikes @ columns


def _lists(weight: Sparse, dtype: torch.dtype, device: torch.device) -> Callable[[Tensor], Tensor]:
    places = torch.from_numpy(np.stack([weight.targets.astype(np.int64), weight.sources]))
    matrix = torch.sparse_coo_tensor(
        places, torch.from_numpy(weight.values.copy()), weight.shape, check_invariants=True
    )
    matrix = matrix.to(device, dtype).coalesce()
    return lambda spikes: torch.sparse.mm(matrix, spikes.T).T


def _convolution(weight: Conv, dtype: torch.dtype, device: torch.device) -> Callable[[Tensor], Tensor]:
    c_out, g_in, *_ = weight.kernel.shape
    taps = weight.kernel.shape[2:]
    kernel = torch.from_numpy(weight.kernel.reshape(weight.groups, c_out // weight.groups, -1).copy())
    kernel = kernel.to(device, dtype)
    borders: list[int] = []  # in F.pad's order: before x, behind x, before y, behind y
    heard: list[int] = []
    for axis in (1, 0):
        reach = (weight.output_shape[axis + 1] - 1) * weight.stride[axis] + weight.dilation[axis] * (taps[axis] - 1) + 1
        before = weight.padding[axis]
        borders += [before, max(reach - before - weight.input_shape[axis + 1], 0)]
        heard.append(reach)

    def sums(spikes: Tensor) -> Tensor:
        # What no output hears is cut off behind; F.pad cuts off no more than the input itself has.
        maps = F.pad(spikes.reshape(-1, *weight.input_shape), borders)[..., : heard[1], : heard[0]]
        patches = F.unfold(maps, taps, dilation=weight.dilation, stride=weight.stride)
        grouped = patches.reshape(len(spikes), weight.groups, g_in * taps[0] * taps[1], -1)
        return torch.matmul(kernel, grouped).reshape(len(spikes), -1)

    return sums
