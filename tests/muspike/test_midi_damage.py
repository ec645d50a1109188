"""Damaged MIDI files are read, mended with a word, or refused; none of them crashes, hangs or eats memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "helpers" / "midi_damage.py"
LARGE = SCRIPT.with_name("large_midi.py")
DATA = Path(__file__).parents[2].parent / "shared" / "data"
FILES = int(os.environ.get("MUSPIKE_DAMAGED_FILES", "20000"))
CORPUS_FILES = int(os.environ.get("MUSPIKE_DAMAGED_FILES", "100000"))

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="bounds the memory as Linux does")


def run(way: str, first: int, count: int, *folder: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), way, str(first), str(count), *folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-3000:]}"
    print(done.stdout)
    return done.stdout


def test_a_few_hundred_damaged_files() -> None:
    said = run("score", 0, 400)
    for outcome in ("read", "mended", "refused"):
        assert f"'{outcome}'" in said


def test_a_few_hundred_damaged_files_on_their_way_into_a_corpus() -> None:
    said = run("corpus", 400, 400)
    for outcome in ("as written", "phase", "tracked", "cannot be read", "fewer than 16 notes"):
        assert f"'{outcome}'" in said


@pytest.mark.nightly
@pytest.mark.parametrize("way", ["score", "corpus"])
def test_files_of_ten_megabytes(way: str) -> None:
    """Whatever they are full of, they are read within a GiB and the time that is set, or refused."""
    done = subprocess.run([sys.executable, str(LARGE), way], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    print(done.stdout)


@pytest.mark.nightly
@pytest.mark.parametrize("folder", ["emopia/midis", "jsb", "lakh", "pop909", None])
def test_many_damaged_files(folder: str | None) -> None:
    """MUSPIKE_DAMAGED_FILES says how many, shared among the folders."""
    if folder and not (DATA / folder).is_dir():
        pytest.skip("shared/data is not here")
    run("score", 1_000_000, FILES // 5, *([str(DATA / folder)] if folder else []))


@pytest.mark.nightly
@pytest.mark.parametrize("folder", ["emopia/midis", "jsb", "lakh", "pop909", None])
def test_many_damaged_files_on_their_way_into_a_corpus(folder: str | None) -> None:
    """100,000 files, or as many as MUSPIKE_DAMAGED_FILES says: bytes, beat, words, losses and sketch.

    None takes 2 s of CPU or a GiB of memory, and no word is out of range.
    """
    if folder and not (DATA / folder).is_dir():
        pytest.skip("shared/data is not here")
    run("corpus", 2_000_000, CORPUS_FILES // 5, *([str(DATA / folder)] if folder else []))
