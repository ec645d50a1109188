"""Networks on machines: every figure is one that can be had elsewhere too, and what cannot be has a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest

from muspike import architectures, corpora
from muspike.bench.compare import Comparison, compare, machine_of
from muspike.bench.profile import profile
from muspike.bench.quality import MUSIC
from muspike.bench.sensitivity import Priced, conclusions
from muspike.bench.workload import Workload, workload_of
from muspike.checkpoint import Model
from muspike.errors import BadInput, Failed
from muspike.export.subject import Subject
from muspike.hardware.chip_template import chip_template
from muspike.hardware.cost.operation_prices import price_spikes
from muspike.hardware.price_list import load_price_list
from muspike.hardware.running.spikes import InputSpikes
from noise_corpus import noise_corpus
from small_model import small_model
from small_nir import chain, graph, lif

HOLDS = (
    "over the bands that are published; no band: time: step floor of loihi2, inferred, time: step floor of other prices"
)
ON = ("loihi1", "loihi2", "truenorth", "ideal-45nm-int8", "h100-peak-fp16")


@pytest.fixture(autouse=True)
def _corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    made = noise_corpus([40, 40, 40, 130, 130, 130], train=2, validation=2, name="jsb")
    monkeypatch.setattr(corpora, "load", lambda name, progress=True: made)


@pytest.fixture
def network() -> tuple[Subject, Workload]:
    subject = Subject("small", small_model("jsb"))
    return subject, workload_of(subject, pieces=2)


@pytest.fixture
def found(network: tuple[Subject, Workload]) -> Comparison:
    return compare([network], [machine_of(name) for name in ON], compose=2)


def test_a_row_has_the_figures_of_its_profile_and_of_its_price_list(
    found: Comparison, network: tuple[Subject, Workload]
) -> None:
    subject, workload = network
    rows = {(row.network, row.machine): row for row in found.rows}
    for chip in ("loihi1", "loihi2"):
        row, cost = rows["small", chip], profile(subject, workload, chip).energies[0]
        assert row.energy == (cost.total / workload.shares).to("uJ") and row.energy is not None
        assert row.latency is not None and row.rate is not None
        assert row.latency.value == pytest.approx(cost.latency.value / workload.shares * 1e-6)
        assert row.rate.value * row.latency.value == pytest.approx(1e3)
        assert row.rate.low * row.latency.high == pytest.approx(1e3)
    operations = profile(subject, workload, "loihi1").operations
    for name in ("truenorth", "ideal-45nm-int8"):
        energy = rows["small", name].energy
        expected = price_spikes(operations, load_price_list(name)).total / workload.shares
        assert energy is not None and energy.value == pytest.approx(expected.to("uJ").value)


def test_quality_is_that_of_exactly_what_ran(found: Comparison, network: tuple[Subject, Workload]) -> None:
    judged = {row.machine: row.quality for row in found.rows if row.network == "small"}
    first, second = judged["loihi1"], judged["loihi2"]
    assert first is not None and second is not None
    assert first.bits_per_note.low <= first.bits_per_note.value <= first.bits_per_note.high
    assert judged["truenorth"] is first  # whose operations are priced
    assert set(first.music) <= set(MUSIC) and first.music
    change = second.change_from(first)
    assert change.value == pytest.approx(second.bits_per_note.value / first.bits_per_note.value - 1)


def test_a_conclusion_is_drawn_inside_one_boundary_only(found: Comparison) -> None:
    rows = {row.label: row for row in found.rows}
    assert found.conclusions
    for of in found.conclusions:
        assert rows[of.first].boundary == rows[of.second].boundary
        assert rows[of.first].energy is not None and rows[of.second].energy is not None
        assert of.ratio > 1


def test_a_conclusion_names_the_constants_that_have_no_band(network: tuple[Subject, Workload]) -> None:
    """Loihi 2's floor of a step has no published spread; no price of Loihi 1 in its default set is without one."""
    found = compare([network], [machine_of("loihi1"), machine_of("loihi2")], judge=False)
    (of,) = found.conclusions
    row = {row.machine: row for row in found.rows}
    unbanded = [f"{name} of {one.prices}" for one in found.rows for name in one.unbanded]
    assert sorted(of.unbanded) == sorted(unbanded) and of.band_known is not bool(of.unbanded)
    assert "time: step floor" in row["loihi2"].unbanded
    assert of.to_dict()["unbanded"] == list(of.unbanded)


