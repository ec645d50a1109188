"""A corpus built on a Ray cluster of which a worker is killed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from muspike.corpora import shards
from ray_cluster import ray_cluster
from stored_corpus import write_folder

FILES, CHUNK = 60, 4

# Reading as it is, but each file takes a while, and the process that reads it leaves its number beside the parts.
SLOW = """
import os, sys, time
from pathlib import Path
from muspike.corpora import reading

_of_one = reading.read_file


def _slow(source, root, file):
    Path(os.environ["SEEN"], f"{Path(file).stem}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(0.1)
    return _of_one(source, root, file)


def read_chunk(chunk):
    reading.read_file = _slow
    reading.read_chunk(chunk)
"""

DRIVER = """
import sys
from muspike.corpora import building
import muspike.corpora, slow_reading

building.CHUNK = int(sys.argv[2])
building.read_chunk = slow_reading.read_chunk
made = muspike.corpora.build(sys.argv[1], cluster=sys.argv[3] or None, workers=2, progress=False)
print(made.anew, made.folder)
"""


@pytest.mark.nightly
def test_a_build_on_a_cluster_loses_nothing_when_a_worker_is_killed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "midi", range(FILES))
    (folder / "broken.mid").write_text("this is no MIDI file")
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "slow_reading.py").write_text(SLOW)
    seen = {where: tmp_path / f"seen-{where}" for where in ("here", "cluster")}
    for place in seen.values():
        place.mkdir()

    def build(where: str, address: str) -> subprocess.Popen[str]:
        env = os.environ | {"PYTHONPATH": str(modules), "XDG_CACHE_HOME": str(tmp_path / where)}
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(folder), str(CHUNK), address],
            env=env | {"SEEN": str(seen[where])}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def corpus(driver: subprocess.Popen[str]) -> Path:
        out, err = driver.communicate(timeout=240)
        assert driver.returncode == 0, err
        # Ray has things to say too.
        return Path(next(line for line in out.splitlines() if line.startswith("True ")).removeprefix("True "))

    local = corpus(build("here", ""))
    with ray_cluster(tmp_path, modules, env={"SEEN": str(seen["cluster"])}) as address:
        driver = build("cluster", address)
        deadline = time.monotonic() + 120
        while len(marks := sorted(seen["cluster"].iterdir())) < 2 * CHUNK:
            assert time.monotonic() < deadline and driver.poll() is None, driver.communicate()[1]
            time.sleep(0.02)
        latest = max(marks, key=lambda mark: int(mark.name.split("-")[2]))
        killed = int(latest.name.split("-")[1])
        os.kill(killed, signal.SIGKILL)
        on_cluster = corpus(driver)

    read_by = [mark.name.split("-") for mark in seen["cluster"].iterdir()]
    assert len({process for _, process, _ in read_by}) >= 3, "the worker was not replaced"
    assert FILES + 1 < len(read_by) <= FILES + 1 + CHUNK, "the files of one chunk alone are read again"
    assert {file.name: file.read_bytes() for file in on_cluster.iterdir()} == {
        file.name: file.read_bytes() for file in local.iterdir()
    }
    with (on_cluster / shards.MANIFEST).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["file"] for row in rows) == sorted(path.name for path in folder.iterdir())
    assert [row["file"] for row in rows if row["outcome"] == "left out"] == ["broken.mid"]
    assert shards.check(on_cluster, hashes=True)["pieces"] == FILES
    assert [path.name for path in on_cluster.parent.iterdir()] == [on_cluster.name], "the parts are removed"
