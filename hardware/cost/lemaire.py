"""The memory model of Lemaire et al. 2022: a spiking network against the same network without spikes, on one target.

E. Lemaire, L. Cordone, A. Castagnetti, P.-E. Novac, J. Courtois, B. Miramond, "An Analytical Estimation of Spiking
Neural Networks Energy Efficiency", ICONIP 2022, arXiv 2210.13107. The equations are numbered as in the authors' code
(qualia-plugin-snn), through which the paper was read. Where this code says that the paper is wrong (Eq. 2.4), the code
is followed.

The target is one 45 nm chip with all memory on it (`lemaire.toml`). Both networks pay for memory accesses, for
operations and for addressing. The spiking network works event by event: a spike reads its weights, and reads and writes
the membranes that it reaches. In each tick, every membrane is read, leaks and is written. The network without spikes
is evaluated once per inference, densely: every input and every weight counts, also where an input is 0.

The paper's networks read images; ours read inputs that are 0 or 1, and mostly 0. A network without spikes need not
multiply by those zeros: it can look up the rows of weights of the inputs that are 1. So there is a third network, which
does, and the band of `Lemaire.whole_ratio` holds both.

What is extended to networks that are no chain of layers: what a spike causes is counted for each group of synapses, and
what a tick causes once for each population. An inference takes `Inferences.period` ticks, idle ones included, because a
membrane also leaks in these.

Left out: static power, clock, control, the way of a spike across a chip, reuse of what was read, and the synaptic
current (u), which the paper's neurons do not have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware import weights as w
from muspike.hardware.cost.bill import Bill, Ratio, constants_of, ratio, total
from muspike.hardware.cost.inference import Inferences, activity_of, connections, fan_out
from muspike.hardware.cost.quantity import Quantity
from muspike.hardware.program import ChipSynapses, Program
from muspike.hardware.weights import Conv

Array = npt.NDArray[Any]
Width = Literal[32, 8]

WIDTHS: tuple[Width, ...] = (32, 8)
"""Bits of a word of memory and of an operation: those of the paper, and those of a chip's weight."""


@dataclass(frozen=True)
class Term:
    """A term of the model, for the inferences of a run.

    Attributes:
        name: what is counted.
        equation: the number of its equation; "-" where the code gives none.
        kind: an access to a memory, a multiply-accumulate, or an accumulate.
        count: how many there are.
        words: of an access: the words that the memory holds.
    """

    name: str
    equation: str
    kind: Literal["access", "mac", "add"]
    count: float
    words: float = 0

    def bill(self, width: Width) -> Bill:
        """What it costs with words of `width` bits.

        An access to a memory of n bits costs `memory + memory_per_bit x n`. A multiply-accumulate is a multiplication
        and an addition.
        """
        if self.kind == "access":
            return Bill({"memory": self.count, "memory_per_bit": self.count * self.words * width})
        if self.kind == "mac":
            return Bill({f"mul_{width}": self.count, f"add_{width}": self.count})
        return Bill({f"add_{width}": self.count})


@dataclass(frozen=True)
class Lemaire:
    """The networks' terms in a run.

    Attributes:
        spiking: the terms of the spiking network.
        formal: the terms of the same network without spikes, as the paper has it.
        looked_up: the same, where the rows of the inputs that are 1 are looked up.
        inferences: the number of inferences that they are for.
    """

    spiking: tuple[Term, ...]
    formal: tuple[Term, ...]
    looked_up: tuple[Term, ...]
    inferences: int

    def energy(self, terms: Sequence[Term], width: Width = 32) -> Quantity:
        """The energy of terms in pJ."""
        return total(term.bill(width) for term in terms).energy(constants_of("lemaire"))

    def ratio(self, width: Width = 32, rows: bool = False) -> Ratio:
        """The energy of the spiking network, divided by that of the network without spikes.

        Args:
            width: bits of a word and of an operation.
            rows: whether the network without spikes looks up the rows of its inputs.
        """
        other = self.looked_up if rows else self.formal
        spiking, formal = (total(term.bill(width) for term in terms) for terms in (self.spiking, other))
        return ratio(spiking, formal, constants_of("lemaire"))

    def whole_ratio(self) -> Ratio:
        """The paper's ratio, of 32 bits. Its band also holds that of 8 bits, and of rows that are looked up."""
        found = self.ratio()
        for width in WIDTHS:
            found = found.with_(self.ratio(width)).with_(self.ratio(width, rows=True))
        return found

    def to_dict(self) -> dict[str, Any]:
        """The terms as a JSON-able dict, per inference."""

        def rows(terms: Sequence[Term]) -> list[dict[str, Any]]:
            return [
                {
                    "name": term.name,
                    "equation": term.equation,
                    "kind": term.kind,
                    "count_per_inference": term.count / self.inferences,
                    "energy_pj_per_inference": self.energy([term]).value / self.inferences,
                }
                for term in terms
            ]

        return {
            "inferences": self.inferences,
            "spiking": rows(self.spiking),
            "formal": rows(self.formal),
            "looked_up": rows(self.looked_up),
        }


