"""The matrix of networks and targets: what it says of a pair is what an export of that pair says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chip_programs import population, program
from every_network import made
from muspike.cli import main
from muspike.errors import Failed
from muspike.export import to_nir_file
from muspike.export.matrix import Cell, columns, markdown, table, try_all, try_pair
from muspike.export.subject import Subject
from muspike.export.targets import TARGETS

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "targets.json"


def test_there_is_a_column_for_every_target_and_every_form_of_it() -> None:
    found = columns()
    assert {target for target, _ in found.values()} == set(TARGETS)
    assert found["onnx --form chip --chip loihi2"] == ("onnx", {"form": "chip", "chip": "loihi2"})
    assert list(columns(["snntorch"])) == ["snntorch"]


def test_pairs_are_proved_refused_or_unequal(monkeypatch: pytest.MonkeyPatch) -> None:
    good = Subject("good", made("s-rnn"))
    cell = try_pair(good, "nir", 4)
    assert (cell.outcome, cell.why, cell.differences) == ("proved", "", 0) and cell.spikes > 0
    integers = Subject("integers", program([population("a", 2)], []))
    cell = try_pair(integers, "nir", 4)
    assert cell.outcome == "refused" and cell.why.startswith("integers: holds the integers of loihi1")
    right = to_nir_file.run
    monkeypatch.setattr(to_nir_file, "run", lambda path, inputs, options: right(path, inputs[::-1].copy(), options))
    cell = try_pair(good, "nir", 4)
    assert cell.outcome == "unequal" and cell.differences > 0 and cell.why.startswith("first difference: ")

    def broken(*_: object) -> None:
        raise Failed("out of order")

    monkeypatch.setattr(to_nir_file, "run", broken)
    assert try_pair(good, "nir", 4).outcome == "failed"


def test_the_table_tells_why() -> None:
    cells = [Cell("a", "nir", "proved", spikes=1234), Cell("b", "nir", "refused", "no room")]
    assert table(cells)[-2:] == ["nir  proved, 1,234 spikes  refused", "b to nir: no room"]
    assert markdown([cell.to_dict() for cell in cells]).splitlines() == [
        "| `--to` | a | b |",
        "|---|---|---|",
        "| `nir` | proved, 1,234 spikes | refused |",
        "",
        "- b to nir: no room",
    ]


def test_the_command_prints_the_cells(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    program([population("a", 2)], []).save(tmp_path / "p.npz")
    assert main(["targets", str(tmp_path / "p.npz"), "--to", "snntorch", "--json"]) == 0
    (cell,) = json.loads(capsys.readouterr().out)
    assert cell["outcome"] == "refused"
    assert main(["targets", str(tmp_path / "p.npz"), "--to", "nir"]) == 0
    assert "refused" in capsys.readouterr().out


def cells() -> list[Cell]:
    return [Cell(**cell) for cell in json.loads(RESULTS.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("target", ["nir", "onnx", "onnx --form chip --chip loihi2"])
def test_the_committed_matrix_is_what_the_proofs_say_of_one_model(target: str) -> None:
    (kept,) = [cell for cell in cells() if (cell.network, cell.target) == ("s-rnn", target)]
    assert try_pair(Subject.of("s-rnn"), target).to_dict() == kept.to_dict()


def test_the_committed_matrix_has_every_column_and_no_pair_that_is_unequal() -> None:
    found = cells()
    assert {cell.target for cell in found} == set(columns())
    assert {cell.outcome for cell in found} <= {"proved", "refused"}
    assert all(cell.differences == 0 for cell in found)


@pytest.mark.nightly
def test_the_committed_matrix_is_what_the_proofs_say() -> None:
    kept = cells()
    networks = [Subject.of(name) for name in dict.fromkeys(cell.network for cell in kept)]
    assert [cell.to_dict() for cell in try_all(networks)] == [cell.to_dict() for cell in kept]
