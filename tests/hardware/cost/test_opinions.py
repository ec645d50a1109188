"""Three models, one verdict: what each says, and when they agree."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import chip_programs
from muspike.errors import BadInput
from muspike.hardware import Simulator, count, price
from muspike.hardware.cost.bill import Ratio, constants_of, values_of
from muspike.hardware.cost.opinions import Opinions, opinions
from muspike.hardware.program import ChipSynapses, Program

TICKS, PERIOD, LENGTH = 3, 5, 40


def program() -> Program:
    random = np.random.default_rng(0)
    populations = [
        chip_programs.population("in", 30, "input"),
        chip_programs.population("a", 40, v_threshold=120),
        chip_programs.population("out", 10, "li", level=1, v_threshold=131071),
    ]
    synapses = [
        ChipSynapses("1", "in", "a", (2 * random.integers(0, 60, (40, 30))).astype(np.int16), 0, 1),
        ChipSynapses("2", "a", "a", (2 * random.integers(-20, 20, (40, 40))).astype(np.int16), 0, PERIOD),
        ChipSynapses("3", "a", "out", (2 * random.integers(-20, 20, (10, 40))).astype(np.int16), 0, 1),
    ]
    return chip_programs.program(populations, synapses)


def run_of(rate: float) -> Opinions:
    made, random = program(), np.random.default_rng(1)
    given = np.zeros((LENGTH, 2, 30), np.uint8)
    presented = np.arange(LENGTH) % PERIOD < TICKS
    given[presented] = random.random((int(presented.sum()), 2, 30)) < rate
    run = Simulator(made, 2).run(given, record_membranes=True)
    counts = count(made, run.spikes, currents=run.current, membranes=run.membrane)
    return opinions(made, run.spikes, counts, ticks=TICKS, period=PERIOD)


@pytest.fixture(scope="module")
def found() -> Opinions:
    return run_of(0.1)


def test_every_opinion_has_both_energies_per_inference_and_their_ratio(found: Opinions) -> None:
    assert found.inferences.number == 2 * LENGTH // PERIOD
    for opinion in found.all:
        assert opinion.ratio.value == pytest.approx(opinion.spiking.value / opinion.other.value)
        assert opinion.ratio.low <= opinion.ratio.value <= opinion.ratio.high
        assert opinion.question and opinion.boundary


def test_the_chips_energy_is_the_dynamic_one_and_its_opponent_is_yans(found: Opinions) -> None:
    made = program()
    given = np.zeros((LENGTH, 2, 30), np.uint8)
    given[np.arange(LENGTH) % PERIOD < TICKS] = 1
    run = Simulator(made, 2).run(given, record_membranes=True)
    counts = count(made, run.spikes, currents=run.current, membranes=run.membrane)
    energy = price(counts, "loihi1")
    got = opinions(made, run.spikes, counts, ticks=TICKS, period=PERIOD, energy=energy)
    assert got.chip_prices.spiking.value == pytest.approx(energy.dynamic.value / got.inferences.number)
    assert got.chip_prices.other == got.equivalent_network.other
    constants = constants_of("yan")
    twin = got.yan.layout.twin().energy(constants)
    assert got.yan.layout.twin(values_of(constants)).energy(constants) == twin  # every input is 1: no events
    spent = energy.dynamic
    low, high = spent.low / got.inferences.number / twin.high, spent.high / got.inferences.number / twin.low
    assert (got.chip_prices.ratio.low, got.chip_prices.ratio.high) == pytest.approx((low, high))
    assert opinions(made, run.spikes, counts, ticks=TICKS, period=PERIOD).to_dict() == got.to_dict()


def test_the_band_also_holds_an_opponent_that_takes_its_inputs_as_events() -> None:
    found = run_of(0.02)
    constants = constants_of("yan")
    events = found.yan.layout.twin(values_of(constants)).energy(constants)
    assert events.value < found.chip_prices.other.value
    assert found.chip_prices.ratio.high == pytest.approx(found.chip_prices.spiking.high / events.low)
    assert found.chip_prices.ratio.low == pytest.approx(found.chip_prices.spiking.low / found.chip_prices.other.high)


def test_more_spikes_cost_more_by_every_model(found: Opinions) -> None:
    for quiet, busy in zip(found.all, run_of(0.6).all, strict=True):
        assert quiet.spiking.value < busy.spiking.value


def with_ratios(found: Opinions, *bands: tuple[float, float]) -> Opinions:
    one, two, three = (
        replace(opinion, ratio=Ratio((low + high) / 2, low, high, "fitted"))
        for opinion, (low, high) in zip(found.all, bands, strict=True)
    )
    return replace(found, chip_prices=one, memory_model=two, equivalent_network=three)


def test_cheaper_and_dearer_are_said_only_if_all_models_say_so(found: Opinions) -> None:
    below, above, around = (0.2, 0.9), (1.1, 3.0), (0.5, 2.0)
    assert with_ratios(found, below, below, below).verdict == "cheaper"
    assert with_ratios(found, above, above, above).verdict == "dearer"
    assert with_ratios(found, around, around, around).verdict == "within the band"
    for bands in ((above, below, below), (below, below, around), (above, above, around), (above, below, around)):
        assert with_ratios(found, *bands).verdict == "they disagree"
    # A band that ends at 1 does not say.
    assert with_ratios(found, (0.2, 1.0), (0.2, 1.0), (0.2, 1.0)).verdict == "within the band"
    mixed = with_ratios(found, above, below, below)
    assert mixed.where == "dearer: loihi1 (fitted); cheaper: Lemaire et al. 2022, Yan et al. 2026"


def test_an_opinion_whose_band_is_unknown_says_neither_cheaper_nor_dearer(found: Opinions) -> None:
    def said(low: float, high: float, known: bool = False) -> str:
        return replace(found.memory_model, ratio=Ratio((low + high) / 2, low, high, "simulated", known)).verdict

    assert [said(0.2, 0.9), said(1.1, 3.0), said(0.5, 0.5)] == ["band unknown"] * 3
    # A band that holds 1 holds it however much wider it is.
    assert said(0.5, 2.0) == "within the band"
    assert [said(0.2, 0.9, True), said(1.1, 3.0, True)] == ["cheaper", "dearer"]


def test_cheaper_needs_a_known_band_of_every_model(found: Opinions) -> None:
    below, above, around = (0.2, 0.9), (1.1, 3.0), (0.5, 2.0)

    def unknown(of: Opinions) -> Opinions:
        ratio = replace(of.memory_model.ratio, band_known=False)
        return replace(of, memory_model=replace(of.memory_model, ratio=ratio))

    agreed = unknown(with_ratios(found, below, below, below))
    assert agreed.verdict == "band unknown"
    assert agreed.where == ("cheaper: loihi1 (fitted), Yan et al. 2026; band unknown: Lemaire et al. 2022")
    assert unknown(with_ratios(found, above, below, above)).verdict == "band unknown"
    assert unknown(with_ratios(found, around, around, around)).verdict == "within the band"
    assert unknown(with_ratios(found, above, below, around)).verdict == "they disagree"


def test_the_memory_model_has_no_known_band_today(found: Opinions) -> None:
    """Horowitz publishes no spread of an operation. With one, this model could say `cheaper`."""
    assert not found.memory_model.ratio.band_known
    assert found.memory_model.verdict in ("band unknown", "within the band")


def test_the_dict_is_json_and_the_table_has_a_row_for_each_model(found: Opinions) -> None:
    said = json.loads(json.dumps(found.to_dict()))
    assert said["verdict"] == found.verdict and len(said["opinions"]) == 3
    assert said["equivalent_network"]["spike_rate"] == found.yan.rate
    table = found.table()
    assert [row[0] for row in table.rows] == [opinion.name for opinion in found.all]
    assert [row[-1] for row in table.rows] == [opinion.verdict for opinion in found.all]
    assert found.verdict in table.caption and found.where in table.caption
    assert len(list(table.lines())) == 4


def test_ticks_that_do_not_fit_the_run_are_refused() -> None:
    made = program()
    run = Simulator(made).run(np.ones((4, 1, 30), np.uint8))
    counts = count(made, run.spikes)
    with pytest.raises(BadInput, match="inferences: the longest sequence has 4 ticks; one inference takes 5"):
        opinions(made, run.spikes, counts, ticks=TICKS, period=PERIOD)
    with pytest.raises(BadInput, match="opinions: program"):
        opinions(None, run.spikes, counts, ticks=1, period=1)  # type: ignore[arg-type]
