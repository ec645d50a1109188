"""Lava against the equations in NumPy and against the simulator, and how a Python for Lava is found and made."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chip_equations import trace
from chip_programs import population, program
from graded_spikes import spikes_that_lava_judges, with_graded_inputs
from joined_programs import joined
from muspike.errors import BadInput, Failed
from muspike.export import lava_runner
from muspike.export.environments import PYTHON_IN_ENVIRONMENT
from muspike.hardware import weights as w
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.simulator.events import Simulator


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


def assert_lava_agrees(p: Program, inputs: npt.NDArray[Any], python: Path) -> dict[str, npt.NDArray[np.int64]]:
    """Every spike, u and v, with the equations and with the simulator; gives the spikes of every neuron."""
    judged, made = lava_runner.run_lava(p, inputs, python, record_membranes=True), trace(p, inputs)
    assert set(judged.spikes) == set(made.u)
    for name in made.u:
        for x, theirs, ours in (
            ("spikes", judged.spikes, made.spikes),
            ("u", judged.current, made.u),
            ("v", judged.membrane, made.v),
        ):
            different = np.argwhere(theirs[name] != ours[name])
            assert not len(different), f"{x} of {name!r} at [tick, sequence, neuron] {different[0]}"
    rows = lava_runner.compare(Simulator(p, inputs.shape[1]).run(inputs, record_membranes=True), judged)
    assert all(row.exact for row in rows), rows
    return {name: made.spikes[name] for name in made.u}


@pytest.mark.parametrize(("seed", "extreme"), [(0, False), (2, True)])
def test_every_spike_u_and_v_is_lavas(python: Path, seed: int, extreme: bool) -> None:
    p = random_program(seed, extreme)
    inputs = spikes(seed, p, ticks=150, batch=2)
    rows, judged = lava_runner.verify(p, inputs, python, record_membranes=True)
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


INPUT = (2, 5, 4)  # channels, y, x


def convolution(rng: np.random.Generator, **geometry: Any) -> w.Conv:
    """From `INPUT`, with random weights; what is not given is as in PyTorch, the output also."""
    taps, shape = geometry.pop("taps", (3, 2)), geometry.pop("input_shape", INPUT)
    groups, c_out, output = geometry.get("groups", 1), geometry.pop("c_out", 4), geometry.pop("output", None)
    conv = w.Conv(rng.integers(-128, 128, (c_out, shape[0] // groups, *taps)) * 2, shape, (c_out, 1, 1), **geometry)
    axes = zip(shape[1:], conv.padding, conv.dilation, taps, conv.stride, strict=True)
    usual = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in axes)
    return replace(conv, output_shape=(c_out, *(output or usual)))


def fan(rng: np.random.Generator, parts: Sequence[tuple[str, w.Weights, int, int]], **values: Any) -> Program:
    """From two inputs to a population per (name, weight, weight_exp, delay), each with other parameters."""
    populations = [population("in", math.prod(INPUT), "input"), population("other in", 3, "input")]
    synapses = []
    for name, weight, weight_exp, delay in parts:
        size = weight.shape[0]
        n = population(
            name,
            size,
            du=rng.choice([100, 2047, 4095], size),
            dv=rng.choice([0, 512, 4096], size),
            v_threshold=rng.integers(100, 1000 << weight_exp, size),
            bias_mant=rng.integers(-30, 90, size),
            bias_exp=rng.integers(0, 4, size),
            **values,
        )
        populations.append(n)
        synapses += [
            ChipSynapses(name, "in", name, weight, weight_exp, delay),
            ChipSynapses(f"other {name}", "other in", name, rng.integers(-20, 30, (size, 3)) * 2, 0, 2),
        ]
    return program(populations, synapses)


def test_every_form_delay_and_exponent_is_lavas(python: Path) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.integers(-128, 128, (7, math.prod(INPUT))) * 2
    forms: dict[str, w.Weights] = {
        "dense": matrix,
        "sparse": w.Sparse.of(np.where(rng.random(matrix.shape) < 0.3, matrix, 0)),
        "conv": convolution(rng, stride=(2, 1), padding=(1, 1), groups=2),
    }
    grid = itertools.product(forms, (0, 2), (1, 3))
    p = fan(rng, [(f"{form} << {e} delay {d}", forms[form], e, d) for form, e, d in grid])
    made = assert_lava_agrees(p, spikes(0, p, ticks=25, batch=2), python)
    assert all(0 < fired.mean() < 1 for fired in made.values())


def test_graded_spikes_through_every_form_delay_and_exponent_are_lavas(python: Path) -> None:
    """Beside a binary input, and in populations that hear both."""
    rng = np.random.default_rng(5)
    matrix = rng.integers(-20, 30, (7, math.prod(INPUT))) * 2
    forms: dict[str, w.Weights] = {
        "dense": matrix,
        "sparse": w.Sparse.of(np.where(rng.random(matrix.shape) < 0.1, matrix, 0)),
        "conv": convolution(rng, stride=(2, 1), padding=(1, 1), groups=2),
        "unrolled conv": convolution(rng, output=(4, 4), dilation=(2, 3)),
    }
    grid = list(itertools.product(forms, (0, 2), (1, 3)))
    parts = [
        with_graded_inputs(fan(rng, [(f"{form} << {e} delay {d}", forms[form], e, d)]), bits)
        for (form, e, d), bits in zip(grid, itertools.cycle([(16, 0), (8, 3), (1, 16)]))
    ]
    inputs = np.concatenate([spikes_that_lava_judges(i, p, 25, 2) for i, p in enumerate(parts)], axis=2)
    made = assert_lava_agrees(joined(parts), inputs, python)
    assert all(0 < fired.mean() < 1 for fired in made.values())
    assert inputs.max() > 2**8


CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strided": {"stride": (2, 3), "padding": (1, 2)},
    "dilated": {"dilation": (2, 3), "padding": (3, 1)},
    "groups": {"groups": 2, "c_out": 6, "padding": (2, 0)},
    "a row": {"taps": (1, 4), "padding": (0, 3)},
    "taps outside": {"taps": (5, 4), "padding": (4, 3), "stride": (3, 1)},
    "wide": {"input_shape": (1, 1, 40), "taps": (1, 3), "padding": (0, 100)},
    # What Lava's Conv does not do.
    "larger output": {"output": (4, 4), "dilation": (2, 3)},
    "smaller output": {"output": (2, 2), "groups": 2, "stride": (2, 1), "padding": (1, 0)},
}


def test_convolutions_are_lavas(python: Path, tmp_path: Path) -> None:
    """Those that Lava's Conv can express run in it."""
    rng = np.random.default_rng(1)
    p = fan(rng, [(name, convolution(rng, **geometry), 0, 1) for name, geometry in CONVOLUTIONS.items()])
    made = assert_lava_agrees(p, spikes(1, p, ticks=20, batch=2), python)
    assert all(0 < fired.mean() < 1 for fired in made.values())
    p.save(tmp_path / "program.npz")
    script = "import sys; sys.path.append(sys.argv[1]); import lava_network as l; p = l.read(sys.argv[2]); "
    script += "print([s['name'] for s in p['synapses'] if s['form'] == 'conv' and l.lava_convolves(s)])"
    command = [str(python), "-c", script, str(lava_runner._WORKER.parent), str(tmp_path / "program.npz")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout.replace("'", '"')) == list(CONVOLUTIONS)[:-2]


