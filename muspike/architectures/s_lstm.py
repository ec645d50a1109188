"""S-LSTM: an LSTM whose cells are bits and whose gates are spikes.

A layer keeps one bit per neuron for each tick of a token:

    cell   = (cell one period ago AND NOT erase) OR (write_gate AND candidate)
    hidden = cell AND NOT mute

`write_gate`, `candidate`, `erase` and `mute` are LIF populations. They read the layer before and, one period later,
`hidden`. AND, OR and NOT are LIF neurons of tau 1 with constant wires.

With an embedding, the first layer reads a population of LIF neurons that reads the input, and that reaches the readout
too. Without one, the four gates of the first layer read all axons of the input, so that a small network has half of its
weights there. The twin `ann-lstm` has an embedding as well, of values that do not spike.

The design follows Lotfi Rezaabad & Vishwanath 2020, with one change: the gates erase and mute, instead of keeping and
letting out. So a bit that is kept costs no spike of a gate, and a silent gate passes gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from muspike import kernels, kernels_cpu, layer
from muspike.architectures.common import direct_synapses, draw_weights, timing
from muspike.host import Timing, input_axons
from muspike.jit import njit
from muspike.labels import Labels
from muspike.network import Network, Population, Ran, Synapse, and_gate, or_gate
from muspike.neurons import Clock, LIFParameters, LIFState, lif_step, rested
from muspike.ranges import between, check, setting
from muspike.sounding import Hearing
from muspike.tokens import N_AXONS

GATES = ("write_gate", "candidate", "erase", "mute")


@dataclass(frozen=True)
class Config:
    """Settings of an S-LSTM.

    Attributes:
        width: cells per layer.
        layers: number of layers.
        embedding: neurons of the population between the input and the first layer; 0: the first layer reads the input.
        ticks: ticks for which a token is presented.
        tau: time constant of the gates in ticks.
        v_threshold: threshold of the gates.
        tau_readout: time constant of the readout in ticks.
        hears: groups of axons for what sounds that the network hears beside the words (`sounding.GROUPS`).
        direct: groups of these whose axons also reach the readout without a neuron between.
        labels: labels of a piece that the network hears, values by name (`labels.Labels`). Training takes the values
            from its corpus.

    Raises:
        BadInput: a setting is out of its range.
    """

    width: int = setting(224, between(1, 8192))
    layers: int = setting(2, between(1, 16))
    embedding: int = setting(0, between(0, 8192))
    ticks: int = setting(4, between(1, 64))
    tau: float = 2.0
    v_threshold: float = 0.5
    tau_readout: float = 4.0
    hears: tuple[str, ...] = ()
    direct: tuple[str, ...] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self, "S-LSTM")


def build(config: Config) -> Network:
    """Build the network of `config`, with weights drawn from torch's random state."""
    depth = 4 * config.layers + (config.embedding > 0)  # per layer: gate, write, cell, hidden
    clock = timing(config.ticks, depth)
    hearing, labels = Hearing(config.hears), Labels.of(config.labels)
    populations = [Population("input", input_axons(hearing=hearing, labels=labels), "input")]
    synapses, composites = list[Synapse](), []
    source = "input"
    if config.embedding:
        populations.append(Population("embedding", config.embedding, "lif", config.tau, config.v_threshold))
        synapses += [Synapse(source, "embedding"), Synapse("embedding", "readout")]
        source = "embedding"
    for k in range(1, config.layers + 1):
        cells_of_layer = Layer(k, source)
        populations += cells_of_layer.populations(config)
        synapses += cells_of_layer.synapses(clock)
        composites.append(cells_of_layer)
        source = cells_of_layer.named("hidden")
        synapses.append(Synapse(source, "readout"))
    populations.append(Population("readout", N_AXONS, "li", config.tau_readout))
    synapses += direct_synapses(config.direct, hearing)
    network = Network(populations, synapses, clock, composites, hearing=hearing, labels=labels)
    # Two gates must agree before a cell is written, so their weights start large and the gates fire often. The weights
    # are drawn in the order of their names, as those of the first models were.
    draw_weights(network, from_input=2.4, forward=6.0, order=network.weights)
    return network


