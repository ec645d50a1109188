"""S-Transformer: blocks of causal self-attention and an MLP, computed with spikes alone.

The input of a block is x: the spikes of the input and of all earlier blocks, from the current token and from one token
ago. A block holds these LIF populations (sizes in brackets; `heads`, `rows`, `values` and `mlp` are settings):

    q, k      read x                                    (heads * rows neurons each)
    v         reads x                                   (heads * values)
    attended  reads the output of the attention         (heads * values)
    hidden    reads x (current token) and attended      (mlp)
              and, if `recurrent`, itself one token ago

The attended and hidden populations of every block reach the readout. There are two kinds of attention.

`linear` keeps a memory of bits. A spike of k writes v into one row of the memory; q reads the rows:

    memory[i, j] = (memory[i, j] one period ago AND NOT k[i]) OR (k[i] AND v[j])
    attended[j] receives sum_i q[i] AND memory[i, j]

This is linear attention (Katharopoulos et al. 2020) in which a write replaces the row, as in the delta rule (Schlag et
al. 2021). The product k^T v of spikes is an AND (Yao et al. 2023).

`windowed` compares q with the keys of the last `window` tokens, in the manner of Spikformer (Zhou et al. 2023). The
offset w counts tokens (periods) into the past:

    score[w] = sum_i (q[i] AND k[i] from w tokens ago), a spike if it exceeds a threshold that the current token sets
    attended[j] receives sum_w score[w] AND v[j] from w tokens ago
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from muspike import kernels
from muspike.architectures.common import direct_synapses, draw_weights, timing
from muspike.errors import BadInput
from muspike.host import Timing, input_axons
from muspike.jit import njit
from muspike.labels import Labels
from muspike.layer import later, on_cuda, split
from muspike.network import Composite, Network, Population, Ran, Synapse, and_gate, or_gate
from muspike.neurons import atan_spike
from muspike.ranges import between, check, setting
from muspike.sounding import Hearing
from muspike.tokens import N_AXONS

# Levels of a block: one for q, k and v, three for the attention, one for attended and one for hidden.
_DEPTH = 6


@dataclass(frozen=True)
class Config:
    """Settings of an S-Transformer.

    Attributes:
        blocks: number of blocks.
        heads: attention heads per block.
        rows: neurons of q, and of k, per head.
        values: neurons of v per head.
        mlp: neurons of the hidden population of a block.
        attention: "linear" or "windowed".
        window: tokens that windowed attention reaches, the current token included.
        recurrent: whether hidden hears its own spikes of one token ago.
        ticks: ticks for which a token is presented.
        tau: time constant in ticks of all LIF neurons except the gates.
        v_threshold: threshold of the same neurons.
        tau_readout: time constant of the readout in ticks.
        hears: groups of axons for what sounds that the network hears beside the words (`sounding.GROUPS`).
        direct: groups of these whose axons also reach the readout without a neuron between.
        labels: labels of a piece that the network hears, values by name (`labels.Labels`). Training takes the values
            from its corpus.

    Raises:
        BadInput: a setting is out of its range, or `attention` is neither of the two kinds.
    """

    blocks: int = setting(2, between(1, 16))
    heads: int = setting(8, between(1, 64))
    rows: int = setting(8, between(1, 256))
    values: int = setting(16, between(1, 256))
    mlp: int = setting(256, between(1, 8192))
    attention: str = "linear"
    window: int = setting(8, between(1, 1024))
    recurrent: bool = False
    ticks: int = setting(4, between(1, 64))
    tau: float = 2.0
    v_threshold: float = 0.5
    tau_readout: float = 4.0
    hears: tuple[str, ...] = ()
    direct: tuple[str, ...] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def read_gain(self) -> float:
        """Weight of the attention's output: one spike gives v = weight / tau = 1.5 v_threshold, so the target fires."""
        return 1.5 * self.tau * self.v_threshold

    def __post_init__(self) -> None:
        check(self, "S-Transformer")
        if self.attention not in _ATTENTION:
            raise BadInput(f"S-Transformer: attention {self.attention!r} must be one of {', '.join(_ATTENTION)}")


