"""The table of targets: every row is what the library and the command line take it for."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from muspike.cli import parser
from muspike.errors import BadInput
from muspike.export.targets import TARGETS, Exporter, export
from small_model import small_model


@pytest.mark.parametrize("name", TARGETS)
def test_a_row_names_a_module_that_writes_and_runs(name: str) -> None:
    for function in ("write", "judgement", "expect", "run"):
        wanted = list(inspect.signature(getattr(Exporter, function)).parameters)[1:]
        assert list(inspect.signature(getattr(TARGETS[name].exporter, function)).parameters) == wanted
    assert TARGETS[name].suffix.startswith(".")


@pytest.mark.parametrize("name", TARGETS)
def test_the_command_line_takes_every_option_of_a_target(name: str) -> None:
    given = [part for option in TARGETS[name].options for part in (f"--{option}", "loihi2")]
    args = vars(parser().parse_args(["export", "model", "--to", name, *given]))
    assert {option: args[option] for option in TARGETS[name].options} == dict.fromkeys(TARGETS[name].options, "loihi2")


@pytest.mark.parametrize(
    ("to", "file", "options", "message"),
    [
        ("tflite", "a.tflite", {}, "target 'tflite' is not known; known are nir, onnx, lava, snntorch, lava-dl"),
        ("nir", "a.nir", {"chip": "loihi1"}, "target nir: takes no option 'chip'; it takes for, python"),
        ("lava", "a.npz", {"core": "1"}, "target lava: takes no option 'core'; it takes arithmetic, chip, python"),
        ("lava", "a.nir", {}, r"a\.nir: a chip program ends in \.npz"),
    ],
)
def test_what_no_target_takes_is_refused(
    tmp_path: Path, to: str, file: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        export(small_model("jsb"), to, tmp_path / file, **options)
    assert not list(tmp_path.iterdir())


def test_an_option_has_a_name_that_the_command_does_not_use_itself() -> None:
    own = {"model", "to", "output", "tokens", "json", "help", "run"}
    assert [(to, name) for to, target in TARGETS.items() for name in target.options if name in own] == []