@dataclass(frozen=True)
class Layer:
    """One layer of an S-LSTM: its populations and synapses, and the composite that trains them faster.

    Attributes:
        number: the layer's number, from 1.
        source: the population that the layer reads.
    """

    number: int
    source: str

    def named(self, population: str) -> str:
        """The name of a population of this layer."""
        return f"{population}{self.number}"

    def populations(self, config: Config) -> list[Population]:
        """The gates, and the logic neurons that turn their spikes into cell and hidden."""
        return [
            *(Population(self.named(gate), config.width, "lif", config.tau, config.v_threshold) for gate in GATES),
            and_gate(self.named("write"), config.width),
            or_gate(self.named("hold"), config.width),
            or_gate(self.named("cell"), config.width),
            or_gate(self.named("hidden"), config.width),
        ]

    def synapses(self, timing: Timing) -> list[Synapse]:
        """The trained synapses into the gates, and the constant wires between the logic neurons."""
        wires = [
            ("write_gate", "write", 0, 1.0),
            ("candidate", "write", 0, 1.0),
            ("cell", "hold", timing.period, 1.0),
            ("erase", "hold", 0, -1.0),
            ("write", "cell", 0, 1.0),
            ("hold", "cell", 0, 1.0),
            ("mute", "hidden", 0, -1.0),
            ("cell", "hidden", 0, 1.0),
        ]
        return [
            *(Synapse(self.source, self.named(gate)) for gate in GATES),
            *(Synapse(self.named("hidden"), self.named(gate), timing.period) for gate in GATES),
            *(Synapse(self.named(a), self.named(b), delay, weight) for a, b, delay, weight in wires),
        ]

    @property
    def members(self) -> Sequence[str]:
        """The names of all populations of the layer."""
        return [self.named(name) for name in (*GATES, "write", "hold", "cell", "hidden")]

    def run(
        self,
        network: Network,
        weights: Mapping[str, torch.Tensor],
        spikes: Mapping[str, torch.Tensor],
        driven: Callable[[str], torch.Tensor],
    ) -> Ran:
        """Compute the members; see `network.Composite`.

        The gradient through a gate is the gradient of a product, for example of cell * (1 - erase).
        """
        gates = [self.named(gate) for gate in GATES]
        hidden = self.named("hidden")
        drive = torch.cat([driven(gate) for gate in gates], -1)  # [time, batch, 4 width]
        loop = torch.cat([weights[Synapse(hidden, gate, network.timing.period).name] for gate in gates])
        p = _together([network.parameters_of(gate) for gate in gates], loop.shape[1])
        fired, write, hold, cell, out = cells(p, network.clock(hidden), drive, loop, network.low_precision)
        rates = dict(zip(gates, (part.mean() for part in fired.chunk(4, -1)), strict=True))
        rates |= {self.named("write"): write.mean(), self.named("hold"): hold.mean()}
        rates |= {self.named("cell"): cell.mean(), hidden: out.mean()}
        return Ran({hidden: out}, rates, {})


def _together(parameters: Sequence[LIFParameters], width: int) -> LIFParameters:
    """The parameters of several populations of `width` neurons each, as one population."""
    return LIFParameters(
        torch.cat([p.tau.expand(width) for p in parameters]),
        torch.cat([p.v_threshold.expand(width) for p in parameters]),
        parameters[0].alpha,
    )


Spikes = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def cells(p: LIFParameters, clock: Clock, drive: torch.Tensor, loop: torch.Tensor, low_precision: bool) -> Spikes:
    """Run the gates and cells of one layer over all time.

    A slot is one of the `clock.slots` ticks in which a token is presented; time counts slots. The result equals
    `cells_reference`, forward and backward, up to the order of sums.

    Args:
        p: parameters of the gates, `[4 width]`.
        clock: slots and idle ticks of a token.
        drive: the current from outside into the gates, `[time, batch, 4 width]`, in the order of `GATES`.
        loop: weights `[4 width, width]` of the synapses from `hidden`, which arrive one token later.
        low_precision: whether the backward pass computes dense products in bfloat16.

    Returns:
        Spikes of the gates `[time, batch, 4 width]`, then of write, hold, cell and hidden, `[time, batch, width]` each.
        Write and hold carry no gradient of their own.
    """
    kernels_here = _KERNELS.get(drive.device.type, lambda: None)()
    if kernels_here is None:
        return cells_reference(p, clock, drive, loop)
    rate = (1.0 / p.tau).to(torch.float32).contiguous()
    threshold = p.v_threshold.to(torch.float32).contiguous()
    spikes: Spikes = _Cells.apply(  # type: ignore[no-untyped-call]
        (kernels_here, p.alpha, clock, low_precision), rate, threshold, drive, loop
    )
    return spikes


