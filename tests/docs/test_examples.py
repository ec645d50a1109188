"""The examples of docs/examples: each converts with every spike equal, and recognises digits on the chip."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
LIBRARY = {"norse": "norse.torch", "snntorch": "snntorch", "sinabs": "sinabs.layers"}
LIBRARY["spikingjelly"] = "spikingjelly.activation_based"


def test_there_is_an_example_for_each_library() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {f"{name}_digits" for name in LIBRARY}


@pytest.mark.nightly
@pytest.mark.parametrize("name", LIBRARY)
def test_the_example_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(LIBRARY[name])
    pytest.importorskip("sklearn")
    runpy.run_path(str(EXAMPLES / f"{name}_digits.py"), run_name="__main__")
    out = capsys.readouterr().out
    assert "all equal" in out and "per sequence" in out
    (chip,) = re.findall(r"accuracy on the chip ([\d.]+) %", out)
    (own,) = re.findall(r"accuracy of the module ([\d.]+) %", out)
    assert float(own) > 90 and abs(float(chip) - float(own)) < 3
