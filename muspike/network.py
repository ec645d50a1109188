"""A spiking network as a graph: populations, synapses, and how long a token lasts.

An architecture is a function that returns a `Network`. This graph is the only description of a model: it is trained
here, exported to NIR node by node, and put on a chip.

A network runs in two ways, which are equal spike for spike up to the order of floating-point sums. `Network.forward`
is for training: it computes all tokens and ticks of a population at once. `Network.tick` computes one tick of any
graph: it defines what the graph means, and generation uses it.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from muspike import host, sounding
from muspike.arguments import instance, is_number, listed, one_of, refuse, whole
from muspike.errors import BadInput
from muspike.host import SILENT, Noise, Reader, Runner, Timing, input_axons
from muspike.labels import UNKNOWN, UNLABELLED, Labels
from muspike.layer import Gather, Loop, Source, drive, later, leaky_answers, lif_layer, project, split
from muspike.neurons import Clock, LIFParameters, LIFState, lif_step, rested
from muspike.sounding import DEAF, Hearing
from muspike.tokens import FEATURES, N_AXONS

Kind = Literal["input", "lif", "li"]
# The largest tau and v_threshold: with larger ones neither a chip nor float32 can tell a membrane from 0.
_LARGEST = 1e6


@dataclass(frozen=True)
class Population:
    """Neurons of one kind.

    Attributes:
        name: unique in the network.
        size: number of neurons.
        kind: "input" (axons that the host makes spike), "lif" (spiking neurons) or "li" (readout, without spikes).
        tau: time constant of the membrane in ticks, at least 1: one value for all neurons, or one per neuron. A
            readout has one value.
        v_threshold: a neuron spikes when its membrane exceeds it; one value for all neurons, or one per neuron.

    Raises:
        BadInput: `name` is no text, is empty or has a dot; `size` is no whole number of at least 1; there is no such
            kind; or `tau` or `v_threshold` is out of its range or has another number of values than there are neurons.
    """

    name: str
    size: int
    kind: Kind = "lif"
    tau: float | tuple[float, ...] = 2.0
    v_threshold: float | tuple[float, ...] = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or "." in self.name:  # torch names its weights so
            raise refuse("population: name", self.name, "a text that is not empty and has no dot")
        whole(f"population {self.name}: size", self.size, 1)
        one_of(f"population {self.name}: kind", self.kind, get_args(Kind))
        for field in ("tau", "v_threshold"):
            value = getattr(self, field)
            for one in value if isinstance(value, tuple) else (value,):
                if not is_number(one):
                    raise refuse(f"population {self.name}: {field}", value, "a number, or a tuple with one per neuron")
            if isinstance(value, tuple) and len(value) != self.size:
                raise BadInput(f"population {self.name}: {len(value)} values of {field} for {self.size} neurons")
        for field in ("tau", "v_threshold"):
            if not np.max(getattr(self, field)) <= _LARGEST:
                raise BadInput(f"population {self.name}: {field} {np.max(getattr(self, field))} is above {_LARGEST:g}")
        if not np.min(self.tau) >= 1:
            raise BadInput(f"population {self.name}: tau {np.min(self.tau)} is not at least one tick")
        if not np.min(self.v_threshold) >= 0:
            raise BadInput(f"population {self.name}: v_threshold {np.min(self.v_threshold)} is not at least 0")
        if self.kind == "li" and isinstance(self.tau, tuple):
            raise BadInput(f"population {self.name}: a readout has one tau for all its neurons")


def and_gate(name: str, size: int) -> Population:
    """Neurons that spike when two synapses of weight 1 each bring a spike in the same tick."""
    return Population(name, size, tau=1.0, v_threshold=1.5)


def or_gate(name: str, size: int) -> Population:
    """Neurons that spike when any synapse of weight 1 brings a spike.

    A spike through a synapse of weight -1 is a veto: it cancels one spike through a synapse of weight 1.
    """
    return Population(name, size, tau=1.0, v_threshold=0.5)


@dataclass(frozen=True, eq=False)
class Synapse:
    """Connections from every neuron of one population, or from some in a row, to every neuron of another.

    Attributes:
        source: name of the population that spikes.
        target: name of the population that receives the spikes.
        delay: ticks (ideal time) after which a spike arrives.
        wires: None for trained weights; a matrix `[target, source]` of constant weights; or a number, the constant
            weight of one-to-one connections (each neuron reaches only the neuron of its own index).
        part: the neurons of the source that it starts from: the first, and the one after the last. None: all. Weights
            of a part are trained, `[target, neurons of the part]`.

    Raises:
        BadInput: an end is no text, `delay` is no whole number of at least 0, `wires` are neither a finite number nor
            a matrix of finite numbers, or `part` is no range of neurons or has wires.
    """

    source: str
    target: str
    delay: int = 0
    wires: float | npt.NDArray[np.float32] | None = None
    part: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        instance("synapse: source", self.source, str, "the name of a population")
        instance("synapse: target", self.target, str, "the name of a population")
        where = f"synapse {self.source}_to_{self.target}"
        whole(f"{where}: delay", self.delay, 0)
        if self.wires is not None:
            try:
                wires = np.asarray(self.wires)
            except ValueError:  # rows of unequal length
                wires = np.asarray(None)
            if wires.dtype.kind not in "iuf" or wires.ndim not in (0, 2) or not np.isfinite(wires).all():
                raise refuse(f"{where}: wires", self.wires, "a finite number, or a matrix [target, source] of them")
        if self.part is not None:
            first, last = self.part
            if not 0 <= whole(f"{where}: part", first, 0) < whole(f"{where}: part", last, 1):
                raise BadInput(f"{where}: part is {self.part}; expected the first neuron, and the one after the last")
            if self.wires is not None:
                raise BadInput(f"{where}: part is {self.part} and wires are given; expected one of them at most")

    @property
    def name(self) -> str:
        after = f"_after_{self.delay}" if self.delay else ""
        part = "" if self.part is None else f"_{self.part[0]}_{self.part[1]}"
        return f"{self.source}{part}_to_{self.target}{after}"

    @property
    def neurons(self) -> slice:
        """The neurons of the source that it starts from."""
        return slice(None) if self.part is None else slice(*self.part)


def completed(words: torch.Tensor, reader: Reader, training: bool) -> torch.Tensor:
    """`words` with all columns that `reader` reads, `[..., 7 + labels + draws]`.

    `words` `[..., 7]` get unknown labels, and words without noise get draws. Outside training, the draws of `words`
    `[tokens, pieces, columns]` are those of `host.completed`. In training, and for `words` of another number of axes,
    the draws come from torch's random state.

    Raises:
        BadInput: `words` have another number of columns.
    """
    noise, labels, columns = reader.noise, host.labels_of(reader), words.shape[-1]
    host.check_columns(columns, noise, labels)
    if columns == len(FEATURES) + len(labels.axes) + noise.draws:
        return words
    if not training and words.ndim == 3:
        return torch.from_numpy(host.completed(words.cpu().numpy(), reader)).to(words.device)
    if columns == len(FEATURES) and labels:
        words = torch.cat([words, words.new_full((*words.shape[:-1], len(labels.axes)), UNKNOWN)], -1)
    if not noise.draws:
        return words
    drawn = torch.randint(noise.values, (*words.shape[:-1], noise.draws), device=words.device)
    return torch.cat([words, drawn], -1)


def read_axons(words: torch.Tensor, reader: Hearer, offsets: torch.Tensor, heard: sounding.State) -> torch.Tensor:
    """The axons on which each word spikes, int64 `[tokens, batch, columns]`.

    Args:
        words: with their labels and noise, `[tokens, batch, 7 + labels + draws]`.
        reader: what hears them.
        offsets: `Noise.offsets`, on the device of `words`.
        heard: what has sounded before the words; it is brought up to date.

    Returns:
        One axon per feature and draw; then those of what sounds and of the labels, with `sounding.NONE` where there is
        no spike.
    """
    hearing, labels = reader.hearing, reader.labels
    first, last = len(FEATURES), len(FEATURES) + len(labels.axes)
    axons = (torch.cat([words[..., :first], words[..., last:]], -1) if labels else words).long() + offsets
    if not (hearing or labels):
        return axons
    more = host.context_axons(words.cpu().numpy(), reader.noise, hearing, labels, heard)
    return torch.cat([axons, torch.from_numpy(more).to(axons.device)], -1)


def spiked(axons: torch.Tensor, size: int) -> torch.Tensor:
    """Spikes `[..., size]` on `axons` `[..., k]`; an axon of `sounding.NONE` is none."""
    spikes = torch.zeros(*axons.shape[:-1], size + 1, device=axons.device)
    spikes.scatter_(-1, torch.where(axons < 0, size, axons), 1.0)
    return spikes[..., :size]


def _within(axons: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Those of `axons` from `first` to before `last`, numbered from `first`; `sounding.NONE` for the others."""
    return torch.where((axons >= first) & (axons < last), axons - first, sounding.NONE)


