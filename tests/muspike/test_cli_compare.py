"""`muspike compare` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import nir
import numpy as np
import pytest

from html_page import Page
from muspike import corpora
from muspike.checkpoint import save_model
from muspike.cli import main
from muspike.hardware.price_list import text_of_known
from noise_corpus import noise_corpus
from small_model import small_model
from small_nir import chain, graph, lif


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, a network and its spikes; we are in it."""
    monkeypatch.chdir(tmp_path)
    made = noise_corpus([40, 40, 40, 130, 130, 130], train=2, validation=2, name="jsb")
    monkeypatch.setattr(corpora, "load", lambda name, progress=True: made)
    save_model(small_model("jsb"), Path("small"))
    nodes = {"input": 2, "in": nir.Linear(np.eye(2)), "lif": lif(2), "output": 2}
    nir.write("net.nir", graph(nodes, chain(*nodes)))
    return tmp_path


def test_two_chips_and_a_price_list_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", "small", "--pieces", "2", "--compose", "2", "--on", "loihi1,loihi2,truenorth,h100-peak-fp16"]
    assert main([*command, "--json", "--picture", "map.svg"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["machine"] for row in told["rows"]] == ["loihi1", "loihi2", "truenorth", "h100-peak-fp16"]
    assert told["rows"][0]["quality"]["bits_per_note"]["value"] > 0
    assert "no GPU measured" in told["remarks"]
    assert Path("map.svg").read_bytes().startswith(b"<?xml")
    for ending, opens in (
        ("csv", "# small on loihi1, loihi2\n\n# energy"),
        ("md", "# small on loihi1, loihi2\n\nenergy, rate"),
        ("tex", "% small on loihi1, loihi2\n\n\\begin{table}"),
        ("html", "<!doctype"),
    ):
        assert main(["compare", "small", "--pieces", "1", "--no-quality", "-o", f"all.{ending}"]) == 0
        assert Path(f"all.{ending}").read_text(encoding="utf-8").startswith(opens)
    page = Page(Path("all.html").read_text(encoding="utf-8"))
    assert page.addresses == ["#content"] and page.tables >= 3


def test_a_network_of_another_tool_on_random_spikes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "net.nir", "--dt", "0.001", "--random", "0.2", "--ticks", "50"]) == 0
    out, err = capsys.readouterr()
    assert "net.nir  loihi1" in out and "per tick" in out and "no GPU measured" in out
    assert "muspike: net.nir: counted and priced on loihi1 ..." in err


def test_the_sources_are_cited_without_running_anything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--cite", "--on", "loihi1,truenorth,cpu"]) == 0
    out = capsys.readouterr().out
    assert "@article{davies2018," in out and "@article{merolla2014," in out and out.count("\n@") == out.count("@") - 1


def test_a_changed_price_under_its_old_source_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    text = text_of_known("h100-peak-fp16").replace('name = "h100-peak-fp16"', 'name = "mine"')
    Path("mine.toml").write_text(text.replace("value = 1.42", "value = 1.5"), encoding="utf-8")
    assert main(["compare", "small", "--pieces", "1", "--no-quality", "--on", "mine.toml"]) == 0
    out, err = capsys.readouterr()
    assert "muspike: warning: mine.toml: energy.mac: value is 1.5 (1.42 in h100-peak-fp16), and its source" in err
    assert "mine" in out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("compare", "compare: no network; name at least one (see muspike compare --help)"),
        ("compare small --on tpu", "machine 'tpu' is not known; known: loihi1, loihi2, h100-peak-fp16"),
        ("compare small --on loihi1,", "argument --on: 'loihi1,' must be names of machines with commas between them"),
        ("compare nobody", "nobody"),
        ("compare small --no-quality --compose 3", "--compose is not used with --no-quality; leave it out"),
        ("compare small --picture map.png", "map.png: the picture is an .svg file"),
        ("compare small -o all.xml", "all.xml: ends in none of"),
        ("compare small --cite --json", "--json is not used with --cite; leave it out"),
        ("compare small --recorded none.json", "none.json"),
        ("compare small --no-quality --on cuda", "compare: nothing to compare: cuda: cuda: torch sees no GPU here"),
        ("compare small --no-quality --picture map.svg", "map.svg: nothing to draw: a picture needs a chip and a mach"),
    ],
)
def test_compare_refuses_in_one_line(capsys: pytest.CaptureFixture[str], command: str, message: str) -> None:
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert message in last, err
    assert out == "" and not [file for file in Path().iterdir() if file.suffix in (".svg", ".xml")]
