"""The mapping for people: the limit that binds, and tables that stay short."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from chip_limits import chip
from integer_populations import population
from muspike.hardware.chip import Chip, load_chip
from muspike.hardware.graph import SpikingGraph
from muspike.hardware.mapping.compile import Compiled
from muspike.hardware.mapping.partition import partition
from muspike.hardware.mapping.quantise import (
    IntegerGraph,
    IntegerSynapses,
    PopulationReport,
    QuantisationReport,
    SynapsesReport,
)
from muspike.hardware.mapping.retime import Retimed
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.running.report import mapping, mapping_text
from muspike.hardware.weights import Conv, Sparse, Weights, astype, identity


def values_of(kind: type, **given: object) -> dict[str, object]:
    """A report of zeros, whatever fields it has, but for the given ones."""
    defaults = {"str": "", "int": 0, "float": 0.0}
    return {
        field.name: given.get(field.name, defaults.get(str(field.type).partition(" ")[0]))
        for field in dataclasses.fields(kind)
        if field.name in given or field.default is field.default_factory is dataclasses.MISSING
    }


def compiled(on: Chip, *layers: Weights) -> Compiled:
    """Populations p0, p1, ... with synapses w0, w1, ... between them, placed and not quantised."""
    sizes = [layers[0].shape[1], *(weight.shape[0] for weight in layers)]
    populations = [population(f"p{i}", "lif" if i else "input", size) for i, size in enumerate(sizes)]
    synapses = [IntegerSynapses(f"w{i}", f"p{i}", f"p{i + 1}", m, 1) for i, m in enumerate(layers)]
    levels = {p.name: i for i, p in enumerate(populations)}
    retimed = Retimed(IntegerGraph(populations, synapses, 1e-3), levels)
    places = partition(retimed, on)
    registers = ("du", "dv", "v_threshold", "bias_mant", "bias_exp", "scale")
    program = Program(
        on.name,
        1e-3,
        [
            ChipPopulation(
                name=p.name,
                size=p.size,
                kind=p.kind,
                level=levels[p.name],
                core=places.core[p.name],
                **{register: getattr(p, register) for register in registers},
            )
            for p in populations
        ],
        [ChipSynapses(s.name, s.source, s.target, s.weight, 0, s.delay, places.sparse[s.name]) for s in synapses],
        places.core_xy,
    )
    report = QuantisationReport(
        on.name,
        tuple(PopulationReport(**values_of(PopulationReport, name=p.name)) for p in populations[1:]),  # type: ignore[arg-type]
        tuple(SynapsesReport(**values_of(SynapsesReport, name=s.name)) for s in synapses),  # type: ignore[arg-type]
        (),
    )
    graph = SpikingGraph([], [], 1e-3)  # the report does not read it
    return Compiled(graph, on, program, report, places.use, (), retimed, retimed.graph, 1.0)


def one_to_one(size: int) -> Sparse:
    made = astype(identity(size), np.int16)
    assert isinstance(made, Sparse)
    made.values[:] = 2
    return made


def rows(text: str, begin: str) -> list[list[str]]:
    """The cells of the table whose first title is `begin`."""
    lines = iter(text.splitlines())
    found: list[list[str]] = []
    for line in lines:
        if found and not line:
            break
        if found or line.startswith(f"{begin} "):
            found.append(re.split(r"\s{2,}", line.strip()))
    return found


def test_the_table_of_weights_says_how_they_are_stored() -> None:
    conv = Conv(np.full((3, 1, 2, 2), 2, np.int16), (1, 4, 4), (3, 3, 3))
    found = compiled(load_chip("loihi1"), conv, np.full((5, 27), 2, np.int16), one_to_one(5))
    table = rows(mapping_text(found), "weights")
    assert table[0][:3] == ["weights", "stored as", "synapses"]
    assert [row[:3] for row in table[1:]] == [
        ["w0", "conv 3x1x2x2", "108"],
        ["w1", "dense 5x27", "135"],
        ["w2", "sparse 5x5", "5"],
    ]


def test_up_to_forty_cores_have_a_row_each() -> None:
    table = rows(mapping_text(compiled(chip(neurons_per_core=1), one_to_one(40))), "core")
    assert [row[0] for row in table[1:]] == [str(core) for core in range(40)]


def test_many_equal_cores_share_a_row_and_json_keeps_all() -> None:
    found = compiled(chip(neurons_per_core=2), one_to_one(101), one_to_one(101))
    text = mapping_text(found)
    table = rows(text, "core")
    assert [row[0] for row in table[1:]] == ["0-49 ('p1')", "50 ('p1', 'p2')", "51-100 ('p2')"]
    assert table[1][1] == "2 (100.0 %)"
    assert len(mapping(found)["use"]["cores"]) == 101
    assert "cores were closed by: neurons_per_core 100 times" in text


def test_many_unequal_cores_are_summed_up_and_the_fullest_shown() -> None:
    rng = np.random.default_rng(0)
    weight = np.where(rng.random((200, 80)) < rng.random((200, 1)), 2, 0).astype(np.int16)
    found = compiled(chip(neurons_per_core=2), Sparse.of(weight))
    text = mapping_text(found)
    assert "each row shows the most that any of its cores holds; then the 5 fullest cores" in text
    first, *fullest = rows(text, "core")[1:]
    assert first[:2] == ["0-99 ('p1')", "2 (100.0 %)"] and len(fullest) == 5
    axons = max(core.input_axons for core in found.use.cores)
    assert any(f" {axons} (" in line for line in text.splitlines())


def test_the_limit_that_binds_is_named_with_its_place() -> None:
    text = mapping_text(compiled(chip(input_axons_per_core=10), np.full((3, 8), 2, np.int16)))
    assert text.startswith("loihi1: fits on 1 chip\n")
    assert "nearest to its limit: input_axons_per_core, 80.0 % on core 0 ('p1')" in text


def test_what_does_not_fit_says_what_it_would_take() -> None:
    text = mapping_text(compiled(chip(input_axons_per_core=10), np.full((3, 20), 2, np.int16)))
    assert text.startswith("loihi1: does not fit\n")
    assert "above its limit: input_axons_per_core, 200.0 % on core 0 ('p1')" in text
    assert "what it would take: input_axons_per_core: fewer sources of a neuron" in text
    assert "- core 2 ('p1'): 20 input axons, loihi1 holds 10 on a core" in text


@pytest.mark.parametrize("neurons", [128, 300])
def test_a_network_for_several_chips_says_so(neurons: int) -> None:
    found = compiled(chip(neurons_per_core=1), one_to_one(neurons))
    text = mapping_text(found)
    told = "loihi1: does not fit one loihi1; spread over 3 chips" in text
    assert told == (neurons == 300) == ("one chip has 128 cores: this takes 2.34 times as many" in text)
    assert found.use.fits and found.use.chips == (3 if told else 1)


def test_of_very_many_problems_the_first_are_shown() -> None:
    text = mapping_text(compiled(chip(input_axons_per_core=3), np.full((50, 4), 2, np.int16)))
    assert text.count("4 input axons, loihi1 holds 3") == 40 and "- and 10 more" in text
