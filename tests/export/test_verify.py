"""Proofs of exports: they hold for what was written, and not for anything else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

from muspike import architectures, tokens
from muspike.checkpoint import Model
from muspike.errors import BadInput, Failed
from muspike.export import to_nir_file as nir_target
from muspike.export.float_run import float_run
from muspike.export.subject import Subject
from muspike.export.targets import Options, export
from muspike.export.to_nir_file import to_nir
from muspike.export.words import example_words
from muspike.hardware.reader.from_nir import from_nir
from muspike.network import TorchRunner


def made(**settings: Any) -> Model:
    """An untrained S-RNN; its weights are drawn so that every layer fires."""
    settings = {"width": 16, "layers": 1, "ticks": 2, **settings}
    torch.manual_seed(1)
    return Model("s-rnn", settings, architectures.build("s-rnn", settings).eval(), {})


@pytest.mark.parametrize(
    "settings",
    [
        {"recurrent_delays": [1]},  # the plain cycle
        {"recurrent_delays": [1], "layers": 3, "skip": True},
        {"recurrent_delays": ["1 period"]},
        {"recurrent_delays": [1, 3, "1 period", "2 periods"], "layers": 2, "ticks": 3},
        {"recurrent_delays": ["1 period"], "tau": [1.0, 2.0, 8.0, 64.0], "tau_readout": 4.0, "v_threshold": 0.7},
    ],
)
def test_the_proof_of_a_nir_file_holds(tmp_path: Path, settings: dict[str, Any]) -> None:
    model = made(**settings)
    proof = export(model, "nir", tmp_path / "model.nir", 8)
    assert proof.holds, proof.table()
    assert [row.population for row in proof.rows] == [p for p in model.spiking.populations if p.startswith("layer")]
    period = model.spiking.timing.period
    for row in proof.rows:
        assert row.neuron_ticks == 8 * period * 4 * 16 and row.spikes > 0 and row.differences == 0
    assert proof.worst_answer is not None and proof.worst_answer <= 1e-9
    assert proof.table().endswith("\nequal") and proof.to_dict()["holds"] is True


def test_a_one_tick_recurrence_is_a_cycle_without_a_delay_and_others_have_one() -> None:
    plain = to_nir(made(recurrent_delays=[1]).spiking)
    assert not [node for node in plain.nodes.values() if isinstance(node, nir.Delay)]
    assert {("layer1", "layer1_to_layer1_after_1"), ("layer1_to_layer1_after_1", "layer1")} <= set(plain.edges)
    model = made(recurrent_delays=["2 periods"])
    (delay,) = [node for node in to_nir(model.spiking).nodes.values() if isinstance(node, nir.Delay)]
    assert delay.delay == pytest.approx(2 * model.spiking.timing.period * 1e-3)
    (loop,) = [s for s in from_nir(plain).synapses if s.source == s.target]
    assert loop.delay == 1


def changed_weight(graph: nir.NIRGraph) -> None:
    graph.nodes["layer1_to_layer1_after_1"].weight[3] += 1.0


def changed_threshold(graph: nir.NIRGraph) -> None:
    graph.nodes["layer1"].v_threshold[:] *= 1.1


def changed_tau(graph: nir.NIRGraph) -> None:
    graph.nodes["readout"].tau[:] *= 2


def late_recurrence(graph: nir.NIRGraph) -> None:
    graph.nodes["late"] = nir.Delay(np.full(16, 2e-3))
    graph.edges.remove(("layer1", "layer1_to_layer1_after_1"))
    graph.edges += [("layer1", "late"), ("late", "layer1_to_layer1_after_1")]


@pytest.mark.parametrize("damage", [changed_weight, changed_threshold, changed_tau, late_recurrence])
def test_a_file_of_another_network_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[nir.NIRGraph], None]
) -> None:
    model = made()

    def write_other(subject: Subject, path: Path, options: Options) -> None:
        graph = to_nir(copy.deepcopy(model.spiking))
        damage(graph)
        nir.write(path, graph)

    monkeypatch.setattr(nir_target, "write", write_other)
    proof = export(model, "nir", tmp_path / "model.nir", 8)
    assert not proof.holds and proof.table().endswith("\nNOT EQUAL")
    if damage is changed_tau:
        assert proof.worst_answer is not None and proof.worst_answer > 1e-3
    else:
        assert proof.rows[0].differences > 0


def test_nothing_is_proved_where_nothing_fires(tmp_path: Path) -> None:
    model = made()
    with torch.no_grad():
        for weight in model.spiking.weights.values():
            weight.zero_()
    proof = export(model, "nir", tmp_path / "model.nir", 4)
    assert [row.differences for row in proof.rows] == [0] and not proof.holds


def test_the_float_run_is_what_composing_does() -> None:
    """The reference of the proof against the runner that generation uses, which is in float32."""
    model = made(layers=2, recurrent_delays=[1, "1 period"])
    words = example_words(model, 10, batch=3)
    assert words.shape == (10, 3, 7)
    _, logits = float_run(model.spiking, words)
    runner = TorchRunner(model.spiking)
    runner.reset(3)
    for word, wanted in zip(words, logits, strict=True):
        assert runner.step(word) == pytest.approx(wanted + model.spiking.bias.detach().numpy(), abs=1e-4)


def test_example_words_are_pieces_however_few() -> None:
    words = example_words(made(), 2)
    assert words.shape == (2, 4, 7) and (words[0, :, tokens.BAR_BEAT] == tokens.BarBeat.BAR).all()


def test_names_that_do_not_fit_the_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"model\.h5: a NIR file ends in \.nir"):
        export(made(), "nir", tmp_path / "model.h5", 4)
    with pytest.raises(BadInput, match=r"model\.nir: a chip program ends in \.npz"):
        export(made(), "lava", tmp_path / "model.nir", 4)
    assert not list(tmp_path.iterdir())


def test_without_lava_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="/nonexistent: does not start"):
        export(made(), "lava", tmp_path / "model.npz", 4, python="/nonexistent")
    assert not list(tmp_path.iterdir())


def test_lava_runs_the_program_that_was_written(tmp_path: Path, python: Path) -> None:
    model = made()
    proof = export(model, "lava", tmp_path / "model.npz", 4, chip="loihi2", python=python)
    assert proof.holds, proof.table()
    assert {row.population for row in proof.rows} == {"layer1", "readout"}
    assert sum(row.neuron_ticks for row in proof.rows) == 4 * model.spiking.timing.period * (16 + tokens.N_AXONS)