def test_resets_are_lavas(python: Path) -> None:
    """They count within a sequence, whose 10 ticks no interval here but 1 divides."""
    rng = np.random.default_rng(2)
    for_each = [(1, 0), (3, 2), (4, 0), (64, 9)]
    matrix = rng.integers(-40, 128, (4, math.prod(INPUT)))
    parts = [fan(rng, [(f"{n} {o}", matrix * 2, 0, 1)], reset_interval=n, reset_offset=o) for n, o in for_each]
    p = joined(parts)
    assert len(p.inputs) == 2 * len(for_each)
    made = assert_lava_agrees(p, spikes(2, p, ticks=10, batch=4), python)
    assert all(0 < fired.mean() < 1 for fired in made.values())


@st.composite
def random_weights(
    draw: st.DrawFn, source: tuple[int, int, int], target: tuple[int, int, int]
) -> tuple[w.Weights, int]:
    """Of any form, from and to populations of these (channels, y, x), and an exponent.

    At most 5 synapses of 60 sources reach a neuron: their sum stays below 2^18, beyond which Lava wraps u once only.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high, weight_exp = draw(st.sampled_from([(-3, 4, 6), (-15, 30, 3), (-128, 128, 1), (-128, 0, 0), (0, 128, 0)]))
    weight_exp = draw(st.integers(0, weight_exp))
    form = draw(st.sampled_from(["dense", "sparse", "conv"]))
    if form != "conv":
        matrix = rng.integers(low, high, (math.prod(target), math.prod(source))) * 2
        if form == "dense":
            return matrix, weight_exp
        return w.Sparse.of(
            np.where(rng.random(matrix.shape) < draw(st.sampled_from([0.0, 0.1, 0.6])), matrix, 0)
        ), weight_exp
    if draw(st.booleans()):
        weight_exp = 0
    geometry = []
    for n, out in zip(source[1:], target[1:], strict=True):
        every = list(
            itertools.product(range(1, 5), range(1, 4), range(4), range(1, 3))
        )  # taps, stride, padding, dilation
        alike = [(k, s, p, d) for k, s, p, d in every if (n + 2 * p - d * (k - 1) - 1) // s + 1 == out]
        mostly_alike = bool(alike) and draw(st.integers(0, 3)) > 0
        geometry.append(draw(st.sampled_from(alike if mostly_alike else every)))
    taps, stride, padding, dilation = zip(*geometry, strict=True)
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if source[0] % g == target[0] % g == 0]))
    kernel = rng.integers(low, high, (target[0], source[0] // groups, *taps)) * 2
    return w.Conv(kernel, source, target, stride, padding, dilation, groups), weight_exp


@st.composite
def random_programs(draw: st.DrawFn) -> Program:
    """Inputs, neurons in loops and readouts; every form, delay, exponent, sign, decay, bias and reset."""
    shapes = st.tuples(st.sampled_from([1, 2, 3, 4]), st.integers(1, 5), st.integers(1, 3))
    kinds = ["input", "lif", *draw(st.lists(st.sampled_from(["lif", "lif", "input", "li"]), max_size=3))]
    populations, shape = [], {}
    for i, kind in enumerate(kinds):
        name = f"{kind} {i}"
        shape[name] = draw(shapes)
        size = math.prod(shape[name])
        if kind == "input":
            populations.append(population(name, size, kind))
            continue
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        interval = draw(st.sampled_from([0, 0, 1, 3, 8]))
        populations.append(
            population(
                name,
                size,
                kind,
                du=rng.choice([0, 100, 2047, 4095, 4096], size),
                dv=rng.choice([0, 512, 2048, 4095, 4096], size),
                v_threshold=2**17 - 1
                if kind == "li"
                else rng.integers(0, draw(st.sampled_from([50, 500, 20_000])), size),
                bias_mant=rng.integers(-1024, 4096, size) >> draw(st.sampled_from([0, 6, 12])),
                bias_exp=rng.integers(0, draw(st.sampled_from([1, 8])), size),
                reset_interval=interval,
                reset_offset=draw(st.integers(0, max(interval - 1, 0))),
            )
        )
    ends = st.tuples(
        st.sampled_from([p.name for p in populations if p.kind != "li"]),
        st.sampled_from([p.name for p in populations if p.kind != "input"]),
    )
    synapses = []
    for i, (source, target) in enumerate([("input 0", "lif 1"), *draw(st.lists(ends, max_size=4))]):
        weight, weight_exp = draw(random_weights(shape[source], shape[target]))
        delay = draw(st.sampled_from([1, 1, 2, 3, 9, 30]))
        synapses.append(ChipSynapses(f"{i}", source, target, weight, weight_exp, delay))
    return program(populations, synapses)


def check_random_programs(programs: list[Program], seed: int, python: Path) -> None:
    """Half of them with graded inputs."""
    graded = [with_graded_inputs(p, (16, 0, 5) if i % 2 else (0,)) for i, p in enumerate(programs)]
    given = [spikes_that_lava_judges(seed + i, p, ticks=40, batch=2) for i, p in enumerate(graded)]
    assert_lava_agrees(joined(graded), np.concatenate(given, axis=2), python)


# Of the examples, the first is the simplest there is. Lava takes seconds to start: many programs each.
@settings(max_examples=2, derandomize=True, suppress_health_check=list(HealthCheck))
@given(programs=st.lists(random_programs(), min_size=12, max_size=12), seed=st.integers(0, 2**32 - 1))
def test_random_programs_are_lavas(python: Path, programs: list[Program], seed: int) -> None:
    check_random_programs(programs, seed, python)


@pytest.mark.nightly
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(programs=st.lists(random_programs(), min_size=2, max_size=8), seed=st.integers(0, 2**32 - 1))
def test_many_random_programs_are_lavas(python: Path, programs: list[Program], seed: int) -> None:
    check_random_programs(programs, seed, python)


def test_neurons_without_input_run_in_lava(python: Path) -> None:
    """Driven by a bias alone: there is nothing to give, for so many ticks and sequences."""
    p = program([population("n", 2, bias_mant=np.array([700, 4000]), dv=0)], [])
    made = assert_lava_agrees(p, np.zeros((20, 2, 0), np.uint8), python)
    assert made["n"].sum(axis=(0, 1)).tolist() == [2 * 2, 2 * 10]


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
    run = lava_runner.run_lava(p, inputs, python)
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
    judged = lava_runner.run_lava(p, inputs, python)
    assert all(row.exact for row in lava_runner.compare(Simulator(p).run(inputs), judged))
    inputs[5, 0, 1] = 1
    h, out = lava_runner.compare(Simulator(p).run(inputs), judged)
    assert (h.population, h.different_spikes, h.spikes, h.first_tick, h.exact) == ("h", 1, 1, 6, False)
    assert (out.different_spikes, out.different_states, out.first_tick) == (0, 1, 7)


def test_run_lava_refuses(python: Path, tmp_path: Path) -> None:
    p = random_program(0, extreme=False)
    refused: tuple[Any, ...] = (
        np.zeros((3, 1, 9), np.uint8),
        np.zeros((0, 1, 10), np.uint8),
        np.full((3, 1, 10), 2),
        np.zeros((3, 10)),
    )
    for inputs in refused:
        with pytest.raises(BadInput, match="inputs: "):
            lava_runner.run_lava(p, inputs, python)
    with pytest.raises(BadInput, match=r"none\.npz: cannot be read"):
        lava_runner.run_lava(tmp_path / "none.npz", np.zeros((1, 1, 1), np.uint8), python)


def test_a_python_that_cannot_run_lava(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failed, match=r"^--python .*: does not run lava-nc==0.10.0: .*No module named 'lava'"):
        lava_runner.find_lava_python(sys.executable)
    monkeypatch.setenv(lava_runner.VARIABLE, str(tmp_path / "python"))
    with pytest.raises(Failed, match=rf"^{lava_runner.VARIABLE} .*python: does not run .*No such file"):
        lava_runner.find_lava_python()
    assert "does not start" in lava_runner.environment_report()["error"]
    # A pyenv shim of a version that is not selected: it is there, and it does not run.
    shim = tmp_path / "python"
    shim.write_text("#!/bin/sh\necho 'pyenv: python: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    with pytest.raises(Failed, match="status 127: pyenv: python: command not found"):
        lava_runner.find_lava_python()


@pytest.mark.parametrize("answer", ["", "{}", "[]", "hello", '"text"'])
def test_what_is_no_python_is_refused(tmp_path: Path, answer: str) -> None:
    other = tmp_path / "other"
    other.write_text(f"#!/bin/sh\necho '{answer}'\n")
    other.chmod(0o755)
    with pytest.raises(Failed, match=r"other: does not run lava-nc==0\.10\.0: it is no Python: it printed .* instead"):
        lava_runner.find_lava_python(other)


def test_the_python_that_was_checked_is_the_one_that_runs(
    python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`./python` is no other `python` of the search path."""
    (tmp_path / "python").symlink_to(python)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lava_runner, "lava_versions", lambda _: {})
    assert lava_runner.find_lava_python("./python") == tmp_path / "python"