def lemaire(program: Program, spikes: Mapping[str, Array], inferences: Inferences) -> Lemaire:
    """Count both networks' terms from the recorded spikes of a run.

    Args:
        program: the deployed network.
        spikes: uint8 `[ticks, batch, size]` in chip time, for every `input` and `lif` population.
        inferences: how the run divides into inferences.

    Raises:
        BadInput: spikes are missing or of another shape, or an input is graded, which the model does not know.
    """
    if graded := [p.name for p in program.inputs if p.graded_bits]:
        raise BadInput(f"{graded[0]}: its spikes are graded; the model of Lemaire et al. counts spikes of 0 or 1")
    spiking: list[Term] = []
    formal: list[Term] = []
    looked_up: list[Term] = []
    did = {p.name: activity_of(p, spikes, inferences) for p in program.populations}
    for synapses in connections(program):
        spiking += spiking_synapses(synapses, did[synapses.source].spikes)
        dense = formal_synapses(synapses, inferences.number)
        formal += dense
        from_host = program.population(synapses.source).kind == "input"
        looked_up += formal_rows(synapses, did[synapses.source].active) if from_host else dense
    for population in program.populations:
        if population.kind != "input" and population.name not in program.roles.relays:
            leaks, biased = bool(np.any(population.dv)), bool(np.any(population.bias_mant))
            size, steps = population.size, inferences.number * inferences.period
            fired, bias_words = float(did[population.name].spikes.sum()), size if biased else 0
            spiking += spiking_neurons(size, steps, fired, leaks, bias_words)
            neurons = formal_neurons(size, inferences.number, bias_words)
            formal += neurons
            looked_up += neurons
    return Lemaire(_summed(spiking), _summed(formal), _summed(looked_up), inferences.number)


def spiking_synapses(synapses: ChipSynapses, spikes: Array) -> list[Term]:
    """What the spikes of each source neuron `[source]` cause in one group of synapses.

    With theta spikes in, fully connected:

        read inputs      theta                       Eq. 5
        read weights     theta N_out                 Eq. 8
        read potentials  theta N_out                 Eq. 10, first term
        write potentials theta N_out                 Eq. 15, first term
        accumulate       theta N_out                 Eq. 2.4, first term, as the code corrects it
        addressing       theta N_out accumulates     Eq. 17.2

    A convolution of kernel k_y x k_x and stride s, for each of C_out channels of its group:

        read inputs      theta                                            Eq. 5
        read weights     theta C_out k_y k_x                              Eq. 7
        read potentials  theta C_out k_y k_x                              Eq. 9, first term
        write potentials theta C_out k_y k_x                              Eq. 14, first term
        accumulate       theta C_out ceil(k_y / s_y) ceil(k_x / s_x)      Eq. 1.4, first term
        addressing       2 theta multiply-accumulates                     Eq. 16.2
                         theta C_out k_y k_x accumulates                  Eq. 16.3
    """
    weight, theta = synapses.weight, float(spikes.sum())
    inputs = Term("read inputs", "5", "access", theta, constants_of("lemaire")["fifo_words"].value)
    outputs, stored = weight.shape[0], w.values(weight).size
    if not isinstance(weight, Conv):
        reached = float(spikes @ fan_out(synapses))
        return [
            inputs,
            Term("read weights", "8", "access", reached, stored),
            Term("read potentials", "10", "access", reached, outputs),
            Term("write potentials", "15", "access", reached, outputs),
            Term("synaptic operations", "2.4", "add", reached),
            Term("addressing", "17.2", "add", reached),
        ]
    channels, (k_y, k_x), (s_y, s_x) = weight.kernel.shape[0] // weight.groups, weight.kernel.shape[2:], weight.stride
    taps = theta * channels * k_y * k_x
    return [
        inputs,
        Term("read weights", "7", "access", taps, stored),
        Term("read potentials", "9", "access", taps, outputs),
        Term("write potentials", "14", "access", taps, outputs),
        Term("synaptic operations", "1.4", "add", theta * channels * math.ceil(k_y / s_y) * math.ceil(k_x / s_x)),
        Term("addressing", "16.2", "mac", 2 * theta),
        Term("addressing", "16.3", "add", taps),
    ]


