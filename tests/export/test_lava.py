"""The simulator against Lava itself, and how a Python for Lava is found and made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
import pytest

from muspike.errors import BadInput, Failed
from muspike.export import lava
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.simulator import Simulator


@pytest.fixture(scope="module")
def python() -> Path:
    try:
        return lava.find_lava_python()
    except Failed as error:
        if "cannot be installed" not in str(error):
            raise
        pytest.skip(str(error))


def population(name: str, size: int, kind: str = "lif", **values: Any) -> ChipPopulation:
    defaults = {"du": 4095, "dv": 2048, "v_threshold": 100, "bias_mant": 0, "bias_exp": 0}
    arrays = {key: np.broadcast_to(np.asarray(values.get(key, value)), size) for key, value in defaults.items()}
    core = np.full(size, -1 if kind == "input" else 0)
    return ChipPopulation(name=name, size=size, kind=kind, level=0, scale=np.ones(size), core=core, **arrays)  # type: ignore[arg-type]


def program(populations: list[ChipPopulation], synapses: list[ChipSynapses]) -> Program:
    return Program("loihi1", 1e-3, populations, synapses, np.zeros((1, 2), int))


def random_program(seed: int, extreme: bool) -> Program:
    """Recurrent, with delays from 1 to 63, two inputs, several synapses between the same two, parameters per neuron.

    `extreme`: inputs of up to 2^18, where u wraps and v clips; all biases and exponents, thresholds up to the largest.
    """
    rng = np.random.default_rng(seed)

    def neurons(name: str, size: int, kind: str = "lif") -> ChipPopulation:
        return population(
            name,
            size,
            kind,
            du=rng.choice([0, 100, 2047, 4095, 4096], size),
            dv=rng.choice([0, 512, 2048, 4095, 4096], size),
            v_threshold=rng.integers(0, 2**17 if extreme else 400, size),
            bias_mant=rng.integers(-4096 if extreme else -30, 4096 if extreme else 90, size),
            bias_exp=rng.integers(0, 8 if extreme else 4, size),
        )

    populations = [
        neurons("first", 12),
        population("in", 6, "input"),
        neurons("second", 9),
        neurons("readout", 3, "li"),
        population("other in", 4, "input"),
        neurons("alone", 2),
    ]
    size = {p.name: p.size for p in populations}

    def synapses(i: int, source: str, target: str, delay: int) -> ChipSynapses:
        shape = (size[target], size[source])
        if extreme:  # at most 27 spikes reach a neuron at once: 27 * 256 << 5 is below 2^18
            return ChipSynapses(f"{i}", source, target, rng.choice([-256, 254], shape), int(rng.integers(3, 6)), delay)
        return ChipSynapses(f"{i}", source, target, rng.integers(-30, 40, shape) * 2, int(rng.integers(0, 2)), delay)

    paths = [
        ("in", "first", 1),
        ("in", "first", 5),
        ("other in", "second", 3),
        ("first", "first", 1),
        ("first", "second", 63),
        ("second", "first", 2),
        ("second", "second", 7),
        ("first", "readout", 1),
        ("in", "readout", 62),
    ]
    return program(populations, [synapses(i, *path) for i, path in enumerate(paths)])


def spikes(seed: int, p: Program, ticks: int, batch: int) -> npt.NDArray[np.uint8]:
    size = sum(q.size for q in p.inputs)
    return (np.random.default_rng(seed).random((ticks, batch, size)) < 0.3).astype(np.uint8)


@pytest.mark.parametrize(("seed", "extreme"), [(0, False), (1, False), (2, True), (3, True)])
def test_every_spike_u_and_v_is_lavas(python: Path, seed: int, extreme: bool) -> None:
    p = random_program(seed, extreme)
    inputs = spikes(seed, p, ticks=150, batch=2)
    rows, judged = lava.verify(p, inputs, python, record_membranes=True)
    assert {row.population for row in rows} == {"first", "second", "readout", "alone"}
    assert all(row.exact for row in rows), rows
    assert all(judged.current[name].shape == (150, 2, p.population(name).size) for name in judged.spikes)
    run = Simulator(p, 2).run(inputs, record_membranes=True)
    assert run.spikes["first"].any() and run.spikes["second"][70:].any()
    if extreme:  # the cases this is about did occur
        assert np.abs(run.membrane["first"]).max() == 2**23 - 1
        assert np.abs(np.diff(run.current["first"].astype(np.int64), axis=0)).max() > 2**23
        assert sum(run.overflows.values()) > 0
    assert not np.array_equal(run.spikes["first"][:, 0], run.spikes["first"][:, 1])


def test_second_sequence_starts_in_silence(python: Path) -> None:
    """Spikes under way at the end of a sequence, through Dense and DelayDense, do not reach the next one."""
    p = program(
        [population("in", 1, "input"), population("h", 1, dv=0, du=0)],
        [
            ChipSynapses("now", "in", "h", np.array([[120]]), 0, 1),
            ChipSynapses("late", "in", "h", np.array([[254]]), 3, 4),
        ],
    )
    inputs = np.zeros((6, 3, 1), np.uint8)
    inputs[3:, 0] = 1
    run = lava.run_lava(p, inputs, python)
    assert run.spikes["h"][:, 0].any()
    assert not run.spikes["h"][:, 1:].any()
    assert run.membrane == {} == run.current
    assert run.versions["lava-nc"] == "0.10.0"


def test_compare_sees_a_difference(python: Path) -> None:
    p = program(
        [population("in", 2, "input"), population("h", 2), population("out", 1, "li", v_threshold=2**17 - 1)],
        [
            ChipSynapses("a", "in", "h", np.array([[200, 0], [0, 200]]), 0, 1),
            ChipSynapses("b", "h", "out", np.array([[4, 6]]), 0, 1),
        ],
    )
    inputs = np.zeros((8, 1, 2), np.uint8)
    inputs[2, 0, 0] = 1
    judged = lava.run_lava(p, inputs, python)
    assert all(row.exact for row in lava.compare(Simulator(p).run(inputs), judged))
    inputs[5, 0, 1] = 1
    h, out = lava.compare(Simulator(p).run(inputs), judged)
    assert (h.population, h.different_spikes, h.spikes, h.first_tick, h.exact) == ("h", 1, 1, 6, False)
    assert (out.different_spikes, out.different_states, out.first_tick) == (0, 1, 7)


def test_run_lava_refuses(python: Path, tmp_path: Path) -> None:
    p = random_program(0, extreme=False)
    for inputs in (
        np.zeros((3, 1, 9), np.uint8),
        np.zeros((0, 1, 10), np.uint8),
        np.full((3, 1, 10), 2),
        np.zeros((3, 10)),
    ):
        with pytest.raises(BadInput, match="inputs: "):
            lava.run_lava(p, inputs, python)
    with pytest.raises(BadInput, match=r"none\.npz: cannot be read"):
        lava.run_lava(tmp_path / "none.npz", np.zeros((1, 1, 1), np.uint8), python)


def test_a_python_that_cannot_run_lava(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failed, match=r"^--python .*: does not run lava-nc==0.10.0: .*No module named 'lava'"):
        lava.find_lava_python(sys.executable)
    monkeypatch.setenv(lava.VARIABLE, str(tmp_path / "python"))
    with pytest.raises(Failed, match=rf"^{lava.VARIABLE} .*python: does not run .*No such file"):
        lava.find_lava_python()
    assert "does not start" in lava.environment_report()["error"]
    # A pyenv shim of a version that is not selected: it is there, and it does not run.
    shim = tmp_path / "python"
    shim.write_text("#!/bin/sh\necho 'pyenv: python: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    with pytest.raises(Failed, match="status 127: pyenv: python: command not found"):
        lava.find_lava_python()


def test_the_python_given_comes_first(python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lava.VARIABLE, "/nonexistent")
    assert lava.find_lava_python(python) == python
    monkeypatch.setenv(lava.VARIABLE, str(python))
    assert lava.find_lava_python() == python
    report = lava.environment_report()
    assert report["origin"] == lava.VARIABLE
    assert report["lava-nc version"] == "0.10.0"


def test_an_error_inside_lava_is_named(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lava's own last line only says that there were exceptions."""
    worker = tmp_path / "worker.py"
    source = lava._WORKER.read_text()
    worker.write_text(
        source.replace("sequence, tick = divmod", "raise OSError('no space left'); sequence, tick = divmod")
    )
    monkeypatch.setattr(lava, "_WORKER", worker)
    p = random_program(0, extreme=False)
    with pytest.raises(Failed, match="Lava stopped with status 1: OSError: no space left"):
        lava.run_lava(p, spikes(0, p, ticks=3, batch=1), python)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(lava.VARIABLE, raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    return tmp_path / "muspike"


def test_a_half_made_environment_is_not_taken_for_made(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava, "LAVA", "lava-nc==0.0.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(Failed, match=r"lava-nc==0.0.0 cannot be installed: ERROR: .*lava-nc"):
        lava.find_lava_python()
    assert list(cache.iterdir()) == []
    assert lava.environment_report()["error"].startswith("not made yet")


def test_an_environment_that_another_maker_finished_first_is_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = lava.environment_path()
    theirs = target / lava._PYTHON_IN_ENVIRONMENT

    def install(environment: Path) -> None:  # and meanwhile another maker is done
        for made in (environment / lava._PYTHON_IN_ENVIRONMENT, theirs):
            made.parent.mkdir(parents=True)
            made.write_text(str(made))
            made.chmod(0o755)

    monkeypatch.setattr(lava, "_install", install)
    monkeypatch.setattr(lava, "lava_versions", lambda python: {})
    assert lava.find_lava_python() == theirs
    assert theirs.read_text() == str(theirs)
    assert [path.name for path in cache.iterdir()] == [target.name]


def test_an_environment_whose_python_has_gone_is_made_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = lava.environment_path() / lava._PYTHON_IN_ENVIRONMENT
    python.parent.mkdir(parents=True)
    python.symlink_to(cache / "gone")

    def install(environment: Path) -> None:
        made = environment / lava._PYTHON_IN_ENVIRONMENT
        made.parent.mkdir(parents=True)
        made.write_text("new")
        made.chmod(0o755)

    monkeypatch.setattr(lava, "_install", install)
    monkeypatch.setattr(lava, "lava_versions", lambda python: {})
    assert lava.find_lava_python().read_text() == "new"