def test_the_python_given_comes_first(python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lava_runner.VARIABLE, "/nonexistent")
    assert lava_runner.find_lava_python(python) == python
    monkeypatch.setenv(lava_runner.VARIABLE, str(python))
    assert lava_runner.find_lava_python() == python
    report = lava_runner.environment_report()
    assert report["origin"] == lava_runner.VARIABLE
    assert report["lava-nc version"] == "0.10.0"


def copied_worker(folder: Path) -> Path:
    """The worker and the script that it imports, in another folder, to be changed."""
    for script in ("lava_worker.py", "lava_network.py"):
        shutil.copy(lava_runner._WORKER.with_name(script), folder)
    return folder / "lava_worker.py"


def test_an_error_inside_lava_is_named(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lava's own last line only says that there were exceptions."""
    worker = copied_worker(tmp_path)
    source = worker.read_text()
    worker.write_text(
        source.replace("sequence, tick = divmod", "raise Exception('no space left'); sequence, tick = divmod")
    )
    monkeypatch.setattr(lava_runner, "_WORKER", worker)
    p = random_program(0, extreme=False)
    with pytest.raises(Failed, match="Lava stopped with status 1: Exception: no space left"):
        lava_runner.run_lava(p, spikes(0, p, ticks=3, batch=1), python)


def processes_with(folder: Path) -> list[int]:
    """Those whose command line names something in the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [int(path.parent.name)] if os.fsencode(folder) in path.read_bytes() else []
        except OSError:  # it has just ended
            continue
    return found


@pytest.mark.parametrize("event", ["hang", "kill"])
def test_a_lava_that_hangs_or_is_killed_is_ended(
    python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    """With all of its processes, of which there is one per population and synapses."""
    worker = copied_worker(tmp_path)
    then = "time.sleep(3600)" if event == "hang" else f"os.kill(os.getppid(), {int(signal.SIGKILL)}); time.sleep(3600)"
    source = worker.read_text()
    worker.write_text(source.replace("sequence, tick = divmod", f"import os, time; {then}; sequence, tick = divmod"))
    monkeypatch.setattr(lava_runner, "_WORKER", worker)
    p = random_program(0, extreme=False)
    expected = (
        r"no progress for 3 s and was ended; give it more time \(patience_s\)" if event == "hang" else "status -9"
    )
    with pytest.raises(Failed, match=expected):
        lava_runner.run_lava(p, spikes(0, p, ticks=3, batch=1), python, patience_s=3 if event == "hang" else 300)
    deadline = time.monotonic() + 30  # the kernel takes a moment
    while left := processes_with(tmp_path):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(lava_runner.VARIABLE, raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    return tmp_path / "muspike"


def test_a_half_made_environment_is_not_taken_for_made(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava_runner, "LAVA", "lava-nc==0.0.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(Failed, match=r"lava-nc==0.0.0 cannot be installed: ERROR: .*lava-nc"):
        lava_runner.find_lava_python()
    assert list(cache.iterdir()) == []
    assert lava_runner.environment_report()["error"].startswith("not made yet")


def test_an_environment_that_another_maker_finished_first_is_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = lava_runner.environment_path()
    theirs = target / PYTHON_IN_ENVIRONMENT

    def install(environment: Path) -> None:  # and meanwhile another maker is done
        for made in (environment / PYTHON_IN_ENVIRONMENT, theirs):
            made.parent.mkdir(parents=True)
            made.write_text(str(made))
            made.chmod(0o755)

    monkeypatch.setattr(lava_runner, "_install", install)
    monkeypatch.setattr(lava_runner, "lava_versions", lambda python: {})
    assert lava_runner.find_lava_python() == theirs
    assert theirs.read_text() == str(theirs)
    assert [path.name for path in cache.iterdir()] == [target.name]


def test_an_environment_whose_python_has_gone_is_made_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = lava_runner.environment_path() / PYTHON_IN_ENVIRONMENT
    python.parent.mkdir(parents=True)
    python.symlink_to(cache / "gone")

    def install(environment: Path) -> None:
        made = environment / PYTHON_IN_ENVIRONMENT
        made.parent.mkdir(parents=True)
        made.write_text("new")
        made.chmod(0o755)

    monkeypatch.setattr(lava_runner, "_install", install)
    monkeypatch.setattr(lava_runner, "lava_versions", lambda python: {})
    assert lava_runner.find_lava_python().read_text() == "new"
