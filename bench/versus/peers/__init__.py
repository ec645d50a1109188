"""Networks of ours written with the neurons of other libraries, for `bench/versus/training.py`.

All libraries get the same plain PyTorch around their neurons. `ByPopulation` is the faster form, for graphs that allow
it. It runs population after population, so that a synapse is one matrix product over all ticks of the excerpt; a
population with a loop runs token after token. `ByTick` runs any graph. Both skip ticks in which a population cannot
spike, as muspike does: the membrane is multiplied by its decay instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

from muspike.errors import BadInput
from muspike.network import Network, Population, Synapse


class Neurons(nn.Module, ABC):
    """A population of a library, which keeps its state from call to call.

    Attributes:
        per_current: how many units of the library's input make one unit of ours. Not 1 if the library does not divide
            the input by tau.
    """

    per_current = 1.0

    @abstractmethod
    def rest(self) -> None:
        """Bring the membranes to 0, before the first tick."""

    @abstractmethod
    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        """The spikes `[ticks, batch, neurons]` for `currents` of the same shape, one tick for each."""

    @abstractmethod
    def idle(self, ticks: int) -> None:
        """Decay for `ticks` ticks without current."""

    @abstractmethod
    def membrane(self) -> torch.Tensor:
        """The membrane `[batch, neurons]` now; for readouts, which do not spike."""


def tau_of(population: Population) -> float:
    """The one `tau` (in ticks) of a population's neurons.

    Raises:
        BadInput: the neurons differ, which not every library can do.
    """
    return _common(population, "tau")


def v_threshold_of(population: Population) -> float:
    """The one `v_threshold` of a population's neurons; see `tau_of`."""
    return _common(population, "v_threshold")


def _common(population: Population, field: str) -> float:
    value = getattr(population, field)
    values = set(value) if isinstance(value, tuple) else {value}
    if len(values) != 1:
        raise BadInput(f"population {population.name}: {len(values)} values of {field}; the peers take one")
    return float(values.pop())


class Wires(nn.Module):
    """Constant weights `[target, source]`; or one number, if each neuron reaches only the neuron of its own index."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        weight = self.get_buffer("weight")
        return spikes @ weight.t() if weight.ndim else spikes * weight


class Peer(nn.Module, ABC):
    """`network` with the neurons that `make` gives for each population. It is called like `Network.forward`.

    Raises:
        BadInput: the neurons of a population differ.
    """

    def __init__(self, network: Network, make: Callable[[Population], Neurons]) -> None:
        super().__init__()
        self.input, self.readout = network.input, network.readout
        self.order = [name for name in network.order if name != network.input]
        self.into = {name: [s for s in network.synapses if s.target == name] for name in self.order}
        self.slots = {name: network.slots(name) for name in self.order}
        self.sizes = {name: network.populations[name].size for name in self.order}
        self.timing, self.axons = network.timing, network.axons
        self.neurons = nn.ModuleDict({name: make(network.populations[name]) for name in self.order})
        self.synapses = nn.ModuleDict({s.name: self._layer(network, s) for s in network.synapses})
        self.bias = nn.Parameter(network.bias.detach().clone())

    def _layer(self, network: Network, synapse: Synapse) -> nn.Module:
        scale = self.population(synapse.target).per_current
        if synapse.wires is not None:
            return Wires(torch.as_tensor(synapse.wires, dtype=torch.float32) * scale)
        weight = network.weights[synapse.name].detach() * scale
        targets, sources = weight.shape
        if synapse.source == self.input:
            # A Linear on dense seven-hot vectors would take longer.
            return nn.EmbeddingBag(sources, targets, mode="sum", _weight=weight.t().clone())
        layer = nn.Linear(sources, targets, bias=False)
        layer.weight = nn.Parameter(weight.clone())
        return layer

    def population(self, name: str) -> Neurons:
        neurons = self.neurons[name]
        assert isinstance(neurons, Neurons)
        return neurons

    @abstractmethod
    def forward(self, words: torch.Tensor, record: Iterable[str] = ()) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Logits `[tokens, batch, N_AXONS]`, and the spikes `[tokens, slots, batch, neurons]` of `record`."""

    def gradients(self) -> Mapping[str, torch.Tensor]:
        """The gradients of each synapse's weights and of the bias.

        The gradients of weights are `[target, source]`, in units of the network's own weights.
        """
        found = {"bias": _grad(self.bias)}
        for synapse in (s for into in self.into.values() for s in into if s.wires is None):
            grad = _grad(self.synapses[synapse.name].weight)
            oriented = grad.t() if synapse.source == self.input else grad
            found[synapse.name] = oriented * self.population(synapse.target).per_current
        return found