def cells_reference(p: LIFParameters, clock: Clock, drive: torch.Tensor, loop: torch.Tensor) -> Spikes:
    """Compute `cells` in plain torch."""
    width = loop.shape[1]
    state = LIFState(torch.zeros_like(drive[0]))
    none = torch.zeros_like(drive[0, :, :width])
    ran: list[tuple[torch.Tensor, ...]] = []
    for t in range(drive.shape[0]):
        hidden, past = (ran[t - clock.slots][4], ran[t - clock.slots][3]) if t >= clock.slots else (none, none)
        fired, state = lif_step(drive[t] + hidden @ loop.t(), state, p)
        write_gate, candidate, erase, mute = fired.chunk(4, -1)
        write, hold = write_gate * candidate, past * (1 - erase)
        cell = write + hold - write * hold
        ran.append((fired, write, hold, cell, cell * (1 - mute)))
        if (t + 1) % clock.slots == 0:
            state = rested(state, p, clock.idle)
    fired, write, hold, cell, out = (torch.stack(parts) for parts in zip(*ran, strict=True))
    return fired, write.detach(), hold.detach(), cell, out


class Kernels(Protocol):
    """What computes the cells on one kind of device. Tensors are float32 and contiguous."""

    products: layer.Kernels

    def run(
        self,
        membrane: torch.Tensor,
        loop: torch.Tensor,
        rate: torch.Tensor,
        threshold: torch.Tensor,
        clock: Clock,
        spikes: Spikes,
    ) -> None:
        """Run gates and cells over all time.

        `membrane` holds the current from outside and is overwritten with the membranes before their resets. `spikes`
        are written.
        """

    def run_back(
        self,
        grads: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        membrane: torch.Tensor,
        fired: torch.Tensor,
        cell: torch.Tensor,
        constants: tuple[torch.Tensor, torch.Tensor, torch.Tensor, float],
        carry: torch.Tensor,
        clock: Clock,
        start: int,
        stop: int,
    ) -> None:
        """Run the adjoint over the slots `start..stop` of one token, without the loop.

        `grads` are those of the spikes of gates, cell and hidden. The first is overwritten with the gradient of the
        current; what goes to the cells of the token before is added to the second. `constants` are rate, threshold, the
        decay in a token's idle ticks, and alpha. `carry` holds the gradient of the membranes after these slots and is
        overwritten with that before them.
        """


class _Cells(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        settings: tuple[Kernels, float, Clock, bool],
        rate: torch.Tensor,
        threshold: torch.Tensor,
        drive: torch.Tensor,
        loop: torch.Tensor,
    ) -> Spikes:
        kernels_here, _, clock, _ = settings
        time, batch, _ = drive.shape
        membrane = drive.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        write, hold, cell, hidden = membrane.new_empty(4, time, batch, loop.shape[1]).unbind()
        spikes = torch.empty_like(membrane), write, hold, cell, hidden
        kernels_here.run(membrane, loop.detach(), rate, threshold, clock, spikes)
        ctx.save_for_backward(rate, threshold, loop, membrane, spikes[0], cell, hidden)
        ctx.settings = settings
        ctx.mark_non_differentiable(write, hold)
        ctx.set_materialize_grads(False)
        return spikes

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        rate, threshold, loop, membrane, fired, cell, hidden = ctx.saved_tensors
        kernels_here, alpha, clock, low_precision = ctx.settings
        time, _, width = hidden.shape
        products = layer.dense_products(low_precision, kernels_here.products)
        weight = products.weight(loop)
        grad_gates, _, _, grad_cell, grad_hidden = (
            torch.zeros_like(like) if grad is None else grad.clone(memory_format=torch.contiguous_format)
            for grad, like in zip(grad_outputs, (fired, cell, cell, cell, hidden), strict=True)
        )
        grads, carry = (grad_gates, grad_cell, grad_hidden), torch.zeros_like(membrane[0])
        constants = rate, threshold, (1 - rate) ** clock.idle, alpha
        for start in reversed(range(0, time, clock.slots)):
            stop = start + clock.slots
            if stop < time:
                future = grad_gates[stop : stop + clock.slots].view(-1, 4 * width)
                products.add_product(grad_hidden[start:stop].view(-1, width), future, weight)
            kernels_here.run_back(grads, membrane, fired, cell, constants, carry, clock, start, stop)
        return None, None, None, grad_gates, products.grad_weight(hidden, None, grad_gates, clock.slots)


