"""The fast training path: a population of LIF neurons over a whole sequence as one differentiable function.

On the CPU, the products of spikes and weights visit only the spikes, which are few. This holds for the forward pass and
for the gradient of the weights; only the gradient of the spikes needs a dense product. On CUDA, all products are dense
and one kernel scans the slots. `lif_layer_reference` defines the result, in plain torch, on any device.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch

from muspike import kernels_cpu
from muspike.neurons import Clock, LIFParameters, lif_scan_reference


class Gather(NamedTuple):
    """Current from tokens, each of which spikes on at most k axons while it is presented.

    Attributes:
        axons: `[tokens, batch, k]`, int64: the axons on which a token spikes; a negative number is no axon.
        weight: `[neurons, number of axons]`.
        delay: tokens after which the current arrives.
    """

    axons: torch.Tensor
    weight: torch.Tensor
    delay: int = 0


class Source(NamedTuple):
    """Current from the spikes of another population.

    Attributes:
        spikes: `[time, batch, sources]`.
        weight: `[neurons, sources]`.
        delay: slots after which the current arrives.
        kept: `[batch, sources]`, bool: the sources that are heard. None: all are heard.
    """

    spikes: torch.Tensor
    weight: torch.Tensor
    delay: int = 0
    kept: torch.Tensor | None = None


class Loop(NamedTuple):
    """Current from the neurons' own spikes through `weight` `[neurons, neurons]`, `delay` slots later (at least 1)."""

    weight: torch.Tensor
    delay: int


class Kernels(Protocol):
    """The functions that compute a layer on one kind of device, forward and backward.

    Tensors are float32, contiguous and `[time, batch, neurons]`. Weights are `[target, source]`, not always contiguous.
    `rate` is 1 / tau.
    """

    def add_gathered(
        self, out: torch.Tensor, axons: torch.Tensor, weight: torch.Tensor, clock: Clock, delay: int
    ) -> None:
        """Add the current of a `Gather` to `out`."""

    def gathered_gradient(
        self, axons: torch.Tensor, weight: torch.Tensor, grad: torch.Tensor, clock: Clock, delay: int
    ) -> torch.Tensor:
        """The gradient of a `Gather`'s weight. `grad` is the gradient of the current."""

    def add_product(
        self, out: torch.Tensor, spikes: torch.Tensor, kept: torch.Tensor | None, weight: torch.Tensor, delay: int
    ) -> None:
        """Add the current of a `Source` to `out`."""

    def product_gradient(
        self, spikes: torch.Tensor, kept: torch.Tensor | None, grad: torch.Tensor, delay: int
    ) -> torch.Tensor:
        """The gradient of a `Source`'s weight. `grad` is the gradient of the current."""

    def scan(
        self,
        membrane: torch.Tensor,
        spikes: torch.Tensor,
        rate: torch.Tensor,
        threshold: torch.Tensor,
        clock: Clock,
        weights: Sequence[torch.Tensor],
        delays: Sequence[int],
    ) -> None:
        """Run LIF neurons, with their loops, over all time.

        `membrane` holds the current and is overwritten with the membrane before each reset. `spikes` is written.
        """

    def scan_gradient(
        self,
        grad: torch.Tensor,
        membrane: torch.Tensor,
        rate: torch.Tensor,
        threshold: torch.Tensor,
        idle_decay: torch.Tensor,
        alpha: float,
        carry: torch.Tensor,
        clock: Clock,
        start: int,
        stop: int,
    ) -> None:
        """Run the adjoint of `scan`, without the loops, over the slots `start..stop`.

        `grad` holds the gradient of the spikes and is overwritten with the gradient of the current. `carry`
        `[batch, neurons]` holds the gradient of the membrane after slot `stop - 1` and is overwritten with the gradient
        of the membrane after slot `start - 1`. `idle_decay` is the factor by which a membrane decays in a token's idle
        ticks.
        """

    def leaky_answers(self, out: torch.Tensor, drive: torch.Tensor, rate: float, clock: Clock) -> None:
        """Write the membranes of leaky integrators in the last presented slot of every token to `out`."""

    def leaky_answers_gradient(self, into: torch.Tensor, grad: torch.Tensor, rate: float, clock: Clock) -> None:
        """Run the adjoint of `leaky_answers`: write the gradient of the drive to `into`."""


