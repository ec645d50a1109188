"""A spiking network as a graph: populations, synapses, and how long a token lasts.

An architecture is a function that returns a `Network`. The same graph is trained here, exported to NIR node by node and
put on a chip: there is no second description of a model.

Two executions, equal spike for spike up to the order in which floating-point sums are taken: `Network.forward` trains,
with all tokens and ticks of a population at once; `Network.tick` advances one tick of any graph, the plain meaning of
it, and is what generation uses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import nn

from muspike.errors import BadInput
from muspike.neurons import LIFParameters, LIFState, leaky_scan, lif_scan, lif_step
from muspike.tokens import N_AXONS, OFFSETS

Kind = Literal["input", "lif", "li"]


@dataclass(frozen=True)
class Timing:
    """A token is presented for `ticks` ticks and owns `period` ticks of `dt_s` seconds."""

    ticks: int
    period: int
    dt_s: float = 1e-3

    def __post_init__(self) -> None:
        if not 1 <= self.ticks <= self.period:
            raise BadInput(f"timing: ticks {self.ticks} must lie between 1 and the period, {self.period}")


@dataclass(frozen=True)
class Population:
    """Neurons of one kind. `tau` (ticks) and `v_threshold` hold for all, or one value per neuron."""

    name: str
    size: int
    kind: Kind = "lif"
    tau: float | tuple[float, ...] = 2.0
    v_threshold: float | tuple[float, ...] = 0.5

    def __post_init__(self) -> None:
        for field in ("tau", "v_threshold"):
            value = getattr(self, field)
            if isinstance(value, tuple) and len(value) != self.size:
                raise BadInput(f"population {self.name}: {len(value)} values of {field} for {self.size} neurons")
        if not np.min(self.tau) >= 1:
            raise BadInput(f"population {self.name}: tau {np.min(self.tau)} is not at least one tick")
        if not np.min(self.v_threshold) >= 0:
            raise BadInput(f"population {self.name}: v_threshold {np.min(self.v_threshold)} is not at least 0")
        if self.kind == "li" and isinstance(self.tau, tuple):
            raise BadInput(f"population {self.name}: a readout has one tau for all its neurons")


@dataclass(frozen=True)
class Synapse:
    """Every neuron of `source` to every one of `target`; a spike arrives `delay` ticks (ideal time) later."""

    source: str
    target: str
    delay: int = 0

    @property
    def name(self) -> str:
        after = f"_after_{self.delay}" if self.delay else ""
        return f"{self.source}_to_{self.target}{after}"


State = dict[str, torch.Tensor]


class Runner(Protocol):
    """A generator as its host sees it: a token in, logits out, for several pieces side by side."""

    def reset(self, batch: int) -> None:
        """Bring the network to rest, for `batch` pieces side by side."""

    def step(
        self, words: np.ndarray[tuple[int, int], np.dtype[np.int16]]
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Logits `[batch, N_AXONS]` for the word after `words` `[batch, 7]`."""


