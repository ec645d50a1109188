"""`muspike profile`: every kind of network that it takes, the forms of its answer, and bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from muspike import corpora
from muspike.checkpoint import save_model
from muspike.cli import main
from muspike.export.to_nir_file import to_nir
from muspike.hardware.chip_template import chip_template
from net_files import even, neuron, write_net
from noise_corpus import noise_corpus
from small_model import small_model
from small_nir import chain, graph, lif

MODEL = """
import snntorch as snn
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(4, 3), snn.Leaky(beta=0.9, reset_mechanism="zero", init_hidden=True)

    def forward(self, x):
        return self.lif(self.fc(x))

def build():
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.fc.weight.abs_()
    return net, (torch.rand(20, 2, 4) < 0.5).float()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network of each kind, and spikes; we are in it."""
    monkeypatch.chdir(tmp_path)
    made = noise_corpus([130, 130, 130], train=0, validation=0, name="jsb")
    monkeypatch.setattr(corpora, "load", lambda name, progress=True: made)
    save_model(small_model("jsb"), Path("small"))
    save_model(small_model("mine"), Path("mine"))
    nir.write("words.nir", to_nir(small_model("jsb").spiking))
    weight = np.random.default_rng(0).normal(0.4, 0.4, (3, 4))
    nodes = {"input": 4, "w": nir.Linear(weight), "a": lif(3), "output": 3}
    nir.write("net.nir", graph(nodes, chain(*nodes)))
    nir.write("no_dt.nir", nir.NIRGraph(graph(nodes, chain(*nodes)).nodes, chain(*nodes)))
    rng = np.random.default_rng(0)
    layers: list[dict[str, Any]] = [
        {"type": "input", "shape": [4]},
        {"type": "dense", "shape": [3], "weight": even(rng, 3, 4), "neuron": neuron()},
    ]
    write_net(tmp_path / "network.net", layers)
    Path("model.py").write_text(MODEL)
    np.savez("spikes.npz", input=rng.random((25, 2, 4)) < 0.4)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main(["profile", *arguments]) == status
    out, err = capsys.readouterr()
    return out, err


def test_a_model_reads_its_test_pieces(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(told(capsys, "small", "--pieces", "2", "--json")[0])
    assert found["workload"]["per"] == "note" and found["workload"]["words_in_run"] == 256
    assert found["chip"] == "loihi1" and [p["name"] for p in found["populations"]] == ["input", "layer1"]
    out, _ = told(capsys, "small", "--pieces", "1", "--chip", "loihi2")
    assert "cost on loihi2, per note" in out and "dead" in out and "saturated" in out


@pytest.mark.parametrize(
    ("network", "more"),
    [("net.nir", ()), ("network.net", ("--dt", "0.001", "--chip", "loihi2")), ("no_dt.nir", ("--dt", "0.001"))],
)
def test_a_file_runs_on_the_spikes_that_it_is_given(
    here: Path, network: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(told(capsys, network, *more, "--input", "spikes.npz", "--json")[0])
    work = found["workload"]
    assert (work["per"], work["shares_in_run"], work["ticks_of_sequence"]) == ("sample", 2, 25)
    drawn = json.loads(told(capsys, network, *more, "--random", "0.5", "--ticks", "40", "--json")[0])
    assert (drawn["workload"]["per"], drawn["workload"]["shares_in_run"]) == ("tick", 40)
    assert drawn["energy"][0]["energy_uj_per_tick"]["total"]["value"] > 0


def test_a_torch_module_brings_its_sample_and_its_size(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("snntorch")
    found = json.loads(told(capsys, "model.py:build", "--per-tick", "--json")[0])
    assert found["workload"]["what"] == "2 sequences of 20 ticks" and found["workload"]["per"] == "sample"
    assert found["footprint"]["parameters"] == 15
    assert found["footprint"]["of"] == "parameters and buffers of the torch module"
    other = json.loads(told(capsys, "model.py:build", "--per-tick", "--input", "spikes.npz", "--json")[0])
    assert other["workload"]["ticks_of_sequence"] == 25


def test_a_graph_that_reads_words_is_told_which(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = told(capsys, "words.nir", status=2)
    assert (
        "words.nir: does not say on which music it was trained; name a corpus (--data; `muspike data list` shows them)"
        in err
    )
    found = json.loads(told(capsys, "words.nir", "--data", "jsb", "--pieces", "2", "--json")[0])
    model = json.loads(told(capsys, "small", "--pieces", "2", "--json")[0])
    assert found["populations"] == model["populations"] and found["energy"] == model["energy"]


def test_the_answer_comes_in_the_form_that_is_asked_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = told(capsys, "net.nir", "--input", "spikes.npz", "--format", "markdown")
    assert out.startswith("# net.nir on loihi1: ") and "| population |" in out
    out, _ = told(capsys, "net.nir", "--input", "spikes.npz", "-o", "p.csv", "--picture", "r.svg")
    assert Path("p.csv").read_text().startswith("# net.nir on loihi1: ")
    assert "population,kind,neurons" in Path("p.csv").read_text() and "a: 3 neurons" in Path("r.svg").read_text()
    for name in ("p.html", "p.tex", "p.json"):
        told(capsys, "net.nir", "--input", "spikes.npz", "-o", name)
    out, _ = told(capsys, "net.nir", "--input", "spikes.npz")
    assert out.startswith("net.nir on loihi1: ") and ", 2 samples\n\n" in out
    assert Path("p.tex").read_text().startswith("% net.nir on loihi1: ")
    assert json.loads(Path("p.json").read_text())["network"] == "net.nir"
    assert "<table" in Path("p.html").read_text() and "\\toprule" in Path("p.tex").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("net.nir",), "net.nir: reads no words; give it spikes (--input SPIKES, or --random RATE)"),
        (("small", "--chip", "loihi9"), "loihi9"),
        (("nothing",), "nothing"),
        (("spikes.npz", "--input", "spikes.npz"), "spikes.npz"),
        (
            ("mine",),
            "was trained on 'mine', whose test pieces are not at hand; name a corpus (--data; `muspike data list` "
            "shows them)",
        ),
        (("net.nir", "--input", "spikes.npz", "--pieces", "2"), "--pieces is not used with spikes"),
        (("net.nir", "--random", "0.5", "--picture", "a.gif"), "a.gif: a picture ends in .png, .svg, .pdf"),
        (("net.nir", "--random", "0.5", "-o", "a.xyz"), "a.xyz: ends in none of"),
        (("net.nir", "--random", "0.5", "--sample", "a.npy"), "--sample is not used for net.nir"),
        (("small", "--seed", "1"), "--seed is not used without --random"),
        (("model.py:build", "--per-tick", "--pieces", "3"), "--pieces is not used with spikes"),
    ],
)
def test_bad_use_is_one_line(
    here: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = told(capsys, *arguments, status=2)
    assert out == "" and message in err and err.count("\n") == 1


def test_a_file_is_compiled_as_asked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("counts.npz", input=np.random.default_rng(0).integers(0, 3, (25, 2, 4)))
    graded = ("net.nir", "--chip", "loihi2", "--graded", "--input", "counts.npz", "--json")
    operations = json.loads(told(capsys, *graded)[0])["operations_per_sample"]
    assert operations["synaptic_effective_macs"] > 0 == operations["synaptic_effective_acs"]
    spikes = ("net.nir", "--input", "spikes.npz", "--json")
    once, often = (json.loads(told(capsys, *spikes, *more)[0]) for more in ((), ("--reset-every", "2")))
    assert once["program"] != often["program"]
    for network, name in (("small", "a model reads words in one way"), ("program.npz", "a program has its own scale")):
        if network == "program.npz":
            assert main(["map", "net.nir", "-o", network]) == 0
        _, err = told(capsys, network, "--random", "0.1", "--reset-every", "2", status=2)
        assert f"{network}: {name}" in err


def test_a_network_that_does_not_fit_names_the_limit(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = chip_template("loihi1")
    start = text.index("synaptic_memory_bits_per_core")
    Path("tiny.toml").write_text(text[:start] + re.sub(r"value = [\d_]+", "value = 10", text[start:], count=1))
    _, err = told(capsys, "net.nir", "--random", "0.5", "--chip", "tiny.toml", status=2)
    assert "does not fit" in err and err.strip().endswith("what does not fit has no energy")


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["profile", "--help"])
    assert "example: muspike profile s-rnn" in capsys.readouterr().out