@functools.cache
def on_cuda(module: str) -> Any:
    """The module of that name, whose kernels are in Triton; None, with a warning, where there is no Triton."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name != "triton":
            raise
        message = "no module triton, so spiking layers run on CUDA slot by slot in plain torch, which is slow"
        warnings.warn(message, stacklevel=2)
        return None


_KERNELS: dict[str, Callable[[], Kernels | None]] = {
    "cpu": lambda: kernels_cpu,
    "cuda": lambda: on_cuda("muspike.kernels_cuda"),
}


def _kernels_for(device: torch.device) -> Kernels | None:
    """The kernels for `device`. None if there are none: then plain torch computes the layer."""
    return _KERNELS.get(device.type, lambda: None)()


def lif_layer(
    p: LIFParameters,
    clock: Clock,
    shape: tuple[int, int, int],
    gathers: Sequence[Gather] = (),
    sources: Sequence[Source] = (),
    loops: Sequence[Loop] = (),
    current: torch.Tensor | None = None,
    low_precision: bool = False,
) -> torch.Tensor:
    """Spikes `[time, batch, neurons]` of LIF neurons that receive the sum of all given currents.

    The result equals `lif_layer_reference`, forward and backward, up to the order of sums.

    Args:
        p: `tau` and `v_threshold` of the neurons, and the slope of the surrogate gradient.
        clock: the slots and idle ticks of a token.
        shape: (time in slots, batch, neurons), the shape of the result.
        gathers: currents from tokens.
        sources: currents from the spikes of other populations.
        loops: currents from the neurons' own spikes.
        current: `[time, batch, neurons]`, a current that is added.
        low_precision: compute the dense products of the backward pass in bfloat16, which is several times faster if the
            processor supports it. The forward pass is always float32.
    """
    kernels = _kernels_for(p.tau.device)
    if kernels is None:
        return lif_layer_reference(p, clock, shape, gathers, sources, loops, current)
    spec = _Spec(
        kernels,
        p.alpha,
        clock,
        shape,
        tuple(g.delay for g in gathers),
        tuple(s.delay for s in sources),
        tuple(r.delay for r in loops),
        tuple(s.kept for s in sources),
        low_precision,
    )
    neurons = shape[2]
    rate = (1.0 / p.tau).to(torch.float32).expand(neurons).contiguous()
    threshold = p.v_threshold.to(torch.float32).expand(neurons).contiguous()
    tensors = [x for part in (gathers, sources) for item in part for x in item[:2]]
    spikes: torch.Tensor = _LIFLayer.apply(  # type: ignore[no-untyped-call]
        spec, rate, threshold, current, *tensors, *(loop.weight for loop in loops)
    )
    return spikes


def drive(
    clock: Clock,
    shape: tuple[int, int, int],
    gathers: Sequence[Gather] = (),
    sources: Sequence[Source] = (),
    current: torch.Tensor | None = None,
    low_precision: bool = False,
) -> torch.Tensor:
    """The sum `[time, batch, neurons]` of all given currents. The arguments are those of `lif_layer`."""
    tensors = [x for part in (gathers, sources) for item in part for x in item[:2]]
    if not tensors:
        return torch.zeros(shape) if current is None else current
    kernels = _kernels_for(tensors[-1].device)
    if kernels is None:
        return drive_reference(clock, shape, gathers, sources, current)
    delays = tuple(g.delay for g in gathers), tuple(s.delay for s in sources)
    spec = _Spec(kernels, 0.0, clock, shape, *delays, (), tuple(s.kept for s in sources), low_precision)
    total: torch.Tensor = _Drive.apply(spec, current, *tensors)  # type: ignore[no-untyped-call]
    return total


def drive_reference(
    clock: Clock,
    shape: tuple[int, int, int],
    gathers: Sequence[Gather] = (),
    sources: Sequence[Source] = (),
    current: torch.Tensor | None = None,
) -> torch.Tensor:
    """`drive` in plain torch."""
    parts = [] if current is None else [current]
    for gather in gathers:
        rows = gather.weight.t()[gather.axons.clamp(min=0)]  # [tokens, batch, k, neurons]
        rows = (rows * (gather.axons >= 0)[..., None]).sum(-2)  # [tokens, batch, neurons]
        held = rows[:, None].expand(-1, clock.presented, -1, -1)
        held = torch.nn.functional.pad(held, (0, 0, 0, 0, 0, clock.slots - clock.presented))
        parts.append(later(held, gather.delay).reshape(shape))
    for source in sources:
        heard = source.spikes if source.kept is None else source.spikes * source.kept
        parts.append(later(heard, source.delay) @ source.weight.t())
    return torch.stack(parts).sum(0)


def lif_layer_reference(
    p: LIFParameters,
    clock: Clock,
    shape: tuple[int, int, int],
    gathers: Sequence[Gather] = (),
    sources: Sequence[Source] = (),
    loops: Sequence[Loop] = (),
    current: torch.Tensor | None = None,
) -> torch.Tensor:
    """`lif_layer` in plain torch."""
    total = drive_reference(clock, shape, gathers, sources, current)
    recurrent = [(loop.delay, loop.weight) for loop in loops]
    return lif_scan_reference(total, p, slots=clock.slots, idle=clock.idle, recurrent=recurrent)


def split(values: torch.Tensor, dim: int, *sizes: int) -> torch.Tensor:
    """`values` with dimension `dim` split into dimensions of the given sizes."""
    unflattened: torch.Tensor = values.unflatten(dim, sizes)  # type: ignore[no-untyped-call]
    return unflattened


def later(values: torch.Tensor, steps: int) -> torch.Tensor:
    """`values` shifted by `steps` along the first axis, with zeros in front. The shape stays the same."""
    if steps == 0:
        return values
    return torch.cat([torch.zeros_like(values[:steps]), values[: max(0, values.shape[0] - steps)]])


class _Spec(NamedTuple):
    """What a layer's autograd function needs besides tensors with a gradient.

    `gathers`, `sources` and `loops` are their delays; `kept` has the mask of each source.
    """

    kernels: Kernels
    alpha: float
    clock: Clock
    shape: tuple[int, int, int]
    gathers: tuple[int, ...]
    sources: tuple[int, ...]
    loops: tuple[int, ...]
    kept: tuple[torch.Tensor | None, ...]
    low_precision: bool


def _driven(
    spec: _Spec, current: torch.Tensor | None, gathers: Pairs, sources: Pairs, like: torch.Tensor
) -> torch.Tensor:
    """A new tensor with the sum of all given currents, on the device of `like`."""
    if current is None:
        total = torch.zeros(spec.shape, device=like.device)
    else:
        total = current.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    for (axons, weight), delay in zip(gathers, spec.gathers, strict=True):
        spec.kernels.add_gathered(total, axons, weight, spec.clock, delay)
    for (spikes, weight), kept, delay in zip(sources, spec.kept, spec.sources, strict=True):
        spec.kernels.add_product(total, spikes, kept, weight, delay)
    return total


def _drive_gradients(
    grad: torch.Tensor, spec: _Spec, gathers: Pairs, sources: Pairs, wanted: Sequence[bool]
) -> list[torch.Tensor | None]:
    """Gradients of the gathers and sources, two for each: of its axons or spikes, then of its weight.

    `grad` is the gradient of the current. Axons have no gradient. Spikes get one if `wanted` says so.
    """
    time, _, neurons = grad.shape
    products = dense_products(spec.low_precision, spec.kernels)
    grads: list[torch.Tensor | None] = []
    for (axons, weight), delay in zip(gathers, spec.gathers, strict=True):
        grads += [None, spec.kernels.gathered_gradient(axons, weight, grad, spec.clock, delay)]
    wanted = wanted[2 * len(gathers) : 2 * len(gathers) + 2 * len(sources) : 2]
    for (spikes, weight), kept, delay, want in zip(sources, spec.kept, spec.sources, wanted, strict=True):
        into = None
        if want:
            into = torch.empty_like(spikes, memory_format=torch.contiguous_format)
            into[max(0, time - delay) :] = 0
            if delay < time:
                rows = into[: time - delay].view(-1, spikes.shape[2])
                products.product(rows, grad[delay:].view(-1, neurons), products.weight(weight))
                if kept is not None:
                    into *= kept
        grads += [into, products.grad_weight(spikes, kept, grad, delay)]
    return grads


class _Drive(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spec: _Spec, current: torch.Tensor | None, *tensors: torch.Tensor) -> torch.Tensor:
        gathers, sources, _ = _sorted_out(spec, tensors)
        total = _driven(spec, current, gathers, sources, tensors[-1])
        ctx.save_for_backward(*tensors)
        ctx.spec = spec
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[Any, ...]:
        gathers, sources, _ = _sorted_out(ctx.spec, ctx.saved_tensors)
        grad = grad_outputs[0].contiguous()
        grads = _drive_gradients(grad, ctx.spec, gathers, sources, ctx.needs_input_grad[2:])
        return (None, grad if ctx.needs_input_grad[1] else None, *grads)


class _LIFLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        spec: _Spec,
        rate: torch.Tensor,
        threshold: torch.Tensor,
        current: torch.Tensor | None,
        *tensors: torch.Tensor,
    ) -> torch.Tensor:
        gathers, sources, loops = _sorted_out(spec, tensors)
        membrane = _driven(spec, current, gathers, sources, rate)
        fired = torch.empty_like(membrane)
        spec.kernels.scan(membrane, fired, rate, threshold, spec.clock, loops, spec.loops)
        ctx.save_for_backward(rate, threshold, membrane, fired, *tensors)
        ctx.spec = spec
        return fired

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[Any, ...]:
        rate, threshold, membrane, fired, *tensors = ctx.saved_tensors
        spec: _Spec = ctx.spec
        time, _, neurons = spec.shape
        gathers, sources, loops = _sorted_out(spec, tensors)
        grad = grad_outputs[0].clone(memory_format=torch.contiguous_format)
        products = dense_products(spec.low_precision, spec.kernels)
        carry = torch.zeros_like(grad[0])
        constants = rate, threshold, (1 - rate) ** spec.clock.idle, spec.alpha
        loop_weights = [products.weight(weight) for weight in loops]
        # No spike of a chunk is heard within the chunk: before its scan, all gradients from later chunks are there.
        chunk = min(spec.loops, default=time)
        for start in reversed(range(0, time, chunk)):
            stop = min(start + chunk, time)
            for delay, weight in zip(spec.loops, loop_weights, strict=True):
                end = min(stop + delay, time)
                if start + delay < end:
                    future = grad[start + delay : end].view(-1, neurons)
                    products.add_product(grad[start : end - delay].view(-1, neurons), future, weight)
            spec.kernels.scan_gradient(grad, membrane, *constants, carry, spec.clock, start, stop)
        grads = _drive_gradients(grad, spec, gathers, sources, ctx.needs_input_grad[4:])
        grads += [products.grad_weight(fired, None, grad, delay) for delay in spec.loops]
        return (None, None, None, grad if ctx.needs_input_grad[3] else None, *grads)


Pairs = list[tuple[torch.Tensor, torch.Tensor]]


def _sorted_out(spec: _Spec, tensors: Sequence[torch.Tensor]) -> tuple[Pairs, Pairs, list[torch.Tensor]]:
    """Split a flat list of tensors: the pairs of the gathers, the pairs of the sources, the weights of the loops."""
    pairs = 2 * (len(spec.gathers) + len(spec.sources))
    both = list(zip(tensors[0:pairs:2], tensors[1:pairs:2], strict=True))
    return both[: len(spec.gathers)], both[len(spec.gathers) :], list(tensors[pairs:])


class _Full:
    """The dense products of the backward pass, in float32."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels

    def weight(self, weight: torch.Tensor) -> torch.Tensor:
        return weight

    def product(self, out: torch.Tensor, grad: torch.Tensor, weight: torch.Tensor) -> None:
        torch.mm(grad, weight, out=out)

    def add_product(self, out: torch.Tensor, grad: torch.Tensor, weight: torch.Tensor) -> None:
        out.addmm_(grad, weight)

    def grad_weight(
        self, spikes: torch.Tensor, kept: torch.Tensor | None, grad: torch.Tensor, delay: int
    ) -> torch.Tensor:
        """The gradient of a weight, `[target, source]`. On a CPU only the spikes cost time."""
        return self._kernels.product_gradient(spikes, kept, grad, delay)