class Generator(nn.Module, ABC):
    """What an architecture builds: logits for the next token from the tokens so far, spiking or not."""

    @abstractmethod
    def forward(
        self,
        words: torch.Tensor,
        record: Iterable[str] = (),
        regularise: dict[str, torch.Tensor] | None = None,
        dropout: float = 0.0,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Logits `[tokens, batch, N_AXONS]` of `words` `[tokens, batch, 7]`; see `Network.forward`."""

    @abstractmethod
    def runner(self) -> Runner:
        """The same network token by token."""


class Network(Generator):
    """Populations and synapses that read seven-hot tokens and answer with logits for the next token.

    One population is `input` (`N_AXONS` axons), one the readout (`li`). The logits of token n are the readout's
    membrane at ideal tick n * period + ticks - 1, plus a constant per logit.

    Raises:
        BadInput: names that do not fit, a loop without a delay, more than one population in a loop.
    """

    def __init__(self, populations: Sequence[Population], synapses: Sequence[Synapse], timing: Timing) -> None:
        super().__init__()
        self.populations: Mapping[str, Population] = {p.name: p for p in populations}
        self.synapses = tuple(synapses)
        self.timing = timing
        if len(self.populations) != len(populations) or len({s.name for s in synapses}) != len(synapses):
            raise BadInput("network: two populations or two synapses share a name")
        for synapse in synapses:
            for end in (synapse.source, synapse.target):
                if end not in self.populations:
                    raise BadInput(f"synapse {synapse.name}: there is no population {end}")
            if self.populations[synapse.source].kind == "li":
                raise BadInput(f"synapse {synapse.name}: its source is a readout, which does not spike")
            if self.populations[synapse.target].kind == "input":
                raise BadInput(f"synapse {synapse.name}: its target is the input, which the host spikes for")
        self.input = self._only("input")
        self.readout = self._only("li")
        self.order = self._topological_order()
        for name in self.order:
            if self.populations[name].kind != "input" and not any(s.source != name for s in self._into(name)):
                raise BadInput(f"population {name}: nothing else reaches it")
        self.weights = nn.ParameterDict(
            {
                s.name: nn.Parameter(torch.zeros(self.populations[s.target].size, self.populations[s.source].size))
                for s in synapses
            }
        )
        self.bias = nn.Parameter(torch.zeros(self.populations[self.readout].size))
        self.alpha = 2.0
        self._token_synchronous = self._find_token_synchronous()
        axons = torch.as_tensor(np.asarray(OFFSETS, dtype=np.int64))
        self.register_buffer("_offsets", axons, persistent=False)

    def _only(self, kind: Kind) -> str:
        names = [p.name for p in self.populations.values() if p.kind == kind]
        if len(names) != 1:
            raise BadInput(f"network: has {len(names)} populations of kind {kind}, needs one")
        if self.populations[names[0]].size != N_AXONS:
            raise BadInput(f"population {names[0]}: {self.populations[names[0]].size} neurons, tokens have {N_AXONS}")
        return names[0]

    def _into(self, target: str) -> list[Synapse]:
        return [s for s in self.synapses if s.target == target]

    def _topological_order(self) -> list[str]:
        """Every population after its sources; a population's synapses onto itself do not count."""
        order: list[str] = []
        waiting = list(self.populations)
        while waiting:
            ready = [n for n in waiting if all(s.source in order or s.source == n for s in self._into(n))]
            if not ready:
                raise BadInput(f"network: a loop through more than one population: {', '.join(waiting)}")
            order += ready
            waiting = [n for n in waiting if n not in ready]
        for synapse in self.synapses:
            if synapse.source == synapse.target and synapse.delay < 1:
                raise BadInput(f"synapse {synapse.name}: a loop needs a delay of at least one tick")
        return order

    def _find_token_synchronous(self) -> set[str]:
        """Populations that can only spike in the first `ticks` ticks of a token: all that reaches them does."""
        found: set[str] = set()
        for name in self.order:
            into = self._into(name)
            whole = all(s.delay % self.timing.period == 0 for s in into)
            if whole and all(s.source in found or s.source == name for s in into):
                found.add(name)
        return found

    def parameters_of(self, name: str) -> LIFParameters:
        """`tau` and `v_threshold` of a population as tensors `[neurons]` or scalars."""
        p = self.populations[name]
        tau, v_threshold = (self.bias.new_tensor(value) for value in (p.tau, p.v_threshold))
        return LIFParameters(tau, v_threshold, self.alpha)

    def axons(self, words: torch.Tensor) -> torch.Tensor:
        """The seven input axons of each token, `[..., 7]`, of `words` `[..., 7]`."""
        return words.long() + self.get_buffer("_offsets")

    def forward(
        self,
        words: torch.Tensor,
        record: Iterable[str] = (),
        regularise: dict[str, torch.Tensor] | None = None,
        dropout: float = 0.0,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Logits `[tokens, batch, N_AXONS]` of `words` `[tokens, batch, 7]`, the network at rest before the first.

        Also the spikes of the populations named in `record`, `[tokens, slots, batch, neurons]`, with a slot per tick
        in which the population can spike: the first `ticks` of each period, or all of it. `regularise`, where given,
        receives the mean firing rate per tick of every LIF population, with its gradient. In training, a share
        `dropout` of the neurons is silenced in each piece towards the next populations, for all its tokens.
        """
        timing, (tokens, batch, _) = self.timing, words.shape
        axons = self.axons(words)
        spikes: dict[str, torch.Tensor] = {}
        for name in self.order:
            population = self.populations[name]
            if population.kind != "lif":
                continue
            slots = timing.ticks if name in self._token_synchronous else timing.period
            currents: list[torch.Tensor] = []
            recurrent: list[tuple[int, torch.Tensor]] = []
            for synapse in self._into(name):
                weight = self.weights[synapse.name]
                if synapse.source == name:
                    recurrent.append((synapse.delay * slots // timing.period, weight))
                elif synapse.source == self.input:
                    currents.append(self._arrived(self._presented(axons, weight), synapse.delay, slots))
                else:
                    currents.append(self._arrived(spikes[synapse.source], synapse.delay, slots) @ weight.t())
            total = torch.stack(currents).sum(0) if len(currents) > 1 else currents[0]
            scanned = lif_scan(
                total.flatten(0, 1),
                self.parameters_of(name),
                slots=slots,
                idle=timing.period - slots,
                recurrent=recurrent,
            )
            spikes[name] = scanned.view(tokens, slots, batch, -1)
            if dropout and self.training:
                kept = torch.rand(batch, population.size, device=words.device) >= dropout
                spikes[name] = spikes[name] * (kept / (1 - dropout))
            if regularise is not None:
                regularise[name] = scanned.mean() * slots / timing.period
        return self._logits(axons, spikes), {n: spikes[n] for n in record}

    def _logits(self, axons: torch.Tensor, spikes: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The readout's membrane at the last presented tick of every token, plus the constants per logit.

        A leaky membrane is linear, so what arrives leaks before it meets the weights: once per token.
        """
        timing, tau = self.timing, self.populations[self.readout].tau
        assert not isinstance(tau, tuple)
        slots = timing.ticks if self.readout in self._token_synchronous else timing.period
        logits: torch.Tensor = self.bias
        for synapse in self._into(self.readout):
            weight = self.weights[synapse.name]
            from_input = synapse.source == self.input
            sent = self._presented(axons, weight) if from_input else spikes[synapse.source]
            arrived = self._arrived(sent, synapse.delay, slots)
            tokens = arrived.shape[0]
            trace = leaky_scan(arrived.flatten(0, 1), tau, slots=slots, idle=timing.period - slots)
            answer = trace.view(tokens, slots, *trace.shape[1:])[:, timing.ticks - 1]
            logits = logits + (answer if from_input else answer @ weight.t())
        return logits

    def _presented(self, axons: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Current `[tokens, ticks, batch, neurons]` of the input: a gather of seven rows, held for `ticks` ticks."""
        tokens, batch, _ = axons.shape
        rows = nn.functional.embedding_bag(axons.flatten(0, 1), weight.t().contiguous(), mode="sum")
        return rows.view(tokens, 1, batch, -1).expand(tokens, self.timing.ticks, batch, -1)

    def _arrived(self, spikes: torch.Tensor, delay: int, slots: int) -> torch.Tensor:
        """`spikes` `[tokens, slots of the source, batch, neurons]`, `delay` ticks later, in `slots` slots per token."""
        tokens, source_slots = spikes.shape[:2]
        period = self.timing.period
        if delay % period == 0:
            if source_slots < slots:
                spikes = nn.functional.pad(spikes, (0, 0, 0, 0, 0, slots - source_slots))
            return _later(spikes, delay // period) if delay else spikes
        if source_slots < period:
            spikes = nn.functional.pad(spikes, (0, 0, 0, 0, 0, period - source_slots))
        return _later(spikes.flatten(0, 1), delay).view(tokens, period, *spikes.shape[2:])

    def at_rest(self, batch: int) -> State:
        """The state before the first tick, for `tick`."""
        state = {}
        for name, population in self.populations.items():
            if population.kind != "input":
                state[name] = self.bias.new_zeros(batch, population.size)
            past = max((s.delay for s in self.synapses if s.source == name), default=0)
            # The population's spikes of this and the last `past` ticks, newest first.
            state[f"{name} past"] = self.bias.new_zeros(past + 1, batch, population.size)
        return state

    def tick(self, spikes_in: torch.Tensor, state: State) -> State:
        """One tick in ideal time: the state after it, given the input spikes `[batch, N_AXONS]` of this tick.

        `state[name]` is the membrane of a population, `state[name + " past"][0]` its spikes of the tick.
        """
        after: State = {}
        for name in self.order:
            population = self.populations[name]
            if population.kind == "input":
                after[f"{name} past"] = _pushed(state[f"{name} past"], spikes_in)
                continue
            past = state[f"{name} past"]
            current = torch.zeros_like(state[name])
            for s in self._into(name):
                # A loop reads its own earlier spikes, which have not been pushed yet.
                source = past[s.delay - 1] if s.source == name else after[f"{s.source} past"][s.delay]
                current = current + source @ self.weights[s.name].t()
            p = self.parameters_of(name)
            if population.kind == "li":
                after[name] = state[name] + 1 / p.tau * (current - state[name])
                after[f"{name} past"] = past
            else:
                fired, moved = lif_step(current, LIFState(state[name]), p)
                after[name] = moved.v
                after[f"{name} past"] = _pushed(past, fired)
        return after

    def period(self, words: torch.Tensor, state: State) -> Iterator[State]:
        """The states after each tick of one token's period, `words` `[batch, 7]` presented in the first of them."""
        shown = torch.zeros_like(state[f"{self.input} past"][0]).scatter_(1, self.axons(words), 1.0)
        for t in range(self.timing.period):
            state = self.tick(shown if t < self.timing.ticks else torch.zeros_like(shown), state)
            yield state

    def runner(self) -> TorchRunner:
        """The same network token by token."""
        return TorchRunner(self)

    def firing(self, state: State, name: str) -> torch.Tensor:
        """Spikes `[batch, neurons]` of a population in the tick that led to `state`."""
        return state[f"{name} past"][0]


def _later(values: torch.Tensor, steps: int) -> torch.Tensor:
    """`values` moved `steps` along the first axis, zeros in front."""
    if steps >= values.shape[0]:
        return torch.zeros_like(values)
    return torch.cat([torch.zeros_like(values[:steps]), values[: values.shape[0] - steps]])


def _pushed(past: torch.Tensor, newest: torch.Tensor) -> torch.Tensor:
    return torch.cat([newest[None], past[:-1]])


class TorchRunner:
    """A network in torch as a runner: a token in, logits out, one period of ticks each."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.reset(1)

    def reset(self, batch: int) -> None:
        """Bring the network to rest, for `batch` pieces side by side."""
        self.state = self.network.at_rest(batch)

    @torch.no_grad()
    def step(
        self, words: np.ndarray[tuple[int, int], np.dtype[np.int16]]
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Logits `[batch, N_AXONS]` for the token that follows `words` `[batch, 7]`."""
        net = self.network
        states = list(net.period(torch.as_tensor(np.asarray(words)), self.state))
        self.state = states[-1]
        return (states[net.timing.ticks - 1][net.readout] + net.bias).numpy()
