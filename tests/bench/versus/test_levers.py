"""`bench/versus/levers.py`: its variants are what their names say, and its help lists them. Nothing is trained."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from muspike import architectures
from muspike.network import Network

SCRIPT = Path(__file__).parents[3] / "bench" / "versus" / "levers.py"


@pytest.fixture(scope="module")
def levers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("versus_levers", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_variant_differs_from_the_preset_and_from_the_others(levers: ModuleType) -> None:
    training = architectures.preset("s-rnn", "small")["training"]
    made = [
        json.dumps([levers.BASE | network, training | changes], sort_keys=True)
        for network, changes in levers.VARIANTS.values()
    ]
    assert len(set(made)) == len(levers.VARIANTS)


def test_only_the_last_layer_is_read(levers: ModuleType) -> None:
    def read(name: str) -> list[str]:
        network = architectures.build("s-rnn", levers.BASE | levers.VARIANTS[name][0])
        assert isinstance(network, Network)
        return [s.source for s in network.synapses if s.target == network.readout and s.part is None]

    assert read("only the last layer read") == ["layer2"]
    assert read("small preset, narrow") == ["layer1", "layer2"]


def test_help_lists_the_variants(levers: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        levers.main(["--help"])
    out = capsys.readouterr().out
    assert end.value.code == 0 and all(name in out for name in levers.VARIANTS)


def test_a_wrong_variant_is_refused_with_the_known_ones(levers: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        levers.main(["twice as deep"])
    err = capsys.readouterr().err
    assert end.value.code == 2
    assert "variant 'twice as deep' is not known; known are small preset, narrow; learning rate 2e-3;" in err