def build(config: Config) -> Network:
    """Build the network of `config`, with weights drawn from torch's random state."""
    clock, hearing = timing(config.ticks, _DEPTH * config.blocks), Hearing(config.hears)
    labels = Labels.of(config.labels)
    populations, synapses = [Population("input", input_axons(hearing=hearing, labels=labels), "input")], list[Synapse]()
    composites: list[Composite] = []
    sources = ["input"]
    for b in range(1, config.blocks + 1):
        q, k, v, attended, hidden = (f"{name}{b}" for name in ("q", "k", "v", "attended", "hidden"))
        sizes = (config.heads * config.rows,) * 2 + (config.heads * config.values,) * 2 + (config.mlp,)
        lif = [
            Population(name, size, "lif", config.tau, config.v_threshold)
            for name, size in zip((q, k, v, attended, hidden), sizes, strict=True)
        ]
        attention = _ATTENTION[config.attention](b, config, clock)
        populations += [*lif[:3], *attention.populations(), *lif[3:]]
        for target in (q, k, v):
            synapses += [Synapse(s, target, delay) for s in sources for delay in (0, clock.period)]
        synapses += attention.synapses()
        synapses += [Synapse(s, hidden) for s in (*sources, attended)]
        if config.recurrent:
            synapses.append(Synapse(hidden, hidden, clock.period))
        synapses += [Synapse(attended, "readout"), Synapse(hidden, "readout")]
        composites.append(attention)
        sources += [attended, hidden]
    populations.append(Population("readout", N_AXONS, "li", config.tau_readout))
    synapses += direct_synapses(config.direct, hearing)
    network = Network(populations, synapses, clock, composites, hearing=hearing, labels=labels)
    draw_weights(network, forward=3.0)
    return network


def _wires(pairs: npt.NDArray[np.int64], shape: tuple[int, int], weight: float = 1.0) -> npt.NDArray[np.float32]:
    """A matrix `[target, source]` in which the only source of each target is `pairs[target]`, with `weight`."""
    matrix = np.zeros(shape, np.float32)
    matrix[np.arange(shape[0]), pairs] = weight
    return matrix


class _Attention:
    """What both kinds of attention share: the block's number, the settings, and the names of its populations."""

    def __init__(self, number: int, config: Config, timing: Timing) -> None:
        self.number, self.config, self.timing = number, config, timing

    def _named(self, name: str) -> str:
        return f"{name}{self.number}"


class Linear(_Attention):
    """Linear attention of block `number`: a memory of heads * rows * values bits for each tick of a token."""

    @property
    def members(self) -> Sequence[str]:
        """The names of the populations between q, k, v and attended."""
        return [self._named(name) for name in ("write", "hold", "memory", "read")]

    def populations(self) -> list[Population]:
        """The members. Each has one neuron per head, row and value."""
        size = self.config.heads * self.config.rows * self.config.values
        write, hold, memory, read = self.members
        return [and_gate(write, size), or_gate(hold, size), or_gate(memory, size), and_gate(read, size)]

    def synapses(self) -> list[Synapse]:
        """Constant wires only."""
        heads, rows, values = self.config.heads, self.config.rows, self.config.values
        write, hold, memory, read = self.members
        q, k, v, attended = (self._named(name) for name in ("q", "k", "v", "attended"))
        head, row, value = (x.ravel() for x in np.indices((heads, rows, values)))
        by_row = _wires(head * rows + row, (head.size, heads * rows))
        by_value = _wires(head * values + value, (head.size, heads * values))
        return [
            Synapse(k, write, wires=by_row),
            Synapse(v, write, wires=by_value),
            Synapse(memory, hold, self.timing.period, wires=1.0),
            Synapse(k, hold, wires=-by_row),
            Synapse(write, memory, wires=1.0),
            Synapse(hold, memory, wires=1.0),
            Synapse(q, read, wires=by_row),
            Synapse(memory, read, wires=1.0),
            Synapse(read, attended, wires=self.config.read_gain * by_value.T),
        ]

    def run(
        self,
        network: Network,
        weights: Mapping[str, torch.Tensor],
        spikes: Mapping[str, torch.Tensor],
        driven: Callable[[str], torch.Tensor],
    ) -> Ran:
        """Compute the members; see `network.Composite`. The gradient through a gate is the gradient of a product."""
        heads = self.config.heads
        q, k, v = (split(spikes[self._named(name)], -1, heads, -1) for name in ("q", "k", "v"))
        write, hold, memory, read = self.members
        heard, counts = registers(q, k, v, self.timing.ticks)
        size = q.shape[3] * v.shape[3] * heads
        rates = dict(zip((write, hold, memory, read), counts / (q.shape[0] * q.shape[1] * size), strict=True))
        name = Synapse(read, self._named("attended")).name
        return Ran({}, rates, {name: self.config.read_gain * heard.flatten(2)})


