"""What the host of a model has to know stands in the metadata of its graph and program, and is read from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muspike import tokens
from muspike.errors import BadInput
from muspike.export.loihi import ChipRunner, compile_model
from muspike.export.presentation import Presentation
from muspike.export.subject import Subject
from muspike.export.to_nir_file import write
from muspike.hardware.program import Program
from muspike.hardware.reader.file import read_nir
from muspike.hardware.reader.from_nir import from_nir
from muspike.host import Noise, completed
from muspike.labels import Labels
from muspike.sounding import Hearing
from small_model import small_model

METADATA: dict[str, Any] = {
    "words": tokens.VERSION,
    "ticks": 2,
    "period": 6,
    "noise": [3, 16],
    "bias": [0.5] * tokens.N_AXONS,
}


def test_a_file_and_a_program_tell_what_the_network_is_presented_with(tmp_path: Path) -> None:
    model = small_model()
    with torch.no_grad():
        model.spiking.bias.copy_(torch.randn(tokens.N_AXONS))
    write(Subject.of(model), tmp_path / "model.nir", {"for": None, "python": None})
    compile_model(model, "loihi1").program.save(tmp_path / "model.npz")
    wanted = Presentation.of(model.spiking)
    assert (wanted.ticks, wanted.period) == (model.spiking.timing.ticks, model.spiking.timing.period)
    read = from_nir(read_nir(tmp_path / "model.nir")).metadata
    for metadata in (read, Program.load(tmp_path / "model.npz").metadata):
        found = Presentation.read(metadata)
        assert (found.ticks, found.period, found.noise) == (wanted.ticks, wanted.period, wanted.noise)
        assert found.bias.dtype == np.float64 and np.array_equal(found.bias, wanted.bias) and found.bias.any()


def test_without_an_entry_for_noise_there_is_none() -> None:
    assert Presentation.read(METADATA).noise == Noise(3, 16)
    assert Presentation.read({name: of for name, of in METADATA.items() if name != "noise"}).noise == Noise()


def test_without_an_entry_for_what_sounds_nothing_is_heard() -> None:
    assert not Presentation.read(METADATA).hearing
    assert Presentation.read({**METADATA, "hears": "now next_end"}).hearing == Hearing(("now", "next_end"))


def test_labels_stand_in_the_metadata_only_where_there_are_some() -> None:
    plain = Presentation.read(METADATA)
    assert not plain.labels and set(plain.to_metadata()) == {*METADATA, "hears"}
    labelled = Presentation.read({**METADATA, "labels": '{"emotion": ["sad", "happy"]}'})
    assert labelled.labels == Labels.of({"emotion": ["sad", "happy"]})
    assert Presentation.read(labelled.to_json()).labels == labelled.labels


def test_the_axon_of_a_label_spikes_with_every_word_and_none_if_it_is_unknown() -> None:
    told = Presentation.read({**METADATA, "hears": "now", "labels": '{"emotion": ["sad", "happy"], "genre": ["rock"]}'})
    rows = told.labels.rows([{"emotion": "happy", "genre": "rock"}, {"genre": "rock"}, {}])
    words = completed(told.labels.behind(np.zeros((4, 3, 7), np.int16), rows), told)
    spikes = told.spikes(words).reshape(4, 6, 3, -1)[..., -3:]
    assert (spikes[:, :2] == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]).all() and not spikes[:, 2:].any()
    with pytest.raises(BadInput, match="words: have 10 columns; this network reads 12, its labels and its noise incl"):
        told.spikes(words[..., :10])


@pytest.mark.parametrize("name", ["ticks", "period", "bias"])
def test_a_missing_entry_is_refused_with_its_name(name: str) -> None:
    with pytest.raises(BadInput, match=f"metadata: {name} is missing; a network that reads words says its ticks, "):
        Presentation.read({key: of for key, of in METADATA.items() if key != name})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ticks": "2"}, "metadata: ticks is '2'; expected a whole number"),
        ({"ticks": True}, "metadata: ticks is True; expected a whole number"),
        ({"period": 6.5}, r"metadata: period is 6\.5; expected a whole number"),
        ({"ticks": 7}, "timing: ticks 7 must lie between 1 and the period, 6"),
        ({"words": 1}, "metadata: words is 1; this muspike composes words 2: export the model anew"),
        ({"hears": 1}, "metadata: hears is 1; expected names of groups of axons in one text"),
        ({"hears": "now then"}, "hears: 'then' is no group of axons; known are before, now, next_end, parallel"),
        ({"hears": "now now"}, "hears: a group is named twice in now, now"),
        ({"labels": 1}, "metadata: labels is 1; expected a table of values by name, as JSON in one text"),
        ({"labels": "[1]"}, r"labels: '\[1\]' is no table of values by name, as JSON"),
        ({"labels": '{"emotion": []}'}, "labels: emotion has no values; at least one is needed"),
        ({"noise": [3]}, r"metadata: noise is \[3\]; expected \[draws, values\]"),
        ({"noise": [3, "16"]}, "metadata: noise is '16'; expected a whole number"),
        ({"noise": [3, 0]}, "noise: 3 draws of one of 0 values"),
        ({"bias": [0.5]}, r"metadata: bias is \[0\.5\]; expected 466 finite numbers"),
        ({"bias": [10**400] * tokens.N_AXONS}, r"metadata: bias is \[1000.*; expected 466 finite numbers"),
        ({"bias": [None] * tokens.N_AXONS}, r"metadata: bias is \[None, .*; expected 466 finite numbers"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Presentation.read(METADATA | change)


def test_a_program_of_a_network_that_reads_no_words_has_no_runner() -> None:
    program = compile_model(small_model(), "loihi1").program
    bare = Program("loihi1", program.dt_s, program.populations, program.synapses, program.core_xy)
    with pytest.raises(BadInput, match="metadata: ticks is missing"):
        ChipRunner(bare)
