"""What a Python caller gets wrong: a public function works, or refuses in one line that says what would be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

import muspike
import muspike.hardware as hardware
from muspike import architectures, corpora, metrics, midi
from muspike.errors import BadInput
from muspike.export.loihi import compile_model
from muspike.export.training_grid import TrainingGrid
from muspike.tokens import Words
from small_model import small_model
from small_nir import chain, graph, lif

ONES = np.ones((5, 1, 2), np.uint8)
TWOS, NANS = ONES * 2, np.full(ONES.shape, np.nan)
NETWORK = graph(
    {"input": 2, "in": nir.Linear(np.eye(2)), "lif": lif(2), "output": 2}, chain("input", "in", "lif", "output")
)
COMPILED = hardware.compile_graph(NETWORK, "loihi1")
PROGRAM = COMPILED.program
RUN = hardware.Simulator(PROGRAM).run(ONES, record_membranes=True)
COUNTS = hardware.count(PROGRAM, RUN.spikes)
MODEL = small_model()
SCORE = midi.Score(480, midi.table([(0, 480, pitch, 80, 0) for pitch in (60, 64, 67)], midi.NOTE))
PIECE = muspike.encode(SCORE)


class Strange:
    """Of no type that a function takes."""

    def __init__(self, *_: object) -> None: ...


# Right arguments of every public function and class that a caller calls.
CALLS: Mapping[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "load_model": (muspike.load_model, {"name": "s-rnn"}),
    "save_model": (muspike.save_model, {"model": MODEL, "folder": "saved", "dtype": torch.float32}),
    "Model": (muspike.Model, {"architecture": "s", "settings": {}, "network": MODEL.network, "training": {}}),
    "generate": (partial(muspike.generate, pieces=1, length=8, seed=0), {"runner": MODEL.network.runner()}),
    "train": (muspike.train, {"recipe": muspike.Recipe("s-rnn"), "device": "cpu", "grid": None}),
    "likelihood": (muspike.likelihood, {"logits_of": MODEL.network, "pieces": [PIECE], "device": "cpu"}),
    "firing_rate": (muspike.firing_rate, {"network": MODEL.network, "pieces": [PIECE]}),
    "evaluate": (muspike.evaluate, {"score": SCORE, "names": ["pitch_count"]}),
    "evaluate_set": (metrics.evaluate_set, {"scores": [SCORE], "names": ["pitch_count"]}),
    "encode": (muspike.encode, {"score": SCORE}),
    "decode": (muspike.decode, {"words": PIECE, "name": ""}),
    "Score": (
        muspike.Score,
        {"ticks_per_beat": 480, "notes": SCORE.notes, "tempos": SCORE.tempos, "time_signatures": [(0, 4, 4)],
         "key_signatures": [(0, 0, False)], "tracks": [midi.Track()], "chords": [], "name": ""},
    ),
    "midi.read": (midi.read, {"path": "there.mid"}),
    "midi.write": (midi.write, {"score": SCORE, "path": "written.mid"}),
    "corpora.load": (corpora.load, {"name": "jsb"}),
    "architectures.build": (architectures.build, {"name": "s-rnn", "settings": {"width": 4}}),
    "architectures.preset": (architectures.preset, {"name": "s-rnn", "which": "tiny"}),
    "Population": (muspike.Population, {"name": "a", "size": 2, "kind": "lif", "tau": 2.0, "v_threshold": 0.5}),
    "Synapse": (muspike.Synapse, {"source": "a", "target": "b", "delay": 1, "wires": 1.0}),
    "Timing": (muspike.Timing, {"ticks": 2, "period": 4, "dt_s": 1e-3}),
    "Network": (
        muspike.Network,
        {"populations": list(MODEL.spiking.populations.values()), "synapses": MODEL.spiking.synapses,
         "timing": MODEL.spiking.timing, "composites": (), "noise": MODEL.spiking.noise},
    ),
    "load_chip": (hardware.load_chip, {"name_or_path": "loihi1"}),
    "cost_set": (hardware.load_chip("loihi1").cost_set, {"name": "fitted"}),
    "read_nir": (hardware.read_nir, {"path": "there.nir"}),
    "from_nir": (hardware.from_nir, {"graph": NETWORK, "dt_s": 1e-3}),
    "compile_graph": (
        hardware.compile_graph,
        {"graph": NETWORK, "chip": "loihi1", "dt_s": 1e-3, "metadata": {}, "fill": 1.0, "reset_every": 5},
    ),
    "spread_over": (hardware.spread_over, {"compiled": COMPILED, "fills": [0.5]}),
    "use_of": (hardware.use_of, {"program": PROGRAM, "chip": "loihi1"}),
    "Program": (
        hardware.Program,
        {"chip": "loihi1", "dt_s": 1e-3, "populations": PROGRAM.populations, "synapses": PROGRAM.synapses,
         "core_xy": PROGRAM.core_xy},
    ),
    "Program.load": (hardware.Program.load, {"path": "there.npz"}),
    "Program.save": (PROGRAM.save, {"path": "written.npz"}),
    "read_spikes": (hardware.read_spikes, {"path": "in.npz", "shapes": {"input": 2}, "dt_s": 1e-3, "ticks": 3}),
    "random_spikes": (hardware.random_spikes, {"shapes": {"input": (2,)}, "rate": 0.5, "ticks": 5, "seed": 0}),
    "write_spikes": (hardware.write_spikes, {"path": "out.npz", "spikes": {"input": ONES}, "dt_s": 1e-3, "more": {}}),
    "input_shapes": (hardware.input_shapes, {"network": PROGRAM}),
    "simulate": (
        hardware.simulate,
        {"network": PROGRAM, "inputs": {"input": ONES}, "chip": "loihi1", "ticks": 5, "device": None},
    ),
    "Simulator": (hardware.Simulator, {"program": PROGRAM, "batch": 1}),
    "Simulator.run": (hardware.Simulator(PROGRAM).run, {"inputs": ONES}),
    "count": (
        hardware.count,
        {"program": PROGRAM, "spikes": RUN.spikes, "ticks": [5], "currents": RUN.current, "membranes": RUN.membrane},
    ),
    "price": (hardware.price, {"counts": COUNTS, "chip": "loihi1", "constants": "fitted", "reads": 3}),
    "compile_model": (compile_model, {"model": MODEL, "chip": "loihi1"}),
    "TrainingGrid": (TrainingGrid, {"chip": "loihi1"}),
}  # fmt: skip
ARGUMENTS = [(name, argument) for name, (_, arguments) in CALLS.items() for argument in arguments]
WRONG: tuple[Any, ...] = (
    Strange(), Strange, {1: 2}, [1, [2]], [None], b"bytes", np.array("text"), np.array([Strange()]), True, -1, 1.5,
    float("nan"), float("inf"), 10**30, "\0", [[1], [2, 3]], {"input": TWOS}, TWOS, NANS, PIECE[:, :3], MODEL.network,
)  # fmt: skip
# What a caller may well give there, although it stands in WRONG.
RIGHT = {
    "Timing.dt_s", "Program.dt_s", "write_spikes.dt_s", "read_spikes.dt_s", "Synapse.wires", "Population.v_threshold",
    "Population.tau", "Program.chip", "Score.name", "decode.name", "Synapse.source", "Synapse.target",
    "Network.synapses",
    "Population.name", "Model.architecture", "Score.time_signatures", "Score.key_signatures",
    "count.currents", "count.membranes", "firing_rate.network", "likelihood.logits_of",
    "Model.network", "Model.settings", "Model.training", "write_spikes.more", "train.grid",
    "compile_graph.metadata", "from_nir.dt_s", "compile_graph.dt_s", "random_spikes.seed", "write_spikes.spikes",
    "price.constants", "simulate.inputs", "compile_graph.fill", "spread_over.fills",
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("in.npz", input=ONES)
    nir.write("there.nir", NETWORK)
    PROGRAM.save("there.npz")
    midi.write(SCORE, "there.mid")


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS, ids=[".".join(pair) for pair in ARGUMENTS])
def test_wrong_arguments_are_refused_in_one_line(name: str, argument: str) -> None:
    function, right = CALLS[name]
    refused = 0
    for wrong in WRONG:
        try:
            function(**{**right, argument: wrong})
        except BadInput as error:
            assert "\n" not in str(error) and 10 < len(str(error)) < 700
            refused += 1
    assert refused == len(WRONG) or (f"{name}.{argument}" in RIGHT and refused >= len(WRONG) // 3), refused


PAIRS: list[tuple[str, dict[str, Any], str]] = [
    ("random_spikes", {"rate": 2}, "rate is 2; expected spikes per neuron and tick, from 0 to 1"),
    ("random_spikes", {"rate": float("nan")}, "rate is nan; expected spikes per neuron and tick"),
    ("random_spikes", {"ticks": 0}, "ticks is 0; expected a whole number of at least 1"),
    ("random_spikes", {"ticks": -3}, "ticks is -3; expected a whole number of at least 1"),
    ("random_spikes", {"shapes": {"input": 0}}, "the shape of 'input' is 0; expected a whole number of at least 1"),
    ("random_spikes", {"shapes": {}}, "the network has no input to give spikes to"),
    ("read_spikes", {"dt_s": -1}, "dt_s is -1; expected a finite number of seconds above 0"),
    ("read_spikes", {"ticks": -1}, "ticks is -1; expected a whole number of at least 1"),
    ("write_spikes", {"spikes": {"input": TWOS}}, r"spikes of 'input': \[0, 0, 0\] is 2; spikes are 0 or 1"),
    ("write_spikes", {"spikes": {"input": ONES[0]}}, r"'input' have shape \[1, 2\]; expected \[ticks, batch, size\]"),
    ("write_spikes", {"spikes": {"a": ONES, "b": ONES[:3]}}, "expected the ticks and the batch of 'a'"),
    ("count", {"spikes": {**RUN.spikes, "lif": TWOS}}, "lif: spikes hold 2; each is 0 or 1"),
    ("count", {"spikes": {**RUN.spikes, "lif": NANS}}, "lif: spikes hold nan; each is 0 or 1"),
    ("count", {"ticks": [1.5]}, "ticks is of type list; expected a list of 1 whole numbers"),
    ("count", {"membranes": {"lif": RUN.membrane["lif"][:2]}}, "its recorded state has shape"),
    ("price", {"chip": "loihi2", "constants": None}, "the counts are of a program for loihi1, which loihi2 cannot"),
    ("price", {"counts": RUN}, "counts is of type Run; expected what count gives"),
    ("price", {"reads": -1}, "reads is -1; expected a whole number of at least 0"),
    ("simulate", {"watch": 3}, "watch is 3; expected a function of a part of the run, or None"),
    ("simulate", {"progress": 3}, "progress is 3; expected a function of a number of ticks, or None"),
    ("simulate", {"chip": "loihi3"}, "chip 'loihi3' is not known; known: loihi1, loihi2"),
    ("simulate", {"chip": "loihi2"}, "chip loihi2 is given for a program for loihi1"),
    ("simulate", {"network": COMPILED, "chip": "loihi2"}, "loihi2 is given for a network that is compiled for loihi1"),
    ("simulate", {"device": "tpu"}, "simulate: device 'tpu' is not known; known are cpu, cuda"),
    ("simulate", {"inputs": {"input": ONES[:0]}}, "the inputs have 0 ticks; expected at least one"),
    ("Synapse", {"delay": -1}, "synapse a_to_b: delay is -1; expected a whole number of at least 0"),
    ("Synapse", {"delay": 1.5}, "synapse a_to_b: delay is 1.5; expected a whole number of at least 0"),
    ("Population", {"size": 0}, "population a: size is 0; expected a whole number of at least 1"),
    ("Population", {"kind": "alif"}, "population a: kind 'alif' is not known; known are input, lif, li"),
    ("Timing", {"ticks": 1.5}, "timing: ticks is 1.5; expected a whole number"),
    ("load_chip", {"name_or_path": 3}, "chip 3 is neither a name nor a path; known: loihi1, loihi2"),
    ("load_model", {"name": 3}, "model is 3; expected a folder or the name of a shipped model; known are s-cnn"),
    ("read_nir", {"path": 3}, "path is 3; expected a path"),
    ("from_nir", {"graph": "there.nir"}, r"there\.nir is the name of a file; give what read_nir reads from it"),
    ("compile_graph", {"reset_every": 0}, "reset_every is 0; expected a whole number from 1"),
    ("compile_graph", {"fill": 1.5}, "fill is 1.5; expected a share of each core, above 0 and at most 1"),
    ("generate", {"runner": MODEL}, r"runner is of type Model; expected a runner, such as model\.network\.runner\(\)"),
    ("generate", {"runner": MODEL.network}, r"runner is of type Network; expected a runner, such as network\.runner"),
    ("likelihood", {"logits_of": MODEL}, r"logits_of is of type Model; expected a network, such as load_model\("),
    ("likelihood", {"logits_of": lambda words: words}, r"logits_of gave torch\.int16 .*; expected float logits"),
    ("likelihood", {"pieces": []}, "pieces is empty; expected at least one piece"),
    (
        "likelihood",
        {"pieces": [PIECE, PIECE[:, :3]]},
        r"piece 1: found int16 \[6, 3\]; expected whole numbers \[tokens",
    ),
    ("firing_rate", {"pieces": []}, "pieces is empty; expected at least one piece"),
    ("firing_rate", {"network": MODEL}, "network is of type Model; expected a network"),
    (
        "evaluate",
        {"names": "pitch_count"},
        r"names is the text 'pitch_count'; expected a list of names, \['pitch_count'\]",
    ),
    ("evaluate", {"names": ["pitch"]}, "metric 'pitch' is not known; known are pitch_"),
    ("evaluate", {"score": "there.mid"}, r"music is 'there\.mid'; expected a Score"),
    ("decode", {"words": PIECE + 1000}, "token 0 .*: a value is outside the sizes"),
    ("train", {"device": "gpu"}, "device 'gpu' is not known; known are auto, cpu, cuda"),
    ("train", {"grid": "loihi1"}, "grid is 'loihi1'; expected a muspike.export.training_grid.TrainingGrid"),
    ("Score", {"notes": [(0, 480, 60, 80, 3)]}, "notes of the tracks 3 to 3; there are 1 tracks"),
    ("Score", {"ticks_per_beat": 0}, "score: ticks_per_beat is 0; expected a whole number of at least 1"),
]


@pytest.mark.parametrize(("name", "change", "message"), PAIRS)
def test_an_error_says_what_would_be_right(name: str, change: dict[str, Any], message: str) -> None:
    function, right = CALLS[name]
    with pytest.raises(BadInput, match=message):
        function(**{**right, **change})


def test_a_chip_may_be_given_by_name_wherever_a_chip_is_taken() -> None:
    chip = hardware.load_chip("loihi1")
    assert hardware.price(COUNTS, "loihi1") == hardware.price(COUNTS, chip)
    by_name, by_chip = (hardware.simulate(PROGRAM, {"input": ONES}, given) for given in ("loihi1", chip))
    assert by_name.energies == by_chip.energies and by_name.energies
    assert hardware.simulate(COMPILED, {"input": ONES}, "loihi1").energies == by_name.energies
    assert COUNTS.chip == "loihi1" == hardware.price(COUNTS, "loihi1").chip
    assert compile_model(MODEL, "loihi1").program.digest == compile_model(MODEL, chip).program.digest


def test_a_network_is_taken_as_the_function_that_it_is() -> None:
    pieces: list[Words] = [PIECE]
    function = muspike.likelihood(lambda words: MODEL.network(words)[0], pieces)
    assert muspike.likelihood(MODEL.network, pieces) == function
    assert 0 <= (muspike.firing_rate(MODEL.network, pieces) or 0) < 1