def registers(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, slots: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Write k and v into a memory of bits and read the memory with q.

    A slot is one of the `slots` ticks in which a token is presented. The memory in a slot builds on the memory in the
    same slot of the token before. The result equals `registers_reference`, forward and backward.

    Args:
        q: spikes `[time, batch, heads, rows]`; time counts slots.
        k: spikes `[time, batch, heads, rows]`.
        v: spikes `[time, batch, heads, values]`.
        slots: slots per token.

    Returns:
        The sum of the memory rows that q reads, `[time, batch, heads, values]`, and the numbers of spikes of write,
        hold, memory and read, `[4]`. Of these numbers only that of memory carries a gradient.
    """
    fused = _REGISTERS.get(q.device.type, lambda: None)()
    if fused is None:
        return registers_reference(q, k, v, slots)
    read: tuple[torch.Tensor, torch.Tensor] = fused.apply(q, k, v, slots)
    return read


def registers_reference(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, slots: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `registers` in plain torch."""
    memories: list[torch.Tensor] = []
    heard, counts = [], []
    for t in range(q.shape[0]):
        write = k[t, ..., :, None] * v[t, ..., None, :]
        past = memories[t - slots] if t >= slots else torch.zeros_like(write)
        hold = past * (1 - k[t, ..., :, None])
        memory = write + hold
        memories.append(memory)
        read = q[t, ..., :, None] * memory
        heard.append(read.sum(-2))
        counts.append(torch.stack([write.sum().detach(), hold.sum().detach(), memory.sum(), read.sum().detach()]))
    return torch.stack(heard), torch.stack(counts).sum(0)


class _Registers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, slots: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        q, k, v = (x.detach().contiguous() for x in (q, k, v))
        time, batch, heads, rows = q.shape
        memory = np.empty((time, batch, heads, rows, v.shape[3]), np.uint8)
        heard = torch.zeros_like(v)
        counts = np.zeros((batch, 4), np.int64)
        kernels.shared_out(
            _run_registers, batch, memory.size,
            q.numpy(), k.numpy(), v.numpy(), slots, memory, heard.numpy(), counts,
        )  # fmt: skip
        ctx.save_for_backward(q, k, v)
        ctx.memory, ctx.slots = memory, slots
        return heard, torch.from_numpy(counts.sum(0)).to(q.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v = ctx.saved_tensors
        grads = tuple(torch.empty_like(x) for x in (q, k, v))
        kernels.shared_out(
            _run_registers_back, q.shape[1], ctx.memory.size,
            grad_outputs[0].contiguous().numpy(), np.float32(grad_outputs[1][2]),
            q.numpy(), k.numpy(), v.numpy(), ctx.slots, ctx.memory, *(g.numpy() for g in grads),
        )  # fmt: skip
        return (*grads, None)


_REGISTERS: dict[str, Callable[[], Any]] = {
    "cpu": lambda: _Registers,
    "cuda": lambda: getattr(on_cuda("muspike.architectures.s_transformer_cuda"), "Registers", None),
}

Array = kernels.Array
Bits = npt.NDArray[np.uint8]


@njit(nogil=True)
def _run_registers(
    q: Array,
    k: Array,
    v: Array,
    slots: int,
    memory: Bits,
    heard: Array,
    counts: npt.NDArray[np.int64],
    first: int,
    last: int,
) -> None:
    time, _, heads, rows, values = memory.shape
    bits = np.empty(values, np.uint8)
    for b in range(first, last):
        for t in range(time):
            for h in range(heads):
                written = 0
                for j in range(values):
                    bits[j] = np.uint8(v[t, b, h, j] != 0)
                    written += bits[j]
                for i in range(rows):
                    now = memory[t, b, h, i]
                    if k[t, b, h, i] != 0:
                        now[:] = bits
                        counts[b, 0] += written
                        held = 0
                    elif t >= slots:
                        now[:] = memory[t - slots, b, h, i]
                        held = now.sum()
                    else:
                        now[:] = 0
                        held = 0
                    counts[b, 1] += held
                    kept = held + (written if k[t, b, h, i] != 0 else 0)
                    counts[b, 2] += kept
                    if q[t, b, h, i] != 0:
                        counts[b, 3] += kept
                        for j in range(values):
                            heard[t, b, h, j] += now[j]


@njit(nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _run_registers_back(
    grad: Array,
    grad_memory: np.float32,
    q: Array,
    k: Array,
    v: Array,
    slots: int,
    memory: Bits,
    grad_q: Array,
    grad_k: Array,
    grad_v: Array,
    first: int,
    last: int,
) -> None:
    """The adjoint of memory = (1 - k) * past + k * v and heard = sum_i q * memory, run backwards in time."""
    time, _, heads, rows, values = memory.shape
    carry = np.empty((slots, heads, rows, values), np.float32)
    none = np.zeros(values, np.uint8)
    for b in range(first, last):
        carry[:] = 0
        for t in range(time - 1, -1, -1):
            for h in range(heads):
                g, value, into_v = grad[t, b, h], v[t, b, h], grad_v[t, b, h]
                into_v[:] = 0
                for i in range(rows):
                    flow = carry[t % slots, h, i]
                    now = memory[t, b, h, i]
                    past = memory[t - slots, b, h, i] if t >= slots else none
                    asked, wrote = q[t, b, h, i], k[t, b, h, i]
                    to_q, to_k = np.float32(0.0), np.float32(0.0)
                    for j in range(values):
                        to_q += g[j] * now[j]
                        x = flow[j] + asked * g[j] + grad_memory
                        to_k += x * (value[j] - past[j])
                        into_v[j] += wrote * x
                        flow[j] = (np.float32(1.0) - wrote) * x
                    grad_q[t, b, h, i], grad_k[t, b, h, i] = to_q, to_k


class Windowed(_Attention):
    """Windowed attention of block `number` to each of the last `window` tokens, by a score that is a spike or none."""

    @property
    def members(self) -> Sequence[str]:
        """The names of the populations between q, k, v and attended."""
        return [self._named(name) for name in ("match", "score", "chosen")]

    def populations(self) -> list[Population]:
        """The members. Neurons are ordered by head, then by offset into the past, then by row or value.

        A neuron of score has tau 1, so it only compares a sum with a threshold.
        """
        heads, rows, values, window = self.config.heads, self.config.rows, self.config.values, self.config.window
        match, score, chosen = self.members
        return [
            and_gate(match, heads * window * rows),
            Population(score, heads * window, "lif", 1.0, 0.5),
            and_gate(chosen, heads * window * values),
        ]

    def synapses(self) -> list[Synapse]:
        """Constant wires, and a trained synapse from the input: through it a token shifts the thresholds of score."""
        heads, rows, values, window = self.config.heads, self.config.rows, self.config.values, self.config.window
        match, score, chosen = self.members
        q, k, v, attended = (self._named(name) for name in ("q", "k", "v", "attended"))
        head, offset, row = (x.ravel() for x in np.indices((heads, window, rows)))
        by_row = _wires(head * rows + row, (head.size, heads * rows))
        by_score = _wires(head * window + offset, (head.size, heads * window))
        vhead, voffset, value = (x.ravel() for x in np.indices((heads, window, values)))
        by_value = _wires(vhead * values + value, (vhead.size, heads * values))
        to_chosen = _wires(vhead * window + voffset, (vhead.size, heads * window))
        period = self.timing.period
        return [
            Synapse(q, match, wires=by_row),
            *(Synapse(k, match, w * period, by_row * (offset == w)[:, None]) for w in range(window)),
            Synapse(match, score, wires=by_score.T),
            Synapse("input", score),
            Synapse(score, chosen, wires=to_chosen),
            *(Synapse(v, chosen, w * period, by_value * (voffset == w)[:, None]) for w in range(window)),
            Synapse(chosen, attended, wires=self.config.read_gain * by_value.T),
        ]

    def run(
        self,
        network: Network,
        weights: Mapping[str, torch.Tensor],
        spikes: Mapping[str, torch.Tensor],
        driven: Callable[[str], torch.Tensor],
    ) -> Ran:
        """Compute the members; see `network.Composite`. The gradient through a gate is the gradient of a product."""
        heads, window, slots = self.config.heads, self.config.window, self.timing.ticks
        q, k, v = (split(spikes[self._named(name)], -1, heads, -1) for name in ("q", "k", "v"))
        match, score, chosen = self.members
        raised = split(driven(score), -1, heads, window)
        heard = torch.zeros_like(v)
        found, fired, taken = [], [], []
        for w in range(window):
            matches = (q * later(k, w * slots)).sum(-1)  # [time, batch, heads]
            scored = atan_spike(matches + raised[..., w] - 0.5, network.alpha)
            chosen_values = scored[..., None] * later(v, w * slots)
            heard = heard + chosen_values
            found.append(matches.mean() / q.shape[-1])
            fired.append(scored.mean())
            taken.append(chosen_values.mean())
        rates = {
            name: torch.stack(r).mean() for name, r in zip((match, score, chosen), (found, fired, taken), strict=True)
        }
        name = Synapse(chosen, self._named("attended")).name
        return Ran({}, rates, {name: self.config.read_gain * heard.flatten(2)})


_ATTENTION: Mapping[str, type[Linear] | type[Windowed]] = {"linear": Linear, "windowed": Windowed}