@pytest.mark.parametrize(("factor", "held"), [(1e6, HOLDS), (1.0, "no")])
def test_a_conclusion_that_holds_over_the_published_bands_says_what_is_not_known(
    network: tuple[Subject, Workload], factor: float, held: str
) -> None:
    """The same network on Loihi 2 once more, dearer by a factor at other prices."""
    found = compare([network], [machine_of("loihi2")], judge=False)
    (row,) = found.rows
    assert row.energy is not None
    dear = replace(row, network="dear", energy=row.energy * (1.001 * factor), prices="other prices")
    priced = [Priced(of.label, of.prices, of.energy, of.moves, of.unbanded) for of in (row, dear) if of.energy]
    both = replace(found, rows=(row, dear), conclusions=tuple(conclusions(priced)))
    table = next(table for table in both.tables() if "holds" in table.titles)
    assert table.rows[0][table.titles.index("holds")] == held


@pytest.mark.parametrize("name", ["ann-rnn", "ann-lstm", "ann-cnn", "ann-transformer"])
def test_a_twin_is_priced_by_its_multiplications(name: str) -> None:
    """Against a count by hand: every matrix but the embedding once for each word, and both products of attention."""
    settings = architectures.preset(name, "small")["network"]
    network = architectures.build(name, settings)
    own = Subject("twin", Model(name, settings, network, {"corpus": "jsb"}))
    workload = workload_of(own, pieces=2)
    (row,) = compare([(own, workload)], [machine_of("h100-peak-fp16")], judge=False).rows
    matrices = {key: p for key, p in network.named_parameters() if p.dim() > 1 and not key.startswith("embedding")}
    by_hand = sum(p.numel() for p in matrices.values())
    if name == "ann-transformer":
        by_hand += settings["layers"] * 2 * 128 * settings["width"]
    assert row.energy is not None and workload.tokens is not None
    assert row.energy.value == pytest.approx(by_hand * workload.tokens * 1.42e-6 / workload.shares)


def test_a_spiking_network_stands_beside_its_untrained_twin(network: tuple[Subject, Workload]) -> None:
    (row,) = compare([network], [machine_of("h100-peak-fp16")], judge=False).rows
    assert row.network == "ann-rnn (untrained)" and row.beside == "small" and row.quality is None


def test_a_price_list_gives_the_same_figure_whatever_stands_beside_it(
    network: tuple[Subject, Workload], tmp_path: Path
) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(chip_template("loihi2"), encoding="utf-8")
    found = []
    for on in (["truenorth"], [str(own), "truenorth"], ["truenorth", "loihi2"]):
        rows = compare([network], [machine_of(name) for name in on], judge=False).rows
        found.append(next(row.energy for row in rows if row.machine == "truenorth"))
    assert found[0] == found[1] == found[2]


def test_the_crossover_holds_chips_against_whole_machines_without_spikes(found: Comparison) -> None:
    assert {of.axis for of in found.crossings} == {"batch"}
    assert {of.second for of in found.crossings} == {"ann-rnn (untrained) on h100-peak-fp16"}
    assert "no GPU measured" in found.remarks()


def test_what_has_no_figures_has_a_reason_and_the_others_stand(
    network: tuple[Subject, Workload], tmp_path: Path
) -> None:
    tiny = tmp_path / "tiny.toml"
    text = chip_template("loihi1").replace("value = 1048576,", "value = 64,")
    tiny.write_text(text, encoding="utf-8")
    found = compare([network], [machine_of(str(tiny)), machine_of("cpu"), machine_of("loihi1")], judge=False)
    assert [row.machine for row in found.rows] == ["loihi1"]
    reasons = {of.machine: of.why for of in found.missing}
    assert "what does not fit has no energy" in reasons["my-loihi1"] and "synaptic memory" in reasons["my-loihi1"]
    assert reasons["cpu"] == "cpu: nothing is measured here"


