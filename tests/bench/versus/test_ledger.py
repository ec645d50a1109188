"""The gap ledger: its networks are what their rungs say, and a stopped ledger goes on."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muspike import architectures, corpora
from muspike.architectures import s_transformer
from muspike.network import Network
from muspike.neurons import lif_step
from noise_corpus import noise_corpus, whole_pieces

SCRIPT = Path(__file__).parents[3] / "bench" / "versus" / "ledger.py"
_spec = importlib.util.spec_from_file_location("versus_ledger", SCRIPT)
assert _spec is not None and _spec.loader is not None
ledger = sys.modules["versus_ledger"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(ledger)
_TICKS = r"(one tick|four ticks|eight ticks) a word"
SETTINGS = architectures.preset("s-rnn", "small")["network"] | {"width": 24, "v_threshold": 0.2}


def network(**changes: object) -> Network:
    torch.manual_seed(0)
    made = architectures.build("s-rnn", SETTINGS | changes)
    assert isinstance(made, Network)
    return made


def words() -> torch.Tensor:
    return torch.from_numpy(np.stack([piece[:-1] for piece in whole_pieces(2, 24)], axis=1))


def gradients(of: Network) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    logits, _ = of(words())
    of.zero_grad()
    logits.square().sum().backward()
    return logits, {name: p.grad for name, p in of.named_parameters() if p.grad is not None}


def test_with_its_own_neurons_the_network_is_itself_and_without_a_reset_another() -> None:
    of = network()
    wanted, slopes = gradients(of)
    with ledger.with_neurons(lif_step):
        found, same = gradients(of)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert slopes.keys() == same.keys()
    for name, slope in slopes.items():
        torch.testing.assert_close(same[name], slope, rtol=1e-3, atol=1e-3 * float(slope.abs().max()))
    with ledger.with_neurons(ledger.never_reset(ledger.binary)):
        without, _ = gradients(of)
    assert (without - wanted).abs().max() > 0.01


def test_with_its_own_neurons_the_attention_is_itself() -> None:
    torch.manual_seed(0)
    of = architectures.build("s-transformer", architectures.preset("s-transformer", "tiny")["network"])
    assert isinstance(of, Network)
    wanted, slopes = gradients(of)
    with ledger.graded_attention(lif_step):
        found, same = gradients(of)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    for name, slope in slopes.items():
        torch.testing.assert_close(same[name], slope, rtol=1e-3, atol=1e-3 * float(slope.abs().max()))


def test_a_write_replaces_as_much_of_a_row_as_its_key_says() -> None:
    k = torch.tensor([1.0, 0.5, 0.25]).view(3, 1, 1, 1)
    v = torch.tensor([0.8, 0.4, 0.0]).view(3, 1, 1, 1)
    q = torch.tensor([1.0, 0.5, 1.0]).view(3, 1, 1, 1)
    with ledger.graded_attention(ledger.never_reset(ledger.ramp)):
        heard, _ = s_transformer.registers(q, k, v, 1)
    # The memory is 0.8, then 0.5 * 0.8 + 0.5 * 0.4 = 0.6, then 0.75 * 0.6.
    assert heard.flatten().tolist() == pytest.approx([0.8, 0.3, 0.45])
    bits, _ = s_transformer.registers(q, k, v, 1)
    assert not torch.allclose(bits, heard), "outside, registers take numbers for bits"


def test_one_tick_without_leak_and_with_a_tanh_is_elmans_network() -> None:
    of = network(ticks=1, tau=[1.0], tau_readout=1.0, direct=[])
    axons = of.axons(words(), None)
    seen = torch.zeros(*axons.shape[:2], of.populations["input"].size)
    for column in range(axons.shape[2]):
        here = axons[..., column]
        seen.scatter_add_(2, here.clamp(min=0)[..., None], (here >= 0).float()[..., None])
    x, wanted = seen, 0.0
    for layer in ("layer1", "layer2"):
        source = {"layer1": "input", "layer2": "layer1"}[layer]
        weights = of.weights[f"{source}_to_{layer}"]
        loop = next(w for name, w in of.weights.items() if name.startswith(f"{layer}_to_{layer}"))
        h, hidden = torch.zeros(x.shape[1], 24), []
        for t in range(len(x)):
            h = torch.tanh(x[t] @ weights.t() + h @ loop.t())
            hidden.append(h)
        x = torch.stack(hidden)
        wanted = wanted + x @ of.weights[f"{layer}_to_readout"].t()
    with ledger.with_neurons(ledger.never_reset(ledger.symmetric)):
        found, _ = of(words())
    torch.testing.assert_close(found, wanted + of.bias, rtol=1e-4, atol=1e-4)


def test_a_ramp_has_its_middle_at_the_threshold() -> None:
    p = network().parameters_of("layer1")
    v = torch.tensor([[-1.0], [0.0], [0.2], [0.3], [0.4], [9.0]]).expand(-1, 24)
    assert ledger.ramp(v, p)[:, 0].tolist() == pytest.approx([0, 0, 0.5, 0.75, 1, 1])


def test_without_a_softmax_a_word_that_looks_at_itself_alone_keeps_its_value_times_its_score() -> None:
    q, v = torch.full((1, 1, 3, 4), 1.0), torch.arange(12.0).view(1, 1, 3, 4)
    own = torch.eye(3, dtype=torch.bool)
    with ledger.without_softmax():
        found = torch.nn.functional.scaled_dot_product_attention(q, q, v, attn_mask=own)
        causal = torch.nn.functional.scaled_dot_product_attention(q, q, v, is_causal=True)
        opposed = torch.nn.functional.scaled_dot_product_attention(q, -q, v, is_causal=True)
    torch.testing.assert_close(found, 2 * v)  # 4 / sqrt(4)
    torch.testing.assert_close(causal[0, 0, 2], 2 * v[0, 0].mean(0))
    assert not opposed.any()


def test_a_ledger_is_kept_rung_by_rung_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = noise_corpus([40, 60, 40, 60], 2, 1)
    monkeypatch.setattr(corpora, "load", lambda name: corpus)
    small = {"width": 16}
    monkeypatch.setattr(
        ledger,
        "RUNGS",
        {
            "first": ledger.Rung(
                "s-rnn", "a", network=small, changed=lambda: ledger.with_neurons(ledger.never_reset(ledger.ramp))
            ),
            "spikes": ledger.Rung("s-rnn", "b", network=small),
            "bits": ledger.Rung("s-rnn", "c", measured="8 bit"),
            "chip": ledger.Rung("s-rnn", "d", measured="chip"),
        },
    )
    file = tmp_path / "ledger.json"
    trained: list[str] = []
    train = ledger.trained

    def noted(name: str, *about: Any) -> Any:
        trained.append(name)
        row = train(name, *about)
        if name == "first":  # meanwhile another process adds a rung
            file.write_text(json.dumps(ledger._read(file) | {"spikes": {"of another": "process"}}))
        return row

    monkeypatch.setattr(ledger, "trained", noted)

    def climbed(*rungs: str, steps: int = 2) -> dict[str, Any]:
        ledger.main([*rungs, "--runs", str(tmp_path / "runs" / str(steps)), "-o", str(file), "--steps", str(steps)])
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    with pytest.raises(SystemExit) as refused:
        climbed("bits")
    assert refused.value.code == 2 and not file.exists()
    assert f"bits: is the rung spikes on other numbers, which {file} lacks; train it first" in capsys.readouterr().err
    first = climbed("first")
    assert first["spikes"] == {"of another": "process"} and len(first["first"]["rates_tried"]) == 2
    found = climbed()
    assert trained == ["first", "spikes"], "what is there is not trained again; what is of other settings is"
    assert list(found) == ["first", "spikes", "bits", "chip"] and found["first"] == first["first"]
    assert climbed() == found and len(trained) == 2
    spikes, bits, chip = (found[name]["validation"] for name in ("spikes", "bits", "chip"))
    assert spikes != found["first"]["validation"]
    assert bits == pytest.approx(spikes, rel=0.05) and chip == pytest.approx(bits, rel=0.05)
    assert len({spikes, bits, chip}) == 3
    assert climbed("first", steps=3)["first"]["steps"] == 3 and trained[2:] == ["first"]


@pytest.mark.parametrize("name", [name for name, rung in ledger.RUNGS.items() if "the preset" in rung.about])
def test_the_rung_that_is_the_preset_has_its_network(name: str) -> None:
    rung = ledger.RUNGS[name]
    assert ledger._network(rung) == architectures.preset(rung.architecture, "small")["network"]
    assert not rung.training and rung.changed is contextlib.nullcontext


@pytest.mark.parametrize("name", [name for name, rung in ledger.RUNGS.items() if re.search(_TICKS, rung.about)])
def test_a_rung_has_the_ticks_that_it_names(name: str) -> None:
    rung = ledger.RUNGS[name]
    named = re.search(_TICKS, rung.about)
    assert named and ledger._network(rung)["ticks"] == {"one tick": 1, "four ticks": 4, "eight ticks": 8}[named[1]]