class _Low:
    """The dense products of the backward pass, computed in bfloat16 and added up in float32."""

    def weight(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.bfloat16()

    def product(self, out: torch.Tensor, grad: torch.Tensor, weight: torch.Tensor) -> None:
        out.copy_(grad.bfloat16() @ weight)

    def add_product(self, out: torch.Tensor, grad: torch.Tensor, weight: torch.Tensor) -> None:
        out.add_(grad.bfloat16() @ weight)

    def grad_weight(
        self, spikes: torch.Tensor, kept: torch.Tensor | None, grad: torch.Tensor, delay: int
    ) -> torch.Tensor:
        """The gradient of a weight, `[target, source]`: in bfloat16 a dense product is faster than a sparse one."""
        time, _, neurons = grad.shape
        heard = spikes[: max(0, time - delay)].bfloat16()
        if kept is not None:
            heard *= kept
        arrived = heard.reshape(-1, spikes.shape[2])
        return (grad[delay:].reshape(-1, neurons).bfloat16().t() @ arrived).float()


def dense_products(low_precision: bool, kernels: Kernels = kernels_cpu) -> _Full | _Low:
    """The dense products of a backward pass: in bfloat16 if `low_precision`, else in float32."""
    return _Low() if low_precision else _Full(kernels)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(values, weight)
        return values @ weight.t()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, weight = (x.bfloat16() for x in ctx.saved_tensors)
        grad = grad_outputs[0].bfloat16()
        flat = grad.flatten(0, -2).t() @ values.flatten(0, -2)
        return (grad @ weight).float(), flat.float()


def project(values: torch.Tensor, weight: torch.Tensor, low_precision: bool = False) -> torch.Tensor:
    """`values @ weight.t()`. `low_precision` is that of `lif_layer`."""
    if not low_precision:
        return values @ weight.t()
    projected: torch.Tensor = _Project.apply(values, weight)  # type: ignore[no-untyped-call]
    return projected


class _LeakyAnswers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, drive: torch.Tensor, kernels: Kernels, rate: float, clock: Clock) -> torch.Tensor:
        time, batch, neurons = drive.shape
        out = torch.empty(time // clock.slots, batch, neurons, device=drive.device)
        kernels.leaky_answers(out, drive.detach().float().contiguous(), rate, clock)
        ctx.constants = kernels, rate, clock
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        grad = grad_outputs[0].contiguous()
        kernels, rate, clock = ctx.constants
        tokens, batch, neurons = grad.shape
        into = grad.new_empty(tokens * clock.slots, batch, neurons)
        kernels.leaky_answers_gradient(into, grad, rate, clock)
        return into, None, None, None


def leaky_answers(drive: torch.Tensor, tau: float, clock: Clock) -> torch.Tensor:
    """Membranes `[tokens, batch, neurons]` of LI neurons in the last presented slot of every token.

    Args:
        drive: `[time, batch, neurons]`, the current.
        tau: time constant in ticks, common to all neurons.
        clock: the slots and idle ticks of a token.
    """
    kernels = _kernels_for(drive.device)
    if kernels is None:
        return leaky_answers_reference(drive, tau, clock)
    answers: torch.Tensor = _LeakyAnswers.apply(drive, kernels, 1.0 / tau, clock)  # type: ignore[no-untyped-call]
    return answers


def leaky_answers_reference(drive: torch.Tensor, tau: float, clock: Clock) -> torch.Tensor:
    """`leaky_answers` in plain torch."""
    v, answers = torch.zeros_like(drive[0]), []
    for t in range(drive.shape[0]):
        v = v + 1 / tau * (drive[t] - v)
        slot = t % clock.slots
        if slot == clock.presented - 1:
            answers.append(v)
        if slot == clock.slots - 1:
            for _ in range(clock.idle):
                v = v + 1 / tau * (0 - v)
    return torch.stack(answers)
