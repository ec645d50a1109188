"""Hold the answers of a run against labels: accuracy, confusion, and what an answer costs.

Each neuron of an output population stands for a class. A rule turns what the population did over a sequence into one
answer, the same rule for the chip and for the float network:

- spikes (a `lif` output): the neuron that spikes most often.
- mean, last, max (a `li` output): the neuron whose membrane is the largest on average, in the last tick, or at any one
  tick.

Only the ticks count that answer to the ticks of the input. If several neurons are equal, the one with the lowest number
is the answer, and the sequence is counted as a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware.cost.quantity import Quantity
from muspike.hardware.program import ChipPopulation, Program
from muspike.hardware.running.report import float_network
from muspike.hardware.running.simulate import Simulation
from muspike.tables import Table, several

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

RULES: Mapping[str, str] = {
    "spikes": "the neuron that spikes most often",
    "mean": "the neuron with the largest mean membrane",
    "last": "the neuron with the largest membrane in the last tick",
    "max": "the neuron with the largest membrane in any tick",
}
"""By name, what decides the answer. The first is for `lif` outputs, the others are for `li` outputs."""
_MOST_CLASSES = 24  # of a table of confusion; with more, the most frequent mistakes are listed
_MOST_MISTAKES = 20
_RULES_OF = {"lif": ("spikes",), "li": ("mean", "last", "max")}


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of one network.

    Attributes:
        confusion: int64 `[classes, classes]`: sequences by label (row) and answer (column).
        answers: int64 `[sequences]`.
        ties: sequences in which several neurons were equal; those of the lowest number are the answers.
    """

    confusion: Integers
    answers: Integers
    ties: int

    @property
    def correct(self) -> int:
        """The number of sequences whose answer is their label."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """The share of sequences whose answer is their label."""
        return self.correct / len(self.answers)

    def to_dict(self) -> dict[str, Any]:
        """The answers as a JSON-able dict."""
        return {
            "correct": self.correct,
            "accuracy": self.accuracy,
            "ties": self.ties,
            "answers": self.answers.tolist(),
            "confusion": self.confusion.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Classification:
    """The answers of a run, held against labels.

    Attributes:
        output: the population whose neurons are the classes.
        rule: a key of `RULES`.
        labels: int64 `[sequences]`.
        chip: the answers of the chip's integers.
        ideal: the answers of the float network; None: it was not run, or lacks the population.
        per_sequence: by cost set, the energy of the run over its sequences, in uJ. Empty if the run has no energy.
        per_correct: by cost set, the energy of the run over the chip's correct answers, in uJ. Empty if the run has no
            energy, or no answer is correct.
        reads_as: how the float network was read, a key of `READINGS`.
        spikes: int64 `[sequences]`: spikes of the chip's neurons in each sequence, relays included, inputs not.
    """

    output: str
    rule: str
    labels: Integers
    chip: Answers
    ideal: Answers | None
    per_sequence: Mapping[str, Quantity]
    per_correct: Mapping[str, Quantity]
    reads_as: str = "nir"
    spikes: Integers = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.chip.confusion)

    @property
    def same(self) -> int | None:
        """The sequences in which both networks give the same answer; None: the float network did not answer."""
        return None if self.ideal is None else int((self.chip.answers == self.ideal.answers).sum())

    @property
    def how(self) -> str:
        """The rule in words."""
        return f"{RULES[self.rule]} of {self.output!r}, over the ticks that answer to the input"

    @property
    def verdict(self) -> str:
        """The accuracy of both networks, in a sentence."""
        told = f"accuracy on the chip {_share(self.chip.correct, len(self.labels))}"
        if self.ideal is not None:
            told += f", of {float_network(self.reads_as)} {_share(self.ideal.correct, len(self.labels))}"
            told += f"; both give the same answer in {self.same:,}"
        return told

    @property
    def activity(self) -> str:
        """The spikes of a sequence, in a sentence; empty if they were not counted."""
        if not len(self.spikes):
            return ""
        return (
            f"{self.spikes.mean():,.1f} spikes of the chip's neurons per sequence, {self.spikes.min():,} to "
            f"{self.spikes.max():,}"
        )

    @property
    def ties(self) -> str:
        """In how many sequences neurons were equal, in a sentence."""
        theirs = "" if self.ideal is None else f", {self.ideal.ties:,} of the float network"
        return f"ties, which the lowest number wins: {self.chip.ties:,} of the chip{theirs}"

    def table(self) -> Table | None:
        """The confusion of the chip's answers; None if there are too many classes to be read as a table."""
        if self.classes > _MOST_CLASSES:
            return None
        rows = [
            [str(label), *(f"{n:,}" if n else "·" for n in row), f"{row.sum():,}", _percent(row[label], row.sum())]
            for label, row in enumerate(self.chip.confusion)
        ]
        caption = "sequences by label (rows) and the chip's answer (columns)"
        return Table(caption, ("label", *map(str, range(self.classes)), "all", "correct"), rows)

    def mistakes_table(self) -> Table:
        """The chip's most frequent mistakes."""
        rows = [[str(label), str(answer), f"{n:,}"] for label, answer, n in self.mistakes()[:_MOST_MISTAKES]]
        return Table("the chip's most frequent mistakes", ("label", "answer", "sequences"), rows)

    def lines(self) -> Iterator[str]:
        """The classification for people."""
        yield f"{self.verdict} ({several(len(self.labels), 'sequence')} in {self.classes:,} classes)"
        yield f"answer: {self.how}; {self.ties}"
        if self.activity:
            yield self.activity
        for costs, of in self.per_sequence.items():
            told = f"{_band(of)} per sequence"
            if costs in self.per_correct:
                told = f"{_band(self.per_correct[costs])} per correct answer, {told}"
            else:
                told += "; no answer is correct, so there is no energy per correct answer"
            yield f"modelled energy, cost set {costs}: {told}"
        table = self.table() or self.mistakes_table()
        yield f"{table.caption}:"
        yield from table.lines()

    def mistakes(self) -> list[tuple[int, int, int]]:
        """Label, the chip's wrong answer, and sequences, the most frequent first."""
        wrong = self.chip.confusion - np.diag(np.diag(self.chip.confusion))
        rows = [(int(label), int(answer), int(wrong[label, answer])) for label, answer in np.argwhere(wrong)]
        return sorted(rows, key=lambda row: -row[2])

    def to_dict(self) -> dict[str, Any]:
        """The classification as a JSON-able dict. Confusion: a row per label, a column per answer."""
        return {
            "output": self.output,
            "rule": self.rule,
            "how": self.how,
            "classes": self.classes,
            "sequences": len(self.labels),
            "labels": self.labels.tolist(),
            "chip": self.chip.to_dict(),
            "float": self.ideal and self.ideal.to_dict(),
            "reads_as": self.ideal and self.reads_as,
            "same_answer": self.same,
            "spikes_per_sequence": float(self.spikes.mean()) if len(self.spikes) else None,
            "spikes_of_each_sequence": self.spikes.tolist(),
            "energy_uj_per_sequence": {costs: dict(vars(of)) for costs, of in self.per_sequence.items()},
            "energy_uj_per_correct_answer": {costs: dict(vars(of)) for costs, of in self.per_correct.items()},
        }