State = dict[str, torch.Tensor]
Rounding = Callable[[Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]]


class Hearer(Reader, Protocol):
    """What hears words and all that is beside them, such as a `Generator`."""

    @property
    def hearing(self) -> Hearing:
        """What it hears of what sounds."""

    @property
    def labels(self) -> Labels:
        """The labels that it hears."""


class Generator(nn.Module, ABC):
    """A network, spiking or not, that computes logits for the next token from the tokens so far.

    Every architecture builds one.

    Attributes:
        timing: how long a token lasts.
        noise: random input beside a token.
        hearing: axons on which the host also spikes for what sounds.
        labels: axons on which the host also spikes for the labels of a piece.
        bias: a constant per logit that the host adds, `[N_AXONS]`.
    """

    timing: Timing
    noise: Noise
    hearing: Hearing
    labels: Labels
    bias: torch.Tensor

    @abstractmethod
    def forward(
        self,
        words: torch.Tensor,
        record: Iterable[str] = (),
        regularise: dict[str, torch.Tensor] | None = None,
        dropout: float = 0.0,
        heard: sounding.State | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Logits `[tokens, batch, N_AXONS]` after each of `words` `[tokens, batch, 7]`; see `Network.forward`."""

    @abstractmethod
    def runner(self) -> Runner:
        """A runner that computes this network token by token."""


class Ran(NamedTuple):
    """The result of a composite.

    Each synapse from a member to a population outside needs an entry: the spikes of its source, or its own current.

    Attributes:
        spikes: by member, `[time, batch, neurons]`; only of members whose spikes others read.
        rates: by member, for all members: mean spikes per neuron and slot. A rate may lack a gradient, as in logic that
            only passes on what was written.
        currents: by synapse name, `[time, batch, neurons]`.
    """

    spikes: dict[str, torch.Tensor]
    rates: dict[str, torch.Tensor]
    currents: dict[str, torch.Tensor]


class Composite(Protocol):
    """A faster way to train some populations together, equal to them spike for spike.

    A composite exists in training only: on a chip, in a NIR file and in `Network.tick` its members are ordinary
    populations.
    """

    @property
    def members(self) -> Sequence[str]:
        """Names of the populations that the composite computes, with the loops among them."""

    def run(
        self,
        network: Network,
        weights: Mapping[str, torch.Tensor],
        spikes: Mapping[str, torch.Tensor],
        driven: Callable[[str], torch.Tensor],
    ) -> Ran:
        """Compute the members for all time at once.

        Args:
            network: the network that the members belong to.
            weights: `[target, source]`, by synapse name.
            spikes: `[time, batch, neurons]`, of populations computed before, by name.
            driven: gives the current `[time, batch, neurons]` that reaches a member from outside the composite.
        """


class Network(Generator):
    """Populations and synapses that read seven-hot tokens and compute logits for the next token.

    The logits of token n are the readout's membrane at ideal tick n * period + ticks - 1, plus a constant per logit.

    Args:
        populations: exactly one of kind "input", with as many axons as `input_axons` says, and exactly one of kind
            "li", the readout, with `N_AXONS` neurons.
        synapses: between these populations. Trained weights start at 0.
        timing: how long a token lasts.
        composites: faster ways to train some of the populations.
        noise: random input beside a token.
        hearing: axons on which the host also spikes for what sounds.
        labels: axons on which the host also spikes for the labels of a piece.

    Raises:
        BadInput: two populations or two synapses share a name; a synapse names an unknown population, leaves the
            readout or enters the input; there is not one input and one readout of the right size; nothing reaches a
            population; wires have the wrong shape; a loop has no delay; a population outside a composite is in a loop
            with its members.
    """

    def __init__(
        self,
        populations: Sequence[Population],
        synapses: Sequence[Synapse],
        timing: Timing,
        composites: Sequence[Composite] = (),
        noise: Noise = SILENT,
        hearing: Hearing = DEAF,
        labels: Labels = UNLABELLED,
    ) -> None:
        super().__init__()
        for what, given, kind in (("population", populations, Population), ("synapse", synapses, Synapse)):
            for one in listed(f"network: {what}s", given, f"a list of {kind.__name__}"):
                instance(f"network: a {what}", one, kind, f"a {kind.__name__}")
        instance("network: timing", timing, Timing, "a Timing")
        instance("network: noise", noise, Noise, "a Noise")
        instance("network: hearing", hearing, Hearing, "a Hearing")
        instance("network: labels", labels, Labels, "a Labels")
        for one in listed("network: composites", composites, "a list of composites"):
            if not hasattr(one, "members"):
                raise refuse("network: a composite", one, "a Composite, with its members")
        self.populations: Mapping[str, Population] = {p.name: p for p in populations}
        self.synapses = tuple(synapses)
        self.timing, self.composites = timing, tuple(composites)
        self.noise, self.hearing, self.labels = noise, hearing, labels
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
        self.input = self._only("input", input_axons(noise, hearing, labels))
        self.readout = self._only("li", N_AXONS)
        for name in self.populations:
            if name != self.input and not any(s.source != name for s in self._into(name)):
                raise BadInput(f"population {name}: nothing else reaches it")
        self.order = self._by_tick()
        weights = {}
        for synapse in synapses:
            shape = self.populations[synapse.target].size, self.populations[synapse.source].size
            if synapse.part is not None and synapse.part[1] > shape[1]:
                raise BadInput(
                    f"synapse {synapse.name}: part {synapse.part} reaches beyond the {shape[1]} neurons of "
                    f"{synapse.source}"
                )
            if synapse.wires is None:
                of_source = range(shape[1])[synapse.neurons]
                weights[synapse.name] = nn.Parameter(torch.zeros(shape[0], len(of_source)))
            else:
                self._wire(synapse, shape)
        self.weights = nn.ParameterDict(weights)
        self.bias = nn.Parameter(torch.zeros(N_AXONS))
        self.alpha = 2.0
        # Rounds all trained weights, by synapse name, when training for a chip.
        self.rounding: Rounding | None = None
        # Compute the dense products of the backward pass in bfloat16.
        self.low_precision = False
        self._units = self._in_units()
        self._token_synchronous = self._find_token_synchronous()
        self.register_buffer("_offsets", torch.as_tensor(noise.offsets, dtype=torch.int64), persistent=False)

    def _only(self, kind: Kind, size: int) -> str:
        names = [p.name for p in self.populations.values() if p.kind == kind]
        if len(names) != 1:
            raise BadInput(f"network: has {len(names)} populations of kind {kind}, needs one")
        if self.populations[names[0]].size != size:
            raise BadInput(f"population {names[0]}: {self.populations[names[0]].size} neurons, tokens have {size}")
        return names[0]

    def _wire(self, synapse: Synapse, shape: tuple[int, int]) -> None:
        wires = torch.as_tensor(synapse.wires, dtype=torch.float32)
        if wires.ndim == 0 and shape[0] != shape[1]:
            raise BadInput(f"synapse {synapse.name}: one-to-one wires cannot join {shape[1]} neurons to {shape[0]}")
        if wires.ndim and wires.shape != shape:
            raise BadInput(f"synapse {synapse.name}: wires are {tuple(wires.shape)}, its populations need {shape}")
        self.register_buffer(f"_wires_{synapse.name}", wires, persistent=False)

    def _into(self, target: str) -> list[Synapse]:
        return [s for s in self.synapses if s.target == target]

    def _by_tick(self) -> list[str]:
        """Names of all populations, each after those whose spikes reach it within the same tick."""
        order: list[str] = []
        waiting = list(self.populations)
        while waiting:
            ready = [n for n in waiting if all(s.delay or s.source in order for s in self._into(n))]
            if not ready:
                raise BadInput(f"network: a loop needs a delay of at least one tick: {', '.join(waiting)}")
            order += ready
            waiting = [n for n in waiting if n not in ready]
        return order

    def _in_units(self) -> list[tuple[Composite | None, list[str]]]:
        """Groups of populations that training computes together, each after the groups whose spikes it reads.

        A group is a composite and its members, or (with None) a loop of populations or a single population.
        """
        reach = {name: {s.source for s in self._into(name)} for name in self.populations}
        for known in self.composites:
            for member in known.members:
                reach[member] |= set(known.members)
        before = {name: reachable(reach, name) for name in self.populations}
        units: list[tuple[Composite | None, list[str]]] = []
        for name in sorted(self.order, key=lambda n: len(before[n])):
            members = [n for n in self.order if n == name or (n in before[name] and name in before[n])]
            if name == members[0]:
                composite = next((c for c in self.composites if name in c.members), None)
                if composite is not None and set(members) != set(composite.members):
                    more = ", ".join(sorted(set(members) ^ set(composite.members)))
                    raise BadInput(f"network: {more} and the composite of {name} are in a loop; it must be one of them")
                units.append((composite, members))
        return units

    def _find_token_synchronous(self) -> set[str]:
        """Populations that can spike only in the first `ticks` ticks of a token.

        All spikes that reach such a population come from the input or from other such populations, after whole periods.
        """
        found: set[str] = set()
        for _, members in self._units:
            into = [s for name in members for s in self._into(name)]
            if all(s.delay % self.timing.period == 0 and (s.source in found or s.source in members) for s in into):
                found |= set(members)
        return found

    def parameters_of(self, name: str) -> LIFParameters:
        """Parameters of a population: `tau` and `v_threshold` as tensors, `[neurons]` or scalar."""
        p = self.populations[name]
        tau, v_threshold = (self.bias.new_tensor(value) for value in (p.tau, p.v_threshold))
        return LIFParameters(tau, v_threshold, self.alpha)

    def axons(self, words: torch.Tensor, heard: sounding.State | None = None) -> torch.Tensor:
        """The input axons on which each token spikes, `[tokens, batch, columns]`; see `read_axons`.

        Args:
            words: `[tokens, batch, 7 + labels + draws]`; `completed` adds columns that are missing.
            heard: the state of what has sounded before the words, which is brought up to date. None: silence.
        """
        state = sounding.silence(words.shape[1]) if heard is None else heard
        return read_axons(completed(words, self, self.training), self, self.get_buffer("_offsets"), state)

    @property
    def recordable(self) -> list[str]:
        """Names of the LIF populations outside composites, whose spikes `forward` returns on demand."""
        within = {member for composite in self.composites for member in composite.members}
        return [p.name for p in self.populations.values() if p.kind == "lif" and p.name not in within]

    def is_trained(self, name: str) -> bool:
        """Whether a synapse with trained weights enters population `name`."""
        return any(synapse.wires is None for synapse in self._into(name))

    def slots(self, name: str) -> int:
        """Number of slots per token in which a population can spike: the first `ticks` of the period, or all of it."""
        return self.timing.ticks if name in self._token_synchronous else self.timing.period

    def clock(self, name: str) -> Clock:
        """The slots of a population and the idle ticks after them."""
        slots = self.slots(name)
        return Clock(slots, self.timing.ticks, self.timing.period - slots)

    def in_slots(self, delay: int, name: str) -> int:
        """`delay`, in ticks, of a synapse into population `name`, converted to slots of that population."""
        return delay * self.slots(name) // self.timing.period

    def forward(
        self,
        words: torch.Tensor,
        record: Iterable[str] = (),
        regularise: dict[str, torch.Tensor] | None = None,
        dropout: float = 0.0,
        heard: sounding.State | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Compute the logits after each token, starting from a network at rest.

        Args:
            words: `[tokens, batch, 7]`, or with labels, or with labels and noise `[tokens, batch, 7 + labels + draws]`.
            record: names of populations whose spikes are returned.
            regularise: a dict that receives the mean firing rate, in spikes per neuron and tick, of every LIF
                population, with its gradient.
            dropout: in training, the share of the neurons that trained synapses to other populations do not hear. The
                neurons are drawn for each piece and stay silent for all its tokens. Loops hear all neurons.
            heard: what has sounded before the words; None: nothing, they begin their pieces.

        Returns:
            Logits `[tokens, batch, N_AXONS]`, and by name the spikes `[tokens, slots, batch, neurons]` of the
            populations in `record`. There is a slot per tick in which a population can spike: the first `ticks` of each
            period, or all of it.

        Raises:
            BadInput: a population in `record` does not spike, or a composite keeps its spikes to itself.
        """
        axons, tokens = self.axons(words, None if heard is None else heard.copy()), words.shape[0]
        weights = self._held()
        run = _Run(self, weights, axons, dropout if self.training else 0.0)
        for composite, members in self._units:
            if composite is not None:
                ran = composite.run(self, weights, run.spikes, lambda n: run.driven(n, outside=members))  # noqa: B023
                run.currents |= ran.currents
                run.add(ran.spikes, ran.rates)
            elif len(members) > 1 or self._wired_onto_itself(members[0]):
                spikes = run.stepped(members)
                run.add(spikes, {name: values.mean() for name, values in spikes.items()})
            elif self.populations[members[0]].kind == "lif":
                spikes = {members[0]: run.layer(members[0])}
                run.add(spikes, {name: values.mean() for name, values in spikes.items()})
        if regularise is not None:
            for name, rate in run.rates.items():
                regularise[name] = rate * self.slots(name) / self.timing.period
        record = list(record)
        for name in record:
            if name not in run.spikes:
                raise BadInput(f"record: {name} has no spikes of its own here; without_composites() may have them")
        return run.logits(), {n: split(run.spikes[n], 0, tokens, self.slots(n)) for n in record}

    def without_composites(self) -> Network:
        """A copy of the network, weights included, that computes its populations without composites."""
        plain = copy.deepcopy(self)
        plain.composites = ()
        plain._units = plain._in_units()
        return plain

    def _wired_onto_itself(self, name: str) -> bool:
        return any(s.source == name and s.wires is not None for s in self._into(name))

    def at_rest(self, batch: int) -> State:
        """The state of a network at rest, from which `tick` starts, for `batch` pieces."""
        state = {}
        for name, population in self.populations.items():
            if population.kind != "input":
                state[name] = self.bias.new_zeros(batch, population.size)
            past = max((s.delay for s in self.synapses if s.source == name), default=0)
            # Spikes of the population in this tick and the `past` ticks before, newest first.
            state[f"{name} past"] = self.bias.new_zeros(past + 1, batch, population.size)
        if self.hearing:
            state[_HEARD] = torch.from_numpy(sounding.silence(batch))
        return state

    def tick(self, spikes_in: torch.Tensor, state: State) -> State:
        """Advance by one tick in ideal time and return the new state.

        Args:
            spikes_in: input spikes of this tick, `[batch, axons]`.
            state: the state before the tick. `state[name]` is the membrane of a population, `[batch, neurons]`;
                `state[name + " past"]` are its spikes, `[ticks, batch, neurons]`, newest first.
        """
        after: State = {_HEARD: state[_HEARD]} if self.hearing else {}
        weights = self._held()
        for name in self.order:
            population = self.populations[name]
            past = state[f"{name} past"]
            if population.kind == "input":
                after[f"{name} past"] = _pushed(past, spikes_in)
                continue
            current = torch.zeros_like(state[name])
            for s in self._into(name):
                # A source later in the order has not been pushed yet: its newest spikes are one tick old.
                pushed = after.get(f"{s.source} past")
                source = state[f"{s.source} past"][s.delay - 1] if pushed is None else pushed[s.delay]
                current = current + self._through(s, source, weights)
            p = self.parameters_of(name)
            if population.kind == "li":
                after[name] = state[name] + 1 / p.tau * (current - state[name])
                after[f"{name} past"] = past
            else:
                fired, moved = lif_step(current, LIFState(state[name]), p)
                after[name] = moved.v
                after[f"{name} past"] = _pushed(past, fired)
        return after

    def matrix(self, synapse: Synapse, weight: torch.Tensor) -> torch.Tensor:
        """The `weight` of a trained synapse as a matrix `[target, source]`, with 0 for neurons outside its part."""
        if synapse.part is None:
            return weight
        whole = weight.new_zeros(weight.shape[0], self.populations[synapse.source].size)
        whole[:, synapse.neurons] = weight
        return whole

    def _held(self) -> Mapping[str, torch.Tensor]:
        """The trained weights to compute with, by synapse name: rounded if `rounding` is set."""
        weights = dict(self.weights)
        return self.rounding(weights) if self.rounding else weights

    def _through(self, synapse: Synapse, spikes: torch.Tensor, weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The current `[..., target]` that `spikes` `[..., source]` give through `synapse`."""
        if synapse.wires is None:
            return spikes[..., synapse.neurons] @ weights[synapse.name].t()
        wires = self.get_buffer(f"_wires_{synapse.name}")
        return spikes @ wires.t() if wires.ndim else spikes * wires

    def period(self, words: torch.Tensor, state: State) -> Iterator[State]:
        """Yield the state after each tick of one token's period.

        `words` `[batch, 7]` (or `[batch, 7 + labels + draws]`) are presented in the first `ticks` ticks. `state` is the
        state before the period.
        """
        heard = None
        if self.hearing:
            state = {**state, _HEARD: state[_HEARD].clone()}
            heard = state[_HEARD].numpy()
        shown = spiked(self.axons(words[None], heard)[0], self.populations[self.input].size).to(self.bias.dtype)
        for t in range(self.timing.period):
            state = self.tick(shown if t < self.timing.ticks else torch.zeros_like(shown), state)
            yield state

    def runner(self) -> TorchRunner:
        """A runner that computes this network token by token."""
        return TorchRunner(self)

    def firing(self, state: State, name: str) -> torch.Tensor:
        """Spikes `[batch, neurons]` of population `name` in the tick that led to `state`."""
        return state[f"{name} past"][0]


# The entry of a state that holds what has sounded.
_HEARD = "heard"


def _pushed(past: torch.Tensor, newest: torch.Tensor) -> torch.Tensor:
    return torch.cat([newest[None], past[:-1]])


def reachable(reach: Mapping[str, set[str]], start: str) -> set[str]:
    """All names that can be reached from `start` in one or more steps; `reach` holds the single steps."""
    found: set[str] = set()
    waiting = list(reach[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += reach[name]
    return found


class _Run:
    """One forward pass, with the spikes, rates and currents computed so far.

    All spikes and currents are `[time, batch, neurons]`.
    """

    def __init__(
        self, network: Network, weights: Mapping[str, torch.Tensor], axons: torch.Tensor, dropout: float
    ) -> None:
        self.network, self.weights, self.dropout = network, weights, dropout
        self.axons = axons  # [tokens, batch, columns]
        self.spikes: dict[str, torch.Tensor] = {}
        self.currents: dict[str, torch.Tensor] = {}
        self.rates: dict[str, torch.Tensor] = {}
        # By population: the neurons that its trained synapses to others hear, `[batch, neurons]`.
        self._kept: dict[str, torch.Tensor] = {}

    def add(self, spikes: Mapping[str, torch.Tensor], rates: Mapping[str, torch.Tensor]) -> None:
        self.spikes |= spikes
        self.rates |= rates
        if self.dropout:
            for name, values in spikes.items():
                self._kept[name] = torch.rand(values.shape[1:], device=values.device) >= self.dropout

    def layer(self, name: str) -> torch.Tensor:
        """Spikes of a LIF population that is in no loop with another population."""
        net = self.network
        loops, rest = [], []
        for s in net._into(name):
            if s.source == name and s.wires is None:
                loops.append(Loop(self.weights[s.name], net.in_slots(s.delay, name)))
            else:
                rest.append(s)
        gathers, sources, current = self._split(name, rest)
        return lif_layer(
            net.parameters_of(name),
            net.clock(name),
            self._shape(name),
            gathers,
            sources,
            loops,
            current,
            net.low_precision,
        )

    def driven(self, name: str, outside: Sequence[str]) -> torch.Tensor:
        """The current that reaches population `name` from populations that are not in `outside`."""
        net = self.network
        gathers, sources, current = self._split(name, [s for s in net._into(name) if s.source not in outside])
        return drive(net.clock(name), self._shape(name), gathers, sources, current, net.low_precision)

    def _shape(self, name: str) -> tuple[int, int, int]:
        tokens, batch, _ = self.axons.shape
        return tokens * self.network.slots(name), batch, self.network.populations[name].size

    def _split(self, name: str, synapses: Sequence[Synapse]) -> tuple[list[Gather], list[Source], torch.Tensor | None]:
        """Sort synapses into population `name` by how they are computed.

        Trained synapses become gathers if they come from the input after whole periods, else sources. The others, which
        are wires or have a current that a composite computed, are added up to one current (None if there are none).
        """
        net, timing = self.network, self.network.timing
        gathers, sources, rest = [], [], []
        for s in synapses:
            trained = s.wires is None
            if s.source == net.input and trained and s.delay % timing.period == 0:
                axons = self.axons if s.part is None else _within(self.axons, *s.part)
                gathers.append(Gather(axons, self.weights[s.name], s.delay // timing.period))
            elif s.name in self.currents:
                rest.append(later(self.currents[s.name], net.in_slots(s.delay, name)))
            else:
                spikes = self._in_slots_of(name, s.source)
                if trained:
                    kept = self._kept.get(s.source)
                    if s.part is not None:
                        spikes, kept = spikes[..., s.neurons], None if kept is None else kept[..., s.neurons]
                    weight = self.weights[s.name] if kept is None else self.weights[s.name] / (1 - self.dropout)
                    sources.append(Source(spikes, weight, net.in_slots(s.delay, name), kept))
                else:
                    rest.append(later(net._through(s, spikes, self.weights), net.in_slots(s.delay, name)))
        return gathers, sources, torch.stack(rest).sum(0) if len(rest) > 1 else rest[0] if rest else None

    def _in_slots_of(self, target: str, source: str) -> torch.Tensor:
        """Spikes of `source` on the slots of `target`, which has at least as many slots per token."""
        net = self.network
        if source == net.input:
            shown = spiked(self.axons, net.populations[source].size)
            spikes, slots = shown.repeat_interleave(net.timing.ticks, 0), net.timing.ticks
        else:
            spikes, slots = self.spikes[source], net.slots(source)
        if slots == net.slots(target):
            return spikes
        spikes = split(spikes, 0, -1, slots)
        return nn.functional.pad(spikes, (0, 0, 0, 0, 0, net.slots(target) - slots)).flatten(0, 1)

    def stepped(self, members: Sequence[str]) -> dict[str, torch.Tensor]:
        """Spikes of populations that form a loop, computed slot by slot. This works for any graph, but slowly."""
        net = self.network
        clock = net.clock(members[0])
        outside = {name: self.driven(name, outside=members) for name in members if self._reached(name, members)}
        spikes: dict[str, list[torch.Tensor]] = {name: [] for name in members}
        state = {name: LIFState(net.bias.new_zeros(self._shape(name)[1:])) for name in members}
        for t in range(self._shape(members[0])[0]):
            for name in members:
                p = net.parameters_of(name)
                current = outside[name][t] if name in outside else torch.zeros_like(state[name].v)
                for s in net._into(name):
                    past = t - net.in_slots(s.delay, name)
                    if s.source in members and past >= 0:
                        current = current + net._through(s, spikes[s.source][past], self.weights)
                fired, state[name] = lif_step(current, state[name], p)
                spikes[name].append(fired)
                if (t + 1) % clock.slots == 0:
                    state[name] = rested(state[name], p, clock.idle)
        return {name: torch.stack(values) for name, values in spikes.items()}

    def _reached(self, name: str, members: Sequence[str]) -> bool:
        return any(s.source not in members for s in self.network._into(name))

    def logits(self) -> torch.Tensor:
        """The readout's membrane at the last presented tick of every token, plus the constant of each logit.

        The readout is linear, so the leaky integration comes first. The product with the weights is then needed only
        once per token.
        """
        net = self.network
        tau = net.populations[net.readout].tau
        assert not isinstance(tau, tuple)
        clock = net.clock(net.readout)
        logits: torch.Tensor = net.bias
        for s in net._into(net.readout):
            spikes = self._in_slots_of(net.readout, s.source)[..., s.neurons]
            answers = leaky_answers(later(spikes, net.in_slots(s.delay, net.readout)), tau, clock)
            if s.wires is not None:
                logits = logits + net._through(s, answers, self.weights)
                continue
            if s.source in self._kept:
                answers = answers * (self._kept[s.source][..., s.neurons] / (1 - self.dropout))
            logits = logits + project(answers, self.weights[s.name], net.low_precision)
        return logits


class TorchRunner:
    """A runner that computes a network in torch, one period of ticks for each token."""

    def __init__(self, network: Network) -> None:
        self.network, self.noise, self.labels = network, network.noise, network.labels
        self.reset(1)

    def reset(self, batch: int) -> None:
        """Bring the network to rest and get it ready for `batch` pieces side by side."""
        self.state = self.network.at_rest(batch)

    @torch.no_grad()
    def step(
        self, words: np.ndarray[tuple[int, int], np.dtype[np.int16]]
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Logits `[batch, N_AXONS]` for the next word of each piece, after `words` `[batch, 7 + labels + draws]`."""
        net = self.network
        states = list(net.period(torch.as_tensor(np.asarray(words), device=net.bias.device), self.state))
        self.state = states[-1]
        return (states[net.timing.ticks - 1][net.readout] + net.bias).cpu().numpy()