class ByPopulation(Peer):
    """Runs population after population, each over all tokens and ticks.

    Raises:
        BadInput: a delay is not a whole number of periods, or a loop goes through several populations.
    """

    def __init__(self, network: Network, make: Callable[[Population], Neurons]) -> None:
        super().__init__(network, make)
        for synapse in network.synapses:
            if synapse.delay % network.timing.period:
                raise BadInput(f"synapse {synapse.name}: by population, delays are whole periods, not {synapse.delay}")
            if network.order.index(synapse.source) > network.order.index(synapse.target):
                raise BadInput(f"synapse {synapse.name}: by population, a loop has one population")

    def forward(self, words: torch.Tensor, record: Iterable[str] = ()) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        tokens, batch, _ = words.shape
        axons = self.axons(words).flatten(0, 1)
        spikes: dict[str, torch.Tensor] = {}
        for name in self.order:
            loops: list[tuple[int, nn.Module]] = []
            currents = torch.zeros(())
            for synapse in self.into[name]:
                layer, tokens_ago = self.synapses[synapse.name], synapse.delay // self.timing.period
                if synapse.source == name:
                    loops.append((tokens_ago, layer))
                elif synapse.source == self.input:
                    rows = layer(axons).view(tokens, 1, batch, -1)
                    currents = currents + _later(rows, tokens_ago).expand(-1, self.timing.ticks, -1, -1)
                else:
                    currents = currents + _later(layer(spikes[synapse.source]), tokens_ago)
            spikes[name] = self._run(name, currents, loops)
        return spikes[self.readout] + self.bias, {name: spikes[name] for name in record}

    def _run(self, name: str, currents: torch.Tensor, loops: list[tuple[int, nn.Module]]) -> torch.Tensor:
        """The spikes `[tokens, ticks, batch, neurons]`; for the readout, its membrane after each token's last tick."""
        neurons, idle = self.population(name), self.timing.period - self.timing.ticks
        neurons.rest()
        answers: list[torch.Tensor] = []
        for n, current in enumerate(currents):
            for tokens_ago, layer in loops:
                if n >= tokens_ago:
                    current = current + layer(answers[n - tokens_ago])
            fired = neurons(current)
            answers.append(neurons.membrane() if name == self.readout else fired)
            if idle:
                neurons.idle(idle)
        return torch.stack(answers)


class ByTick(Peer):
    """Runs all populations tick after tick. This works for any graph."""

    def forward(self, words: torch.Tensor, record: Iterable[str] = ()) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        tokens, batch, _ = words.shape
        period, axons = self.timing.period, self.axons(words).flatten(0, 1)
        rows = {
            s.name: self.synapses[s.name](axons).view(tokens, batch, -1).unbind()
            for into in self.into.values()
            for s in into
            if s.source == self.input
        }
        # The spikes of each tick; None for ticks in which the population cannot spike.
        fired: dict[str, list[torch.Tensor | None]] = {name: [] for name in self.order}
        logits: list[torch.Tensor] = []
        for name in self.order:
            self.population(name).rest()
        for now in range(tokens * period):
            for name in self.order:
                if now % period >= self.slots[name]:
                    fired[name].append(None)
                    continue
                current = torch.zeros(batch, self.sizes[name])
                for synapse in self.into[name]:
                    token, tick = divmod(now - synapse.delay, period)
                    if token < 0:
                        continue
                    if synapse.source == self.input:
                        if tick < self.timing.ticks:
                            current = current + rows[synapse.name][token]
                    elif (spikes := fired[synapse.source][now - synapse.delay]) is not None:
                        current = current + self.synapses[synapse.name](spikes)
                fired[name] += self.population(name)(current[None]).unbind()
                if name == self.readout and now % period == self.timing.ticks - 1:
                    logits.append(self.population(name).membrane())
                if now % period == self.slots[name] - 1 and period > self.slots[name]:
                    self.population(name).idle(period - self.slots[name])
        spiking = {name: torch.stack([s for s in fired[name] if s is not None]) for name in record}
        return torch.stack(logits) + self.bias, {n: s.unflatten(0, (tokens, -1)) for n, s in spiking.items()}


def _grad(parameter: torch.Tensor | nn.Module) -> torch.Tensor:
    assert isinstance(parameter, torch.Tensor) and parameter.grad is not None
    return parameter.grad


def _later(values: torch.Tensor, tokens: int) -> torch.Tensor:
    """`values` shifted by `tokens` tokens, with zeros in front."""
    if not tokens:
        return values
    return torch.cat([torch.zeros_like(values[:tokens]), values[:-tokens]])
