"""A part comes back as it went into its file, and a file that is none is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from muspike.bench.parts import Part, part_path
from muspike.errors import BadInput


def part() -> Part:
    rng = np.random.default_rng(0)
    return Part(
        result={"model": {"parameters": 7}, "quality": {"nll_bits_per_note": {"torch": 0.1, "chip": {"loihi1": None}}}},
        words=rng.integers(0, 30, (12, 7)).astype(np.int16),
        spikes={"a/b": rng.integers(0, 2, (20, 3)).astype(np.uint8), "readout": np.zeros((20, 1), np.uint8)},
        period=4,
        first_token=2,
        relays={"relay": 9},
        samples={"pitch_count": {"generated": np.array([1.0, np.nan]), "reference": np.array([2.0])}},
    )


def test_a_part_is_read_back_as_it_was(tmp_path: Path) -> None:
    one = part()
    one.save(tmp_path / "part.npz")
    other = Part.load(tmp_path / "part.npz")
    assert other.result == one.result and other.relays == one.relays
    assert (other.period, other.first_token) == (one.period, one.first_token)
    assert np.array_equal(other.words, one.words) and list(other.spikes) == list(one.spikes)
    assert all(np.array_equal(other.spikes[name], one.spikes[name]) for name in one.spikes)
    for of in ("generated", "reference"):
        np.testing.assert_array_equal(other.samples["pitch_count"][of], one.samples["pitch_count"][of])


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"no archive at all"])
def test_a_file_that_is_no_part_is_refused(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "part.npz").write_bytes(damage)
    with pytest.raises(BadInput, match=r"part\.npz: damaged, or no part of a report: .*; delete it"):
        Part.load(tmp_path / "part.npz")


def test_a_part_of_another_form_or_cut_short_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "part.npz"
    np.savez(file, about=np.frombuffer(json.dumps({"format": "else"}).encode(), np.uint8))
    with pytest.raises(BadInput, match="is a part of another form, 'else'"):
        Part.load(file)
    part().save(file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BadInput, match="damaged, or no part"):
        Part.load(file)


def test_a_part_cannot_bring_python_objects(tmp_path: Path) -> None:
    file = tmp_path / "part.npz"
    np.savez(file, about=np.array([{"format": "x"}], object))
    with pytest.raises(BadInput):
        Part.load(file)


def test_a_name_tells_everything_that_the_figures_depend_on(tmp_path: Path) -> None:
    one = part_path(tmp_path, "s-rnn, seed 1", {"seed": 1})
    assert one.parent == tmp_path / "parts" and one.name.startswith("s-rnn-seed-1-")
    assert one != part_path(tmp_path, "s-rnn, seed 1", {"seed": 2})
    assert one == part_path(tmp_path, "s-rnn, seed 1", {"seed": 1})
    assert part_path(tmp_path, "../../x", {}).parent == tmp_path / "parts"


def test_a_part_that_was_changed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "part.npz"
    part().save(file)
    with np.load(file) as found:
        arrays = dict(found)
    arrays["spikes.0"] = arrays["spikes.0"] ^ 1
    np.savez(file, **arrays)
    with pytest.raises(BadInput, match=r"part\.npz: was changed after it was written; delete it"):
        Part.load(file)