def classify(
    simulation: Simulation, labels: npt.ArrayLike, output: str | None = None, rule: str | None = None
) -> Classification:
    """Hold the answers of a run against labels.

    >>> import nir
    >>> import numpy as np
    >>> from muspike.hardware import classify, compile_graph, simulate
    >>> graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.IF(r=np.ones(2), v_threshold=np.full(2, 0.5)))
    >>> spikes = np.zeros((10, 3, 2), np.uint8)  # three sequences
    >>> spikes[:, [0, 1, 2], [0, 1, 1]] = 1
    >>> found = classify(simulate(compile_graph(graph, "loihi1", dt_s=1e-3), {"input": spikes}), [0, 1, 0])
    >>> found.rule, found.chip.answers.tolist(), found.chip.correct
    ('spikes', [0, 1, 1], 2)

    Args:
        simulation: the run.
        labels: whole numbers `[sequences]`, the class of each.
        output: the population whose neurons are the classes; None: the only output of the network.
        rule: what decides (`RULES`); None: `spikes` for a `lif` output, `mean` for a `li` output.

    Raises:
        BadInput: the labels do not fit; the network has no output or several and `output` is None; `output` is no
            population that answers; the rule is not one of such an output; or the neurons are reset within a sequence,
            so that it holds several samples.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise BadInput(f"labels are {given.dtype} {list(given.shape)}; expected whole numbers [sequences]")
    given = given.astype(np.int64)
    p, rule = answering(simulation.program, simulation.input_ticks, output, rule)
    check_labels(given, simulation.batch, p)
    ticks = simulation.ideal_ticks(p.name)
    ours = simulation.run.spikes[p.name][ticks] if p.kind == "lif" else simulation.run.membrane[p.name][ticks]
    chip = _answers(_evidence(ours, rule) / (p.scale if p.kind == "li" else 1), given)
    ideal = None
    if simulation.ideal is not None and p.name in (theirs := simulation.ideal[0 if p.kind == "lif" else 1]):
        ideal = _answers(_evidence(theirs[p.name], rule), given)
    totals = {priced.costs: priced.total.to("uJ") for priced in simulation.energies}
    return Classification(
        output=p.name,
        rule=rule,
        labels=given,
        chip=chip,
        ideal=ideal,
        per_sequence={costs: total / simulation.batch for costs, total in totals.items()},
        per_correct={costs: total / chip.correct for costs, total in totals.items() if chip.correct},
        reads_as=simulation.reads_as,
        spikes=_spikes(simulation),
    )


def _spikes(simulation: Simulation) -> Integers:
    """Spikes of the chip's neurons in each sequence."""
    found = np.zeros(simulation.batch, np.int64)
    for p in simulation.program.populations:
        if p.kind == "lif":
            found += simulation.run.spikes[p.name].sum(axis=(0, 2), dtype=np.int64)
    return found


