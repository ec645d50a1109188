"""Mean and spread over seeds, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from muspike.bench.sweep import spread, tables


def run(architecture: str, bits: float, count: float | None = 20.0) -> dict[str, Any]:
    return {
        "model": {"architecture": architecture, "trained_on": "jsb"},
        "quality": {
            "nll_bits_per_note": {"torch": bits, "chip": {"loihi1": bits + 0.1, "loihi2": None}},
            "metrics": {"pitch_count": {"generated": {"mean": count, "std": 1.0}}},
        },
        "chip": {"loihi1": {"fits": False, "reason": "too large"}},
    }


def test_runs_of_one_architecture_and_corpus_stand_together() -> None:
    told = spread([("a", 0, run("s-rnn", 2.0)), ("b", 0, run("s-cnn", 3.0)), ("a", 1, run("s-rnn", 4.0))])
    assert [(group["architecture"], len(group["runs"])) for group in told["groups"]] == [("s-rnn", 2), ("s-cnn", 1)]
    bits = told["groups"][0]["figures"]["bits per note, torch"]
    assert bits == {"mean": 3.0, "std": pytest.approx(2**0.5), "low": 2.0, "high": 4.0, "values": [2.0, 4.0]}
    assert told["groups"][1]["figures"]["bits per note, loihi1"]["std"] is None
    assert "bits per note, loihi2" not in told["groups"][0]["figures"]


def test_a_figure_that_one_run_lacks_has_no_mean() -> None:
    told = spread([("a", 0, run("s-rnn", 2.0)), ("a", 1, run("s-rnn", 2.0, count=None))])
    assert "pitch count" not in told["groups"][0]["figures"]


def test_a_table_has_a_row_for_each_figure() -> None:
    told = spread([("a", 0, run("s-rnn", 2.0)), ("a", 3, run("s-rnn", 4.0))])
    (table,) = tables(told)
    assert table.caption == "s-rnn, trained on jsb: a with seed 0, a with seed 3"
    assert table.rows[0] == ["bits per note, torch", "3", "1.414", "2", "4"]
