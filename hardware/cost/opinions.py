"""Three energy models on one run of one program, and one verdict: is the spiking network cheaper than one without?

Each model asks another question, at another boundary. So their joules are never put in one ratio. Each gives its own
ratio, spiking network to network without spikes, with the band of its own constants. The verdict is "cheaper" only if
all say so, each with a band that is known.

- **The chip's prices** (`energy.py`). On Loihi alone there is no opponent: a network without spikes does not run there.
  The opponent is Yan's twin, on the ideal 22 nm accelerator that Yan's constants describe: the same connections, each
  weight read once, activations of ceil(log2(T + 1)) bits moved densely. A reviewer can accept it for three reasons. It
  has the least that such a network can cost, so a chip that beats it has beaten something. It is of an older process
  than the chip (14 nm), which favours the chip, and no correction is guessed. It has no static power, clock or control;
  so the chip's dynamic energy alone is compared with it, which also favours the chip. "dearer" is therefore safe, and
  "cheaper" needs the others. A measured opponent is another matter, for a comparison with a GPU or CPU.
- **The memory model of Lemaire et al.** (`lemaire.py`): both networks on one 45 nm chip that works event by event, or
  densely.
- **The test of Yan et al.** (`yan.py`): both networks on one 22 nm mesh, data movement counted.

The opponents of the papers read all their inputs densely. Inputs that are 0 or 1 can be read as events instead, by a
network without spikes too. Each value is that of the paper, and each band holds both.

SANA-FE is no opinion of its own: it prices the same events with the same constants as the first.
`bench/versus/sanafe.py` holds the first one's counts and energy against it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from muspike.arguments import instance
from muspike.hardware.chip import Chip
from muspike.hardware.cost.activity import Counts
from muspike.hardware.cost.bill import Ratio, constants_of, values_of
from muspike.hardware.cost.energy import Energy, price
from muspike.hardware.cost.inference import Inferences
from muspike.hardware.cost.lemaire import Lemaire, lemaire
from muspike.hardware.cost.quantity import Quantity, weakest
from muspike.hardware.cost.yan import Yan, yan
from muspike.hardware.program import Program
from muspike.tables import Table

Array = npt.NDArray[Any]
Verdict = Literal["cheaper", "dearer", "within the band", "band unknown", "they disagree"]


@dataclass(frozen=True)
class Opinion:
    """What one model says.

    Attributes:
        name: the model.
        question: what it compares.
        boundary: what is inside, and what is left out.
        spiking: the energy of the spiking network per inference, in pJ.
        other: the energy of the network that it is compared with, per inference, in pJ.
        ratio: the first divided by the second, with its band.
    """

    name: str
    question: str
    boundary: str
    spiking: Quantity
    other: Quantity
    ratio: Ratio

    @property
    def verdict(self) -> Verdict:
        """What the band of the ratio says.

        `within the band` if 1 is in the band, however much wider the true band may be. Else `band unknown` if a
        constant has no published spread: the true band may reach 1. Else `cheaper` or `dearer`: the whole band is below
        or above 1.
        """
        if self.ratio.low <= 1 <= self.ratio.high:
            return "within the band"
        if not self.ratio.band_known:
            return "band unknown"
        return "cheaper" if self.ratio.high < 1 else "dearer"

    def to_dict(self) -> dict[str, Any]:
        """The opinion as a JSON-able dict."""
        return {
            "name": self.name,
            "question": self.question,
            "boundary": self.boundary,
            "spiking_pj_per_inference": self.spiking.to_dict("pJ"),
            "other_pj_per_inference": self.other.to_dict("pJ"),
            "ratio": dict(vars(self.ratio)),
            "verdict": self.verdict,
        }


@dataclass(frozen=True, eq=False)
class Opinions:
    """What the models say of one run.

    Attributes:
        chip: the chip whose prices the first opinion has.
        inferences: how the run divides into inferences.
        chip_prices, memory_model, equivalent_network: the three opinions.
        lemaire, yan: the counts behind the last two.
    """

    chip: str
    inferences: Inferences
    chip_prices: Opinion
    memory_model: Opinion
    equivalent_network: Opinion
    lemaire: Lemaire
    yan: Yan

    @property
    def all(self) -> tuple[Opinion, Opinion, Opinion]:
        """The opinions in order."""
        return self.chip_prices, self.memory_model, self.equivalent_network

    @property
    def verdict(self) -> Verdict:
        """What all opinions say.

        `they disagree` if two opinions whose verdicts hold say different things. `band unknown` if these agree, and the
        band of another one is unknown.
        """
        found = {opinion.verdict for opinion in self.all}
        if len(found - {"band unknown"}) > 1:
            return "they disagree"
        return found.pop() if len(found) == 1 else "band unknown"

    @property
    def where(self) -> str:
        """Who says what, in words, the models that say the same side by side."""
        said: dict[Verdict, list[str]] = {}
        for opinion in self.all:
            said.setdefault(opinion.verdict, []).append(opinion.name)
        return "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in said.items())

    def to_dict(self) -> dict[str, Any]:
        """The opinions as a JSON-able dict."""
        return {
            "chip": self.chip,
            "inferences": self.inferences.number,
            "ticks": self.inferences.ticks,
            "period": self.inferences.period,
            "verdict": self.verdict,
            "where": self.where,
            "opinions": [opinion.to_dict() for opinion in self.all],
            "equivalent_network": self.yan.to_dict(),
            "memory_model": self.lemaire.to_dict(),
        }

    def table(self) -> Table:
        """The opinions as a table for people."""
        rows = [
            [
                opinion.name,
                f"{opinion.spiking.to('nJ').value:,.3g}",
                f"{opinion.other.to('nJ').value:,.3g}",
                f"{opinion.ratio.value:.3g}",
                opinion.ratio.band,
                opinion.verdict,
            ]
            for opinion in self.all
        ]
        rate = (
            f"Spike rate {self.yan.rate:.2%} per presented tick; Yan's break-even rate for this network is "
            f"{self.yan.break_even:.2%} ({self.yan.break_even_low:.2%} – {self.yan.break_even_high:.2%})."
        )
        caption = (
            f"Energy of the spiking network and of the network that each model compares it with, nJ per inference of "
            f"{self.inferences.ticks} ticks; verdict: {self.verdict} ({self.where}). {rate}"
        )
        titles = ("model", "spiking", "not spiking", "ratio", "band", "spiking is")
        return Table(caption, titles, rows, left=(0, 5))


def opinions(
    program: Program,
    spikes: Mapping[str, Array],
    counts: Counts,
    *,
    ticks: int,
    period: int,
    chip: Chip | str | os.PathLike[str] | None = None,
    energy: Energy | None = None,
) -> Opinions:
    """Price one run of one program by three models.

    Args:
        program: the deployed network.
        spikes: uint8 `[ticks, batch, size]` in chip time, for every `input` and `lif` population.
        counts: what `activity.count` counts from these spikes.
        ticks: ticks in which the input of an inference is presented, T; for a model, a token's `Timing.ticks`.
        period: ticks that an inference takes; `Timing.period`. For a network that reads one input per sequence, `ticks`
            and `period` are both the length of the sequences.
        chip: the chip; None: the known chip that the counts name.
        energy: the counts priced on that chip, if that is done already.

    Raises:
        BadInput: what `price`, `lemaire` and `yan` raise; or the numbers of ticks do not fit the run.
    """
    instance("opinions: program", program, Program, "a Program, such as compile_graph(...).program")
    instance("opinions: counts", counts, Counts, "what count gives")
    inferences = Inferences(ticks, period, tuple(int(length) for length in counts.ticks))
    priced = price(counts, counts.chip if chip is None else chip) if energy is None else energy
    memory, test = lemaire(program, spikes, inferences), yan(program, spikes, inferences)
    constants = constants_of("yan")
    twin = test.layout.twin().energy(constants)
    of_events = test.layout.twin(values_of(constants)).energy(constants)
    # What is left after whole inferences belongs to the run: the chip's energy is shared out by ticks.
    dynamic = priced.dynamic / (int(counts.ticks.sum()) / period)
    return Opinions(
        chip=priced.chip,
        inferences=inferences,
        chip_prices=Opinion(
            f"{priced.chip} ({priced.costs})",
            "the chip's dynamic energy, against the equivalent network without spikes on an ideal 22 nm accelerator",
            "the chip: synapses, neurons, messages, mesh, every tick; the accelerator: operations, weights read once, "
            "activations moved densely; no static power, clock, control or host on either side",
            dynamic,
            twin,
            _quotient(dynamic, twin).with_(_quotient(dynamic, of_events)),
        ),
        memory_model=Opinion(
            "Lemaire et al. 2022",
            "the spiking network, against the same network without spikes, on one 45 nm chip",
            "accesses to on-chip memory, operations, addressing; no static power, clock, control, mesh or reuse",
            memory.energy(memory.spiking) / inferences.number,
            memory.energy(memory.formal) / inferences.number,
            memory.whole_ratio(),
        ),
        equivalent_network=Opinion(
            "Yan et al. 2026",
            f"the spiking network of {ticks} ticks, against its equivalent of {test.bits} bits, on one 22 nm mesh",
            "operations, weights from SRAM, membranes, moves of spikes and activations; "
            "no static power, clock, control or idle ticks",
            test.layout.spiking(values_of(constants)).energy(constants),
            twin,
            test.ratio,
        ),
        lemaire=memory,
        yan=test,
    )


def _quotient(of: Quantity, to: Quantity) -> Ratio:
    """The ratio of two energies whose constants have nothing to do with each other."""
    known = of.band_known and to.band_known
    return Ratio(of.value / to.value, of.low / to.high, of.high / to.low, weakest((of.tag, to.tag)), known)