def test_nothing_to_compare_is_refused_with_the_first_reason(network: tuple[Subject, Workload]) -> None:
    with pytest.raises(BadInput, match="compare: nothing to compare: cuda: cuda: nothing is measured here"):
        compare([network], ["cuda"], judge=False)


def test_a_meter_that_refuses_costs_no_other_row(network: tuple[Subject, Workload]) -> None:
    def refuses(*_: object) -> None:
        raise Failed("NVML: refuses: insufficient permissions")

    found = compare([network], ["cuda", machine_of("loihi1")], judge=False, measure=refuses)  # type: ignore[arg-type]
    assert [row.machine for row in found.rows] == ["loihi1"]
    assert found.missing[0].why == "NVML: refuses: insufficient permissions"


def test_a_network_of_another_tool_is_compared_per_sample() -> None:
    nodes = {"input": 4, "in": nir.Linear(np.eye(4)), "lif": lif(4), "output": 4}
    subject = Subject("net.nir", graph(nodes, chain(*nodes)), 1e-3)
    spikes = (np.random.default_rng(0).random((20, 3, 4)) < 0.5).astype(np.uint8)
    workload = workload_of(subject, InputSpikes(20, 3, {"input": spikes}))
    found = compare([(subject, workload)], [machine_of(name) for name in ON])
    assert {row.per for row in found.rows} == {"sample"} and not found.crossings
    assert all(row.quality is None for row in found.rows)
    assert [of.machine for of in found.missing] == ["h100-peak-fp16"]
    assert found.missing[0].why == "net.nir: is no model of muspike, so it has no twin that does not spike"
    assert "µJ\nper sample" in next(iter(found.tables())).titles


def test_every_machine_is_known_by_its_name_or_its_file(tmp_path: Path) -> None:
    for name in ("loihi2", "spinnaker"):
        file = tmp_path / f"{name}.toml"
        file.write_text(chip_template(name), encoding="utf-8")
        assert type(machine_of(str(file))) is type(machine_of(name))
    with pytest.raises(BadInput, match=r"machine 'tpu' is not known; known: loihi1, loihi2, .*, cuda, or give"):
        machine_of("tpu")
    (tmp_path / "none.toml").write_text("name = ")
    with pytest.raises(BadInput, match="not TOML"):
        machine_of(str(tmp_path / "none.toml"))


def test_the_tables_and_the_dict_tell_the_same(found: Comparison) -> None:
    figures = next(iter(found.tables()))
    told = found.to_dict()
    assert len(figures.rows) == len(told["rows"]) == len(found.rows)
    for row in told["rows"]:
        assert row["boundary"] and row["precision"] and row["batch"] == 1 and row["how"] == "modelled"
        assert row["energy_uj_per_note"]["tag"]


def test_a_mapped_row_says_how_many_cores_and_chips_it_takes(
    found: Comparison, network: tuple[Subject, Workload]
) -> None:
    figures = next(iter(found.tables()))
    columns = [figures.titles.index(title) for title in ("cores", "chips")]
    for row, told, cells in zip(found.rows, found.to_dict()["rows"], figures.rows, strict=True):
        shown = [cells[column] for column in columns]
        if row.machine in ("loihi1", "loihi2"):
            memory = profile(*network, row.machine).memory
            assert (told["cores"], told["chips"]) == (memory.cores, memory.chips)
            assert shown == [str(memory.cores), str(memory.chips)] and memory.cores > 0
        else:
            assert (told["cores"], told["chips"]) == (None, None) and shown == ["–", "–"]


def test_a_table_of_machines_without_cores_has_no_columns_for_them(network: tuple[Subject, Workload]) -> None:
    found = compare([network], [machine_of("h100-peak-fp16")], judge=False)
    assert "cores" not in next(iter(found.tables())).titles