class _OnCPU:
    """`Kernels` in numba, shared out over threads."""

    products: layer.Kernels = kernels_cpu

    def run(
        self,
        membrane: torch.Tensor,
        loop: torch.Tensor,
        rate: torch.Tensor,
        threshold: torch.Tensor,
        clock: Clock,
        spikes: Spikes,
    ) -> None:
        kernels.shared_out(
            _forward, membrane.shape[1], membrane.numel(),
            membrane.numpy(), loop.t().contiguous().numpy(), rate.numpy(), threshold.numpy(),
            clock.slots, clock.idle, *(x.numpy() for x in spikes),
        )  # fmt: skip

    def run_back(
        self,
        grads: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        membrane: torch.Tensor,
        fired: torch.Tensor,
        cell: torch.Tensor,
        constants: tuple[torch.Tensor, torch.Tensor, torch.Tensor, float],
        carry: torch.Tensor,
        clock: Clock,
        start: int,
        stop: int,
    ) -> None:
        _, batch, width = cell.shape
        *of_neurons, alpha = constants
        of_gates, *of_cells = (x.numpy() for x in grads)
        kernels.shared_out(
            _logic_gradient, batch, clock.slots * batch * width,
            of_gates, *of_cells, fired.numpy(), cell.numpy(), clock.slots, start,
        )  # fmt: skip
        kernels.shared_out(
            kernels.scan_gradient, batch, clock.slots * batch * 4 * width,
            of_gates, membrane.numpy(), *(x.numpy() for x in of_neurons), np.float32(alpha), carry.numpy(),
            clock.slots, start, stop,
        )  # fmt: skip


_KERNELS: dict[str, Callable[[], Kernels | None]] = {
    "cpu": _OnCPU,
    "cuda": lambda: layer.on_cuda("muspike.architectures.s_lstm_cuda"),
}


Array = kernels.Array


@njit(nogil=True)
def _forward(
    membrane: Array,
    table: Array,
    rate: Array,
    threshold: Array,
    slots: int,
    idle: int,
    fired: Array,
    write: Array,
    hold: Array,
    cell: Array,
    hidden: Array,
    first: int,
    last: int,
) -> None:
    """Run a layer slot by slot. `membrane` holds the drive and is overwritten with the membranes before the reset."""
    time, _, width = hidden.shape
    v = np.empty(4 * width, np.float32)
    active = np.empty(width + 1, np.int64)
    heard = np.ones(width, np.bool_)
    none = np.zeros(width, np.float32)
    for b in range(first, last):
        v[:] = 0
        for t in range(time):
            past = cell[t - slots, b] if t >= slots else none
            if t >= slots:
                kernels.add_rows(membrane[t, b], hidden[t - slots, b], heard, table, active)
            gates = fired[t, b]
            kernels.lif(membrane[t, b], rate, threshold, v, gates)
            for n in range(width):
                written = gates[n] * gates[width + n]
                held = past[n] * (np.float32(1.0) - gates[2 * width + n])
                now = max(written, held)
                write[t, b, n], hold[t, b, n], cell[t, b, n] = written, held, now
                hidden[t, b, n] = now * (np.float32(1.0) - gates[3 * width + n])
            if (t + 1) % slots == 0:
                for _ in range(idle):
                    for i in range(v.size):
                        v[i] = v[i] + rate[i] * (np.float32(0.0) - v[i])


@njit(nogil=True)
def _logic_gradient(
    grad_gates: Array,
    grad_cell: Array,
    grad_hidden: Array,
    fired: Array,
    cell: Array,
    slots: int,
    start: int,
    first: int,
    last: int,
) -> None:
    """The adjoint of the logic over the slots of one token.

    It adds to the gradients of the gates of this token, and of the cells of the token before.
    """
    width = cell.shape[2]
    one = np.float32(1.0)
    for t in range(start, start + slots):
        for b in range(first, last):
            gates, into = fired[t, b], grad_gates[t, b]
            for n in range(width):
                write_gate, candidate = gates[n], gates[width + n]
                erase, mute = gates[2 * width + n], gates[3 * width + n]
                past = cell[t - slots, b, n] if t >= slots else np.float32(0.0)
                g_hidden = grad_hidden[t, b, n]
                into[3 * width + n] -= g_hidden * cell[t, b, n]
                g_cell = grad_cell[t, b, n] + g_hidden * (one - mute)
                # cell = write + hold - write * hold
                g_write = g_cell * (one - past * (one - erase))
                g_hold = g_cell * (one - write_gate * candidate)
                into[n] += g_write * candidate
                into[width + n] += g_write * write_gate
                into[2 * width + n] -= g_hold * past
                if t >= slots:
                    grad_cell[t - slots, b, n] += g_hold * (one - erase)