def spiking_neurons(size: int, ticks: float, spikes: float, leaks: bool, bias_words: int = 0) -> list[Term]:
    """What `size` neurons cause in `ticks` ticks in which they spike `spikes` times.

    read potentials  T N                        Eq. 9 and 10, second term
    write potentials T N                        Eq. 14 and 15, second term
    read biases      T N, if there are any      Eq. 7 and 8, second part
    leak             T N multiply-accumulates   Eq. 1.3 and 2.3
    accumulate       T N, and 1 for each spike  Eq. 1.4 and 2.4: the bias, and the reset
    write outputs    1 for each spike           Eq. 13
    """
    updates = size * ticks
    terms = [
        Term("read potentials", "10", "access", updates, size),
        Term("write potentials", "15", "access", updates, size),
        Term("neuron operations", "2.4", "add", updates + spikes),
        Term("write outputs", "13", "access", spikes, constants_of("lemaire")["fifo_words"].value),
    ]
    if leaks:
        terms.append(Term("leak", "2.3", "mac", updates))
    if bias_words:
        terms.append(Term("read biases", "8", "access", updates, bias_words))
    return terms


def formal_synapses(synapses: ChipSynapses, inferences: int) -> list[Term]:
    """What one group of synapses costs a network without spikes.

    Fully connected, for each inference (N_in N_out is the number of connections, if not all are there):

        read inputs          N_in                       Eq. 4
        read weights         N_in N_out                 Eq. 6.2
        multiply-accumulate  N_in N_out                 Eq. 2.1
        addressing           N_in N_out accumulates     (no number)

    A convolution, all taps counted, also those outside the input:

        read inputs          C_in C_out H_out W_out k_y k_x                  Eq. 3
        read weights         C_in C_out H_out W_out k_y k_x                  Eq. 6.1
        multiply-accumulate  C_in C_out H_out W_out k_y k_x                  Eq. 1.1
        addressing           N_in + N_out + C_out k_y k_x accumulates        (no number)
    """
    weight = synapses.weight
    outputs, inputs = weight.shape
    stored = w.values(weight).size
    if not isinstance(weight, Conv):
        products = float(w.count(weight)) * inferences
        return [
            Term("read inputs", "4", "access", inputs * inferences, inputs),
            Term("read weights", "6.2", "access", products, stored),
            Term("synaptic operations", "2.1", "mac", products),
            Term("addressing", "-", "add", products),
        ]
    c_out, g_in, k_y, k_x = weight.kernel.shape
    products = float(outputs * g_in * k_y * k_x) * inferences
    return [
        Term("read inputs", "3", "access", products, inputs),
        Term("read weights", "6.1", "access", products, stored),
        Term("synaptic operations", "1.1", "mac", products),
        Term("addressing", "-", "add", float(inputs + outputs + c_out * k_y * k_x) * inferences),
    ]


def formal_rows(synapses: ChipSynapses, active: Array) -> list[Term]:
    """What looking up rows costs: of each source neuron `[source]`, in the `active` inferences in which it is 1.

    It is what one spike of each would cost in the spiking network, without membranes.
    """
    kept = ("read inputs", "read weights", "synaptic operations", "addressing")
    return [term for term in spiking_synapses(synapses, active) if term.name in kept]


def formal_neurons(size: int, inferences: int, bias_words: int = 0) -> list[Term]:
    """What `size` neurons of a network without spikes cost.

    read biases    N, if there are any    Eq. 6.1 and 6.2, second part
    accumulate     N                      Eq. 1.2 and 2.2
    write outputs  N                      Eq. 11 and 12
    """
    terms = [
        Term("neuron operations", "2.2", "add", size * inferences),
        Term("write outputs", "12", "access", size * inferences, size),
    ]
    if bias_words:
        terms.append(Term("read biases", "6.2", "access", size * inferences, bias_words))
    return terms


def _summed(terms: Sequence[Term]) -> tuple[Term, ...]:
    """The terms, those alike added up."""
    found: dict[tuple[str, str, str, float], float] = {}
    for t in terms:
        key = (t.name, t.equation, t.kind, t.words)
        found[key] = found.get(key, 0.0) + t.count
    return tuple(
        Term(name, equation, kind, count, words)  # type: ignore[arg-type]
        for (name, equation, kind, words), count in found.items()
    )
