"""Answers held against labels: the rules, ties, both networks alike, what an answer costs, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import pytest

import small_nir
from muspike.errors import BadInput
from muspike.hardware.mapping.compile import compile_graph
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.running.classification import Classification, classify
from muspike.hardware.running.simulate import Simulation, simulate
from small_nir import chain, li, lif

TICKS, BATCH, CLASSES = 40, 60, 4
LABELS = np.random.default_rng(5).integers(0, CLASSES, BATCH)


def made(readout: Any, **more: Any) -> Simulation:
    rng = np.random.default_rng(0)
    nodes = {
        "input": 8,
        "w": nir.Linear(np.tile(np.eye(4), (5, 2)) * rng.uniform(0.4, 0.8, (20, 8))),
        "a": lif(20, tau=2.0, v_threshold=0.1),
        "u": nir.Linear(np.tile(np.eye(4), 5) * rng.uniform(0.1, 0.3, (CLASSES, 20)) - 0.04),
        "out": readout,
        "output": CLASSES,
    }
    graph = from_nir(small_nir.graph(nodes, chain(*nodes)))
    spikes = (rng.random((TICKS, BATCH, 8)) < rng.random((BATCH, 8)) / 2).astype(np.uint8)
    return simulate(compile_graph(graph, "loihi1", **more), {"input": spikes})


@pytest.fixture(scope="module")
def spiking() -> Simulation:
    return made(lif(CLASSES, tau=4.0, v_threshold=0.2))


@pytest.fixture(scope="module")
def reading() -> Simulation:
    return made(li(CLASSES, tau=10.0))


def check(found: Classification, chip: np.ndarray, ideal: np.ndarray) -> None:
    """Hold what was found against the evidence `[sequences, classes]` of both networks, counted one by one."""
    assert found.ideal is not None
    for answers, evidence in ((found.chip, chip), (found.ideal, ideal)):
        expected = [row.tolist().index(max(row)) for row in evidence]
        assert answers.answers.tolist() == expected
        confusion = np.zeros((CLASSES, CLASSES), int)
        for label, answer in zip(LABELS, expected, strict=True):
            confusion[label, answer] += 1
        assert answers.confusion.tolist() == confusion.tolist()
        right = sum(label == answer for label, answer in zip(LABELS, expected, strict=True))
        assert (answers.correct, answers.accuracy) == (right, right / BATCH)
        assert answers.ties == sum(row.tolist().count(max(row)) > 1 for row in evidence)
    assert found.same == (found.chip.answers == found.ideal.answers).sum()


def test_most_spikes_win_and_ties_go_to_the_lowest_number(spiking: Simulation) -> None:
    found = classify(spiking, LABELS)
    assert (found.output, found.rule, found.classes) == ("out", "spikes", CLASSES)
    assert spiking.ideal is not None
    level = spiking.program.population("out").level
    chip, ideal = spiking.run.spikes["out"][level : level + TICKS].sum(0), spiking.ideal[0]["out"].sum(0)
    check(found, chip, ideal)
    assert found.chip.ties > 0 and len(set(found.chip.answers.tolist())) > 1
    assert 0 < found.chip.correct < BATCH


@pytest.mark.parametrize(
    ("rule", "of"),
    [("mean", lambda v: v.mean(0)), ("last", lambda v: v[-1]), ("max", lambda v: v.max(0))],
)
def test_a_readout_is_decided_by_its_membranes(
    reading: Simulation, rule: str, of: Callable[[np.ndarray], np.ndarray]
) -> None:
    found = classify(reading, LABELS, rule=rule)
    assert reading.ideal is not None
    p = reading.program.population("out")
    check(found, of(reading.run.membrane["out"][p.level : p.level + TICKS] / p.scale), of(reading.ideal[1]["out"]))
    assert rule in found.how or {"max": "any tick"}.get(rule, "") in found.how
    assert len(set(found.chip.answers.tolist())) > 1


def test_the_float_network_answers_in_its_reading(spiking: Simulation) -> None:
    """It answers with the neuron of the most spikes, each of several in a tick counted."""
    counts = np.zeros((TICKS, BATCH, CLASSES), np.uint16)
    counts[3, np.arange(BATCH), LABELS] = 300
    counts[:, np.arange(BATCH), (LABELS + 1) % CLASSES] += 1
    assert spiking.ideal is not None
    read = dataclasses.replace(spiking, ideal=({**spiking.ideal[0], "out": counts}, {}), reads_as="sinabs")
    found = classify(read, LABELS)
    assert found.ideal is not None and found.ideal.accuracy == 1 and found.chip.accuracy < 1
    assert "of the float network, read as sinabs, 100.0 % (60 of 60); both give" in found.verdict
    assert found.to_dict()["reads_as"] == "sinabs" and "read as" not in classify(spiking, LABELS).verdict


def test_the_mean_is_what_a_readout_is_decided_by(reading: Simulation) -> None:
    assert classify(reading, LABELS).to_dict() == classify(reading, LABELS, rule="mean").to_dict()
    answers = [classify(reading, LABELS, rule=rule).chip.answers.tolist() for rule in ("mean", "last", "max")]
    assert answers[0] != answers[1] != answers[2] != answers[0]


def test_a_hidden_population_may_answer(reading: Simulation) -> None:
    found = classify(reading, LABELS, output="a")
    assert (found.output, found.rule, found.classes) == ("a", "spikes", 20)


def test_an_answer_costs_what_the_run_costs(spiking: Simulation) -> None:
    found = classify(spiking, LABELS)
    assert list(found.per_correct) == list(found.per_sequence) == [e.costs for e in spiking.energies] != []
    for priced in spiking.energies:
        total = priced.total.to("uJ")
        each, correct = found.per_sequence[priced.costs], found.per_correct[priced.costs]
        assert each.value * BATCH == pytest.approx(total.value) and each.tag == total.tag
        assert correct.value * found.chip.correct == pytest.approx(total.value) and correct.unit == "uJ"
        assert correct.high * found.chip.correct == pytest.approx(total.high) and correct.high > correct.value


def test_spikes_are_counted_for_each_sequence(spiking: Simulation) -> None:
    found = classify(spiking, LABELS)
    fired = [spiking.run.spikes[p.name] for p in spiking.program.populations if p.kind == "lif"]
    assert found.spikes.tolist() == [sum(int(x[:, n].sum()) for x in fired) for n in range(BATCH)]
    assert found.to_dict()["spikes_per_sequence"] == pytest.approx(found.spikes.sum() / BATCH)
    assert found.spikes.std() > 0
    assert f"{found.spikes.mean():,.1f} spikes of the chip's neurons per sequence" in "\n".join(found.lines())


def test_without_energy_or_correct_answers_there_is_no_price(spiking: Simulation) -> None:
    free = classify(dataclasses.replace(spiking, energies=(), no_energy="too large"), LABELS)
    assert (free.per_sequence, free.per_correct) == ({}, {})
    wrong = (classify(spiking, LABELS).chip.answers + 1) % CLASSES
    found = classify(spiking, wrong)
    assert found.chip.correct == 0 and found.per_sequence and not found.per_correct
    assert "no answer is correct" in "\n".join(found.lines())


def test_without_the_float_network_the_chip_answers_alone(spiking: Simulation) -> None:
    found = classify(dataclasses.replace(spiking, ideal=None), LABELS)
    assert (found.ideal, found.same, found.to_dict()["float"]) == (None, None, None)
    assert "float" not in "\n".join(found.lines())


def test_it_is_told_to_people_with_its_rule(spiking: Simulation) -> None:
    found = classify(spiking, LABELS)
    assert found.ideal is not None
    text = "\n".join(found.lines())
    assert f"accuracy on the chip {100 * found.chip.accuracy:.1f} % ({found.chip.correct} of {BATCH})" in text
    assert f"of the float network {100 * found.ideal.accuracy:.1f} % ({found.ideal.correct} of {BATCH})" in text
    assert "the neuron that spikes most often of 'out'" in text and f"wins: {found.chip.ties} of the chip" in text
    assert "per correct answer" in text and "per sequence" in text
    table = found.table()
    assert table is not None and len(table.rows) == CLASSES
    assert [row[-2] for row in table.rows] == [str(int(np.sum(label == LABELS))) for label in range(CLASSES)]


def test_of_many_classes_the_most_frequent_mistakes_are_told(spiking: Simulation) -> None:
    found = classify(spiking, LABELS)
    wide = np.zeros((30, 30), np.int64)
    wide[3, 5], wide[7, 7], wide[9, 2] = 2, 40, 18
    many = dataclasses.replace(found, chip=dataclasses.replace(found.chip, confusion=wide))
    assert many.table() is None and many.mistakes() == [(9, 2, 18), (3, 5, 2)]
    assert "the chip's most frequent mistakes" in "\n".join(many.lines())


@pytest.mark.parametrize(
    ("labels", "more", "message"),
    [
        (LABELS[:5], {}, "5 labels for 60 sequences; there is one for each"),
        (LABELS + 1, {}, r"label \d+ is 4; the output 'out' has 4 neurons, so a class is one of 0\.\.3"),
        (LABELS - 1, {}, r"label \d+ is -1; the output 'out' has 4"),
        (LABELS[:, None], {}, r"labels are int64 \[60, 1\]; expected whole numbers \[sequences\]"),
        (LABELS / 2, {}, r"labels are float64 \[60\]"),
        (LABELS, {"output": "b"}, "no population 'b' that could answer; there are 'a', 'out'"),
        (LABELS, {"output": "input"}, "no population 'input' that could answer"),
        (LABELS, {"rule": "mean"}, "rule 'mean': the output 'out' is of kind lif, which answers by spikes"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    spiking: Simulation, labels: np.ndarray, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        classify(spiking, labels, **more)


@pytest.mark.parametrize("outputs", [[], ["a", "out"]])
def test_the_output_must_be_clear(spiking: Simulation, outputs: list[str]) -> None:
    program = dataclasses.replace(spiking.program, metadata={"outputs": outputs})
    unclear = dataclasses.replace(spiking, program=program)
    with pytest.raises(BadInput, match=f"the network has {len(outputs)} outputs .*say which one answers"):
        classify(unclear, LABELS)
    assert classify(unclear, LABELS, output="out").to_dict() == classify(spiking, LABELS).to_dict()


def test_several_samples_in_a_sequence_have_no_one_label() -> None:
    """A sequence that a reset cuts into samples; and one that is exactly as long as a sample."""
    with pytest.raises(BadInput, match="reset every 20 ticks, so a sequence of 40 ticks holds several samples"):
        classify(made(li(CLASSES), reset_every=20), LABELS)
    assert classify(made(li(CLASSES), reset_every=TICKS), LABELS).chip.answers.shape == (BATCH,)