def answering(program: Program, ticks: int, output: str | None, rule: str | None) -> tuple[ChipPopulation, str]:
    """The population that answers and the rule that decides, for an input of so many ticks.

    It can be called before the run. Arguments and errors are as for `classify`.
    """
    roles = program.roles
    if output is None and len(roles.outputs) != 1:
        names = ", ".join(map(repr, roles.outputs)) or "none"
        raise BadInput(
            f"labels: the network has {len(roles.outputs)} outputs ({names}); say which one answers (--answer)"
        )
    name = roles.outputs[0] if output is None else output
    found = {p.name: p for p in program.populations if p.kind != "input" and p.name not in roles.relays}
    if name not in found:
        raise BadInput(f"no population {name!r} that could answer; there are {', '.join(map(repr, found)) or 'none'}")
    p, rules = found[name], _RULES_OF[found[name].kind]
    if rule is not None and rule not in rules:
        raise BadInput(f"rule {rule!r}: the output {name!r} is of kind {p.kind}, which answers by {', '.join(rules)}")
    if 0 < p.reset_interval < ticks:
        raise BadInput(
            f"labels: the network is reset every {p.reset_interval:,} ticks, so a sequence of {ticks:,} ticks holds "
            "several samples, and there is one label for it; give each sample as a sequence"
        )
    return p, rule or rules[0]


def check_labels(labels: Integers, sequences: int, output: ChipPopulation) -> None:
    """Refuse labels `[sequences]` that are not those of so many sequences, or no neurons of the output.

    Raises:
        BadInput: there is not one label for each sequence, or a label is not a class.
    """
    if len(labels) != sequences:
        raise BadInput(f"{len(labels):,} labels for {sequences:,} sequences; there is one for each")
    wrong = np.flatnonzero((labels < 0) | (labels >= output.size))
    if len(wrong):
        raise BadInput(
            f"label {wrong[0]} is {labels[wrong[0]]}; the output {output.name!r} has {output.size:,} neurons, so a "
            f"class is one of 0..{output.size - 1}"
        )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % ({part:,} of {whole:,})"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _band(q: Quantity) -> str:
    return f"{q.value:.4g} µJ ({q.band}, {q.tag})"


def _evidence(array: Array, rule: str) -> Array:
    """What speaks for each class, `[sequences, classes]`: numbers of which the largest wins."""
    found: Mapping[str, Callable[[], Array]] = {
        "spikes": lambda: np.asarray(array.sum(axis=0, dtype=np.int64)),
        "mean": lambda: np.asarray(array.mean(axis=0, dtype=np.float64)),
        "last": lambda: array[-1].astype(np.float64),
        "max": lambda: np.asarray(array.max(axis=0)).astype(np.float64),
    }
    return found[rule]()


def _answers(evidence: Array, labels: Integers) -> Answers:
    largest = evidence.max(axis=1, keepdims=True)
    answers = evidence.argmax(axis=1)
    classes = evidence.shape[1]
    confusion = np.bincount(labels * classes + answers, minlength=classes * classes).reshape(classes, classes)
    return Answers(confusion, answers, int(((evidence == largest).sum(axis=1) > 1).sum()))
