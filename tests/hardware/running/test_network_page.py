"""The page on a network and a run: one file, escaped, and its numbers are those of the data."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import small_nir
from html_page import Page
from muspike.errors import BadInput
from muspike.hardware.mapping.compile import Compiled, compile_graph
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.running.classification import classify
from muspike.hardware.running.network_page import write_page
from muspike.hardware.running.page import number
from muspike.hardware.running.simulate import Simulation, simulate
from muspike.hardware.running.spikes import read_spikes
from small_nir import chain, li, lif

EVIL = '"><script>alert(1)'
LABELS = [0, 1, 2]
MADE = {"command": "muspike simulate net.nir --labels y", "network": "net.nir"}


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    rng = np.random.default_rng(0)
    nodes = {
        "input": 8,
        "w": nir.Linear(rng.normal(0.2, 0.4, (30, 8))),
        EVIL: lif(30, tau=4.0, v_threshold=0.1),
        "u$\x1b": nir.Linear(rng.normal(0, 0.1, (3, 30))),
        "out$x$": li(3, tau=10.0),
        "output": 3,
    }
    return compile_graph(from_nir(small_nir.graph(nodes, chain(*nodes))), "loihi1")


@pytest.fixture(scope="module")
def simulation(compiled: Compiled) -> Simulation:
    spikes = (np.random.default_rng(0).random((40, 3, 8)) < 0.3).astype(np.uint8)
    return simulate(compiled, {"input": spikes})


def written(path: Path, **more: Any) -> Page:
    write_page(path, "net.nir", MADE, **more)
    return Page(path.read_text(encoding="utf-8"))


def test_a_page_is_one_file_that_asks_for_nothing_and_escapes_names(
    compiled: Compiled, simulation: Simulation, tmp_path: Path
) -> None:
    page = written(
        tmp_path / "a.html", compiled=compiled, simulation=simulation, classification=classify(simulation, LABELS)
    )
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.open == [] and [path.name for path in tmp_path.iterdir()] == ["a.html"]
    assert "<script" not in text and "&lt;script&gt;alert(1)" in text and "\x1b" not in text
    assert page.addresses and all(re.match(r"data:|#", address) for address in page.addresses)
    assert {address for address in page.addresses if address[0] == "#"} <= {f"#{name}" for name in page.ids}
    assert "url(" not in text and "@import" not in text and "http" not in re.sub(r"base64,[\w+/=]+", "", text)
    assert len(page.images) == 2 and all(image["alt"] for image in page.images)  # cores, raster
    assert page.captions == page.tables + 2 and page.captions_that_scroll == 0


def test_the_page_of_a_network_says_how_it_fits_and_what_rounding_did(compiled: Compiled, tmp_path: Path) -> None:
    text = written(tmp_path / "a.html", compiled=compiled).text
    assert "net.nir on loihi1" in text and "Fit on loihi1 fits" in text and MADE["command"] in text
    assert "1 core on 1 chip; 33 neurons, 0 of them relays; 330 synapses" in text
    assert "neurons 1 024 33 3.2 % 0" in text  # a limit, the fullest core, the share, and the core
    assert "synaptic memory 131 072 B" in text
    (row, *_) = compiled.quantisation.synapses
    assert f"{100 * row.rms_error:.2f} %" in text and "relative error" in text
    assert all(risk in text for risk in compiled.risks) or "None is known" in text
    assert "modelled" not in text and "Activity" not in text  # nothing was run


def test_what_does_not_fit_is_told_with_its_limits(compiled: Compiled, tmp_path: Path) -> None:
    use = dataclasses.replace(
        compiled.use, problems=tuple(f"core {n}: too <much>" for n in range(50)), remedies=("fewer neurons",)
    )
    page = written(tmp_path / "a.html", compiled=dataclasses.replace(compiled, use=use, risks=("a <risk>",)))
    assert "Fit on loihi1 does not fit" in page.text and "core 0: too <much>" in page.text
    assert "The first 40 of 50; --json has all." in page.text and "core 45" not in page.text
    assert "What it would take: fewer neurons." in page.text and "a <risk>" in page.text


def test_the_page_of_a_run_has_the_figures_of_the_run(
    compiled: Compiled, simulation: Simulation, tmp_path: Path
) -> None:
    text = written(tmp_path / "a.html", compiled=compiled, simulation=simulation).text
    first = simulation.energies[0]
    total, latency = (first.total / 3).to("uJ"), (first.latency / 3).to("us")
    assert f"Modelled energy per sequence {number(total.value)} µJ {number(total.low)} – {number(total.high)}" in text
    assert f"Modelled latency per sequence {number(latency.value)} µs" in text and total.tag in text
    assert simulation.agreements is not None
    row = simulation.agreements[0].to_dict()
    assert f"Agreement with the float network {number(100 * row['agreement'])} %" in text
    assert f"{100 * row['agreement']:.1f} %" in text and f"{row['float_spikes']:,}".replace(",", " ") in text
    assert "The input has 40 ticks; the run goes on for 2 more" in text
    level = simulation.ideal_ticks(EVIL)
    assert f"{simulation.run.spikes[EVIL][level].mean():.4f}" in text
    assert "per sequence by component" in text and "Every core" in text
    assert "labels" not in text.lower().replace("--labels", "")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0"), (123_456, "123\u202f456"), (np.int64(123_456), "123\u202f456"), (123_456.0, "123\u202f000"),
     (0.123456, "0.123"), (99.96, "100"), (9.999e-6, "1.00 × 10<sup>-5</sup>"), (2e-7, "2.00 × 10<sup>-7</sup>")],
)  # fmt: skip
def test_numbers_are_shown_to_three_digits_and_counts_whole(value: Any, shown: str) -> None:
    assert number(value) == shown


def test_doubts_about_the_chip_stand_at_the_top(compiled: Compiled, tmp_path: Path) -> None:
    text = written(tmp_path / "a.html", compiled=compiled, doubts=["value is 8 (9 in loihi1)"]).text
    assert "The chip's numbers are in doubt. value is 8 (9 in loihi1)" in text
    assert text.index("in doubt") < text.index("Fit on loihi1 fits on 1 chip")
    assert "in doubt" not in written(tmp_path / "b.html", compiled=compiled).text


def test_events_that_the_chip_does_not_get_are_told_before_anything_else(compiled: Compiled, tmp_path: Path) -> None:
    places = np.array([[0, 0], [0, 0], [3, 5]])
    events: dict[str, Any] = {"input.tick": places[:, 0], "input.neuron": places[:, 1]}
    np.savez(tmp_path / "a.npz", **events)
    found = simulate(compiled, read_spikes(tmp_path / "a.npz", {"input": 8}, 1e-3))
    for priced in (True, False):
        text = written(tmp_path / "a.html", compiled=compiled, simulation=found, priced=priced).text
        line = "The chip gets fewer events than the file holds. input: 1 of 3 events (33 %) are left out"
        assert text.index(line) < text.index("Fit on loihi1")
    plain = simulate(compiled, {"input": np.ones((4, 1, 8), np.uint8)})
    assert "fewer events" not in written(tmp_path / "b.html", compiled=compiled, simulation=plain).text


def test_the_page_says_first_how_the_float_network_is_read(
    compiled: Compiled, simulation: Simulation, tmp_path: Path
) -> None:
    read = dataclasses.replace(simulation, reads_as="sinabs")
    text = written(tmp_path / "a.html", compiled=compiled, simulation=read, classification=classify(read, LABELS)).text
    line = "The float network, in 64-bit floats, is read as sinabs: a neuron spikes as often in a tick as"
    assert text.count(line) == 1 and text.index(line) < text.index("Fit on loihi1")
    assert "Agreement with the float network, read as sinabs" in text and "float network, read as sinabs:" in text
    plain = written(tmp_path / "b.html", compiled=compiled, simulation=simulation).text
    assert "is the file's own meaning in 64-bit floats" in plain and "read as sinabs" not in plain


def test_of_several_populations_the_one_that_agrees_least_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    nodes = {"input": 8, "w": nir.Linear(rng.normal(0.2, 0.4, (30, 8))), "near": lif(30, v_threshold=0.3),
             "u": nir.Linear(rng.normal(0, 0.1, (20, 30))), "far": lif(20, v_threshold=0.1), "output": 20}  # fmt: skip
    network = compile_graph(from_nir(small_nir.graph(nodes, chain(*nodes))), "loihi1")
    found = simulate(network, {"input": (rng.random((200, 1, 8)) < 0.3).astype(np.uint8)})
    assert found.agreements is not None
    shares = {row.population: row.to_dict()["agreement"] for row in found.agreements}
    least = min(shares, key=lambda name: shares[name])
    assert shares["near"] != shares["far"]
    text = written(tmp_path / "a.html", compiled=network, simulation=found).text
    assert f"lowest: {number(100 * shares[least])} %, population {least}" in text


def test_answers_are_told_with_rule_ties_and_price(compiled: Compiled, simulation: Simulation, tmp_path: Path) -> None:
    found = classify(simulation, LABELS)
    text = written(
        tmp_path / "a.html",
        compiled=compiled,
        simulation=simulation,
        classification=found,
        labels="array 'y' of spikes.npz",
    ).text
    assert f"Accuracy of population out$x$ {number(100 * found.chip.accuracy)} % chip" in text
    assert (
        "the neuron with the largest mean membrane of 'out$x$'" in text and "Labels: array 'y' of spikes.npz." in text
    )
    assert "Ties, which the lowest number wins: 0 of the chip, 0 of the float network." in text
    assert "sequences by label (rows)" in text.lower()
    assert found.chip.correct and f"{number(found.per_correct['fitted'].value)} µJ per correct answer" in text
    wrong = classify(simulation, (found.chip.answers + 1) % 3)
    text = written(tmp_path / "b.html", simulation=simulation, classification=wrong).text
    assert "no answer is correct, so there is no energy per correct answer" in text


def test_what_is_not_known_is_said(compiled: Compiled, simulation: Simulation, tmp_path: Path) -> None:
    run = dataclasses.replace(simulation.run, overflows={EVIL: 3}, readout_resets={})
    bare = dataclasses.replace(
        simulation, run=run, energies=(), no_energy="does not fit: <all>", ideal=None, agreements=None, risks=None
    )
    page = written(tmp_path / "a.html", simulation=bare)
    assert "no energy does not fit: <all>" in page.text and "µJ" not in page.text
    assert "Limits that are exceeded" not in page.text
    above = dataclasses.replace(bare, problems=tuple(f"core {i}: <much>" for i in range(41)))
    text = written(tmp_path / "b.html", simulation=above).text
    assert "Limits that are exceeded: core 0: <much>" in text and "core 39: <much>" in text
    assert "core 40: <much>" not in text and "The first 40 of 41" in text
    assert "A program file does not say how full its cores are" in page.text
    assert "The float network was not run" in page.text
    assert "Not the chip's figures" in page.text and "3 sums left the chip's 16-bit accumulator" in page.text
    assert len(page.images) == 1


def test_a_run_may_only_be_compared(compiled: Compiled, simulation: Simulation, tmp_path: Path) -> None:
    page = written(tmp_path / "a.html", compiled=compiled, simulation=simulation, priced=False)
    assert "Agreement with the float network" in page.text and "µJ" not in page.text and len(page.images) == 1


def test_the_same_run_gives_the_same_bytes(compiled: Compiled, simulation: Simulation, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_page(tmp_path / name, "net.nir", MADE, compiled=compiled, simulation=simulation)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_another_ending_and_nothing_to_tell_are_refused(compiled: Compiled, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a report ends in \.html, \.htm"):
        write_page(tmp_path / "a.pdf", "net.nir", MADE, compiled=compiled)
    with pytest.raises(BadInput, match="neither is given"):
        write_page(tmp_path / "a.html", "net.nir", MADE)
    assert not list(tmp_path.iterdir())
