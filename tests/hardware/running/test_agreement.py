"""Agreement of integers with floats, against counting by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from chip_programs import population, program
from muspike.errors import BadInput
from muspike.hardware.running import agreement as module
from muspike.hardware.running.agreement import Exactness, ReadoutAgreement, SpikeAgreement, agreement, exactness

PROGRAM = program(
    [
        population("in", 3, "input"),
        population("relay", 3, level=1),
        population("a", 4, level=2),
        population("out", 2, "li", level=3, scale=10.0),
    ],
    [],
)


def test_spikes_are_held_together_without_the_level() -> None:
    rng = np.random.default_rng(0)
    ideal = (rng.random((20, 3, 4)) < 0.3).astype(np.uint8)
    chip = np.zeros((22, 3, 4), np.uint8)  # the input's 20 ticks, and level 2
    chip[2:] = ideal
    ((row,), same) = (
        agreement(PROGRAM, {"a": ideal}, {}, {"a": chip, "in": chip, "relay": chip}, {}),
        int(ideal.sum()),
    )
    assert row == SpikeAgreement("a", 240, same, same, same, 3, 3)
    assert isinstance(row, SpikeAgreement) and (row.agreement, row.rate_change) == (1.0, 0.0)
    lost, new = np.argwhere(ideal)[5], np.argwhere(ideal == 0)[7]
    chip[2:][tuple(lost)], chip[2:][tuple(new)] = 0, 1
    chip[:2] = 1  # before the ideal network began
    (row,) = agreement(PROGRAM, {"a": ideal}, {}, {"a": chip}, {})
    assert isinstance(row, SpikeAgreement) and row.agreement == pytest.approx((same - 1) / (same + 1))
    assert row.rate_change == 0.0
    # A chip that ran for shorter is compared as far as it ran.
    (row,) = agreement(PROGRAM, {"a": ideal}, {}, {"a": chip[:12]}, {})
    assert isinstance(row, SpikeAgreement)
    assert row == SpikeAgreement(
        "a", 120, int(ideal[:10].sum()), int(chip[2:12].sum()), int((ideal[:10] & chip[2:12]).sum()), 3, row.same_winner
    )
    counts = [s.sum(axis=0).argmax(axis=1) for s in (ideal[:10], chip[2:12])]
    assert row.same_winner == (counts[0] == counts[1]).sum()


def test_several_float_spikes_of_a_tick_count_each() -> None:
    ideal, chip = np.zeros((5, 1, 4), np.uint16), np.zeros((7, 1, 4), np.uint8)
    ideal[0, 0], ideal[1, 0] = [3, 0, 1, 0], [300, 1, 0, 0]
    chip[2, 0], chip[3, 0] = [1, 1, 1, 0], [1, 1, 0, 0]
    (row,) = agreement(PROGRAM, {"a": ideal}, {}, {"a": chip}, {})
    assert row == SpikeAgreement("a", 20, float_spikes=305, chip_spikes=5, both=4, sequences=1, same_winner=1)
    larger = np.maximum(ideal, chip[2:]).sum()
    assert isinstance(row, SpikeAgreement) and row.agreement == 4 / larger and row.rate_change == 5 / 305 - 1
    ideal[1, 0, 0], ideal[2, 0, 1] = 1, 9  # the second neuron spikes most often, in fewer ticks
    (row,) = agreement(PROGRAM, {"a": ideal}, {}, {"a": chip}, {})
    assert isinstance(row, SpikeAgreement) and row.same_winner == 0


def test_where_nothing_spikes_there_is_no_share() -> None:
    silent, once = np.zeros((5, 1, 4), np.uint8), np.zeros((5, 1, 4), np.uint8)
    once[3, 0, 0] = 1
    (row,) = agreement(PROGRAM, {"a": silent}, {}, {"a": silent}, {})
    assert isinstance(row, SpikeAgreement) and row.agreement is None and row.rate_change is None
    assert json.loads(json.dumps(row.to_dict()))["agreement"] is None
    (row,) = agreement(PROGRAM, {"a": silent}, {}, {"a": once}, {})
    assert isinstance(row, SpikeAgreement) and row.agreement == 0 and row.rate_change is None


def test_readouts_differ_in_units_of_the_float_membrane() -> None:
    ideal = np.random.default_rng(0).normal(size=(6, 2, 2))
    chip = np.zeros((9, 2, 2), np.int32)
    chip[3:] = np.round(10 * ideal)
    (row,) = agreement(PROGRAM, {}, {"out": ideal}, {}, {"out": chip})
    error = chip[3:] / 10 - ideal
    assert isinstance(row, ReadoutAgreement) and row.values == 24
    assert row.largest_difference == pytest.approx(np.abs(error).max()) and 0 < row.largest_difference <= 0.05
    assert row.rms_difference == pytest.approx(np.sqrt((error**2).mean()))
    assert row.rms_float == pytest.approx(np.sqrt((ideal**2).mean()))
    assert json.loads(json.dumps(row.to_dict()))["population"] == "out"


def test_runs_of_two_batches_are_refused() -> None:
    with pytest.raises(BadInput, match=r"population 'a': \[5, 1, 4\] on the chip, \[5, 2, 4\] in floats"):
        agreement(PROGRAM, {"a": np.zeros((5, 2, 4))}, {}, {"a": np.zeros((7, 1, 4))}, {})


def test_parts_and_populations_add_up() -> None:
    rows = [SpikeAgreement("a", 240, 30, 20, 10, 3, 2), SpikeAgreement("b", 60, 0, 5, 0, 3, 1)]
    total = SpikeAgreement.together("both", rows)
    assert total == SpikeAgreement("both", 300, 30, 25, 10, 6, 3)
    assert (total.agreement, total.rate_change) == (10 / 45, 25 / 30 - 1)
    assert SpikeAgreement.together("none", []) == SpikeAgreement("none", 0, 0, 0, 0, 0, 0)


def test_equal_runs_are_exact_and_every_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    judge = {name: (rng.random((20, 3, 4)) < 0.3).astype(np.uint8) for name in "ab"}
    u, v = ({name: rng.integers(-9, 9, (20, 3, 4)) for name in "ab"} for _ in range(2))
    run, own_u, own_v = ({name: array.copy() for name, array in of.items()} for of in (judge, u, v))
    run["in"] = np.ones((20, 3, 2), np.uint8)  # which the judge does not tell
    fired = {name: int(array.sum()) for name, array in judge.items()}
    assert exactness(run, judge, [(own_u, u), (own_v, v)]) == tuple(
        Exactness(n, 240, fired[n], 0, 0, None) for n in "ab"
    )
    run["a"][17, 2, 3] ^= 1
    own_u["a"][8, 0, 1] += 1
    own_u["a"][9, 1, 2] += 1
    own_v["a"][9, 1, 2] += 1  # the same neuron and tick: one difference
    own_v["a"][15, 0, 0] += 1
    del own_u["b"], v["b"]  # what one alone recorded is not compared
    wanted = (Exactness("a", 240, fired["a"], 1, 3, 8), Exactness("b", 240, fired["b"], 0, 0, None))
    assert exactness(run, judge, [(own_u, u), (own_v, v)]) == wanted
    monkeypatch.setattr(module, "_VALUES_AT_ONCE", 12 * 6)  # six ticks at a time
    a, b = exactness(run, judge, [(own_u, u), (own_v, v)])
    assert (a, b) == wanted and (a.exact, b.exact) == (False, True) and (a.differences, b.differences) == (3, 0)
    assert json.loads(json.dumps(a.to_dict()))["first_tick"] == 8


def test_what_cannot_be_compared_is_no_proof() -> None:
    spikes = np.zeros((5, 2, 4), np.uint8)
    with pytest.raises(BadInput, match="population 'a': nothing to compare; the run has b"):
        exactness({"b": spikes}, {"a": spikes})
    with pytest.raises(BadInput, match=r"population 'a': \[5, 1, 4\] in the run, \[5, 2, 4\] in its judge"):
        exactness({"a": spikes[:, :1]}, {"a": spikes})
    with pytest.raises(BadInput, match=r"population 'a': \[4, 2, 4\] in the run, \[5, 2, 4\] in its judge"):
        exactness({"a": spikes}, {"a": spikes}, [({"a": spikes[1:]}, {"a": spikes})])
