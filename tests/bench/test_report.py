"""The report: self-contained, escaped, faithful to its results; pictures that are valid and labelled."""

from __future__ import annotations

import base64
import copy
import dataclasses
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest

from html_page import Page
from muspike import midi
from muspike.bench import pictures, report
from muspike.bench.report import Material, check, chip_entry, misfit_entry, write_report
from muspike.errors import BadInput
from muspike.hardware.chip import load_chip
from muspike.hardware.cost.energy import price
from muspike.hardware.running.page import environment, number, percent
from muspike.hardware.running.pictures import COLOURS
from small_report import USE, made_architecture, made_counts


@pytest.fixture
def results() -> dict[str, Any]:
    return {
        "muspike": "0.1.0",
        "machine": {"cpu": "some CPU", "cores": 2},
        "versions": {"numpy": "2"},
        "settings": {"seed": 0},
        "architectures": {"s-rnn": made_architecture()},
    }


@pytest.fixture
def score() -> midi.Score:
    notes = [(beat * 480, 480, 60 + 3 * track + beat % 5, 80, track) for beat in range(17) for track in (0, 1)]
    return midi.Score(
        480,
        np.array(notes, midi.NOTE),
        time_signatures=np.array([(0, 1, 4), (480, 4, 4), (480 * 9, 3, 4)], midi.TIME_SIGNATURE),
        tracks=[midi.Track("Soprano"), midi.Track("Bass")],
        chords=[midi.ChordMark(480, "C_M")],
        name="A <piece> & more",
    )


@pytest.fixture
def material(score: midi.Score) -> Material:
    rng = np.random.default_rng(0)
    spikes = {"words": rng.random((42, 20)) < 0.1, "rnn": rng.random((42, 64)) < 0.1}
    samples = {"pitch_count": {"generated": [3.0, 5.0, np.nan], "reference": [2.0, 2.5, 4.0]}}
    return Material(score, b"MThd made up", spikes, 7, samples)


TEMPLATES = environment("muspike.bench")
DRAWN: dict[str, pictures.Picture] = {}


def once(draw: Callable[..., pictures.Picture]) -> Callable[..., pictures.Picture]:
    """What `draw` gives for these figures, drawn once for all tests: it is most of the time of a page."""

    def drawn(*figures: Any) -> pictures.Picture:
        key = f"{draw.__name__}{figures}"
        if key not in DRAWN:
            DRAWN[key] = draw(*figures)
        return DRAWN[key]

    return drawn


def written(results: dict[str, Any], folder: Path, **material: Material) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "environment", lambda _: TEMPLATES)
        for draw in (pictures.energy_by_component, pictures.core_use):
            patch.setattr(pictures, draw.__name__, once(draw))
        page, _ = write_report(results, folder, {name.replace("_", "-"): of for name, of in material.items()})
    return page.read_text(encoding="utf-8")


def test_the_page_is_one_well_formed_file_that_asks_for_nothing(
    results: dict[str, Any], material: Material, tmp_path: Path
) -> None:
    text = written(results, tmp_path, s_rnn=material)
    page = Page(text)
    assert page.open == []
    assert page.addresses and all(re.match(r"data:|#", address) for address in page.addresses)
    assert "url(" not in text and "@import" not in text
    assert len(page.images) == 6  # piano roll, metrics, raster, energy, core use of two chips
    assert all(image["alt"] for image in page.images)
    assert any(address.startswith("data:audio/midi;base64,TVRoZCBtYWRlIHVw") for address in page.addresses)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.json", "report.html"]


def test_bench_json_holds_the_results(results: dict[str, Any], tmp_path: Path) -> None:
    _, data = write_report(results, tmp_path)
    assert json.loads(data.read_text(encoding="utf-8")) == results


def test_the_same_results_give_the_same_bytes(results: dict[str, Any], material: Material, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_report(results, tmp_path / folder, {"s-rnn": material})
    for name in ("report.html", "bench.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_headline_figures_stand_with_band_and_tag(results: dict[str, Any], tmp_path: Path) -> None:
    text = Page(written(results, tmp_path)).text
    chips = ("loihi1", "loihi2")
    for chip in chips:
        total = results["architectures"]["s-rnn"]["chip"][chip]["energy_uj_per_note"]["total"]
        headline = f"{chip}, modelled energy per note {number(total['value'])} µJ"
        least = "" if total["band_known"] else "at least "
        assert f"{headline} {least}{number(total['low'])} – {number(total['high'])} {total['tag']}" in text
    assert [
        results["architectures"]["s-rnn"]["chip"][c]["energy_uj_per_note"]["total"]["band_known"] for c in chips
    ] == [
        True,
        False,
    ]
    assert "5.250 torch" in text and "loihi1: 5.355 (+2.00 %)" in text and "loihi2: not evaluated" in text
    assert "0 neuron-ticks whose spike, u or v differ, over 123 456 spikes" in text
    assert "float against" not in text and "the period is the number of ticks from one word to the next" in text


def test_the_cards_say_how_far_rounding_and_mapping_move_the_figures(results: dict[str, Any], tmp_path: Path) -> None:
    architecture = results["architectures"]["s-rnn"]
    agreement = architecture["agreement"]
    agreement["float_integer"] = {"spike_agreement": 0.576, "nll_change_percent": -0.131}
    agreement["lava_fixed_differences"] = 1
    results["settings"]["lava_words"] = 64
    mappings = architecture["chip"]["loihi1"]["mappings"]
    for row, value in zip(mappings, (83.0, 51.0, 60.0), strict=True):
        row["energy_uj_per_note"]["value"] = value
    text = Page(written(results, tmp_path)).text
    assert "float against integer network: spikes agree in 57.6 %, NLL -0.13 %" in text
    assert "1 neuron-tick whose spike, u or v differs, over 123 456 spikes in 64 words" in text
    assert "51.0 to 83.0 µJ depending on the mapping" in text
    del mappings[1:], architecture["chip"]["loihi2"], agreement["float_integer"]["spike_agreement"]
    agreement["lava_fixed_spikes"] = None
    text = Page(written(results, tmp_path)).text
    assert "depending on the mapping" not in text
    assert "did not run for this report. float against integer network: NLL -0.13 %" in text


def test_unpriced_and_covered_rows_say_so(results: dict[str, Any], tmp_path: Path) -> None:
    text = written(results, tmp_path)
    rows = {
        (chip, row["name"]): row["status"]
        for chip, entry in results["architectures"]["s-rnn"]["chip"].items()
        for row in entry["components"]
    }
    assert rows["loihi1", "host input"] == "unpriced" and rows["loihi2", "spikes"] == "covered"
    # (the rows; the word also stands once in the method section)
    assert text.count('missing">unpriced') == list(rows.values()).count("unpriced")
    assert text.count("contained in the prices above") == list(rows.values()).count("covered")


def test_what_does_not_fit_and_what_was_not_compared(results: dict[str, Any], tmp_path: Path) -> None:
    architecture = results["architectures"]["s-rnn"]
    architecture["chip"] = {"loihi2": misfit_entry("131 cores needed, 120 on a chip")}
    architecture["agreement"] = {"lava_fixed_spikes": None, "lava_fixed_differences": None}
    text = Page(written(results, tmp_path)).text
    assert "131 cores needed, 120 on a chip" in text and "µJ" not in text
    assert "not compared" in text and "differences in" not in text


def test_the_total_stands_with_what_it_leaves_out_and_assumes(results: dict[str, Any], tmp_path: Path) -> None:
    entry = results["architectures"]["s-rnn"]["chip"]["loihi1"]
    page = Page(written(results, tmp_path)).text
    assert "the chip waits for its host to sample and send the next word adds 104 µJ (77.0 – 154) assumed" in page
    assert "+ 104 µJ for each ms of waiting for the host" in page
    assert entry["static_uj_per_ms_of_waiting"]["unit"] == "uJ"
    assert "2 cores, each filled up to 100 % (an assumption" in page and "100 %, the fewest cores 2" in page
    assert [(row["fill"], row["cores"]) for row in entry["mappings"]] == [(1.0, 2), (0.5, 5), (0.25, 9)]
    (other,) = entry["other_costs"]
    total = other["energy_uj_per_note"]
    assert other["costs"] == "simulated" and not total["band_known"]
    low, high = number(total["low"]), number(total["high"])
    assert f"{number(total['value'])} µJ (at least {low} – {high})" in page and "With the prices “simulated”" in page
    assert "outside every band marked “at least”: time: step floor." in page  # of Loihi 2
    assert "latency and static energy: inferred: low is the bound from below, 0.66 ns per synaptic operation" in page
    assert re.search(r"core \d, the slowest for \d+ % of the time", entry["bottleneck"])


def test_a_run_that_left_the_chips_registers_is_warned_of(results: dict[str, Any], tmp_path: Path) -> None:
    chips = results["architectures"]["s-rnn"]["chip"]
    assert "Not the chip's figures" not in Page(written(results, tmp_path)).text
    chips["loihi1"] |= {"accumulator_overflows": 0, "readout_resets": 0, "risks": []}
    text = Page(written(results, tmp_path)).text
    assert "Not the chip's figures" not in text and "no synaptic sum left the chip's accumulator" in text
    chips["loihi2"] |= {"accumulator_overflows": 3, "readout_resets": 21, "risks": ["309 spikes could overflow"]}
    page = Page(written(results, tmp_path))
    assert page.text.count("Not the chip's figures") == 1
    assert "3 synaptic sums left the chip's 16-bit accumulator and 21 readouts" in page.text
    assert "Known risks: 1" in page.text and "309 spikes could overflow" in page.text


def test_what_was_read_is_said(results: dict[str, Any], tmp_path: Path) -> None:
    architecture = results["architectures"]["s-rnn"]
    architecture["reading"] = {"pieces": 73, "words": 9344, "notes": 6229, "of_words": 20000}
    architecture["activity"]["chip"] = "loihi1"
    results["settings"]["excerpt_words"] = 128
    text = Page(written(results, tmp_path)).text
    assert "reading the first 128 words of 73 test pieces (9 344 of 20 000 words), 1.50 words per note" in text
    assert "Activity on loihi1" in text and "on excerpts of 128 words" in text
    del results["settings"]["excerpt_words"]
    text = Page(written(results, tmp_path)).text
    assert "reading the first 128 words of 73" in text and "on excerpts" not in text


@pytest.mark.parametrize("missing", [True, False])
def test_a_network_that_fits_no_chip_still_has_a_page(results: dict[str, Any], missing: bool, tmp_path: Path) -> None:
    results["architectures"]["other"] = copy.deepcopy(results["architectures"]["s-rnn"])
    architecture = results["architectures"]["s-rnn"]
    architecture["chip"] = {"loihi1": misfit_entry("too large")}
    architecture["quality"]["nll_bits_per_note"]["chip"] = {}
    for table, key in (
        (architecture["quality"], "metrics"),
        (architecture, "activity"),
        (architecture, "agreement"),
        (architecture, "reading"),
    ):
        table.pop(key, None) if missing else table.update({key: None})
    assert "too large" in Page(written(results, tmp_path)).text


def test_several_architectures_are_compared_first(results: dict[str, Any], tmp_path: Path) -> None:
    results["architectures"]["s-gan"] = copy.deepcopy(results["architectures"]["s-rnn"])
    results["architectures"]["s-gan"]["chip"]["loihi2"] = misfit_entry("too large")
    page = Page(written(results, tmp_path))
    assert {"#s-rnn", "#s-gan"} <= set(page.addresses)
    assert "does not fit" in page.text[: page.text.index("Negative log-likelihood")]


def test_everything_from_outside_is_escaped(results: dict[str, Any], material: Material, tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>'
    architecture = results["architectures"].pop("s-rnn")
    architecture["model"]["file"] = evil
    architecture["activity"]["populations"] = {evil: architecture["activity"]["populations"]["rnn"]}
    results["architectures"][evil] = architecture
    results["machine"][evil] = evil
    write_report(results, tmp_path, {evil: material})
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    Page(text)  # refuses a script
    assert "<script" not in text and "&lt;script&gt;" in text


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("versions",), None, "results.versions: found None, expected a table"),
        (("architectures", "s-rnn", "quality"), ..., "results.architectures.s-rnn: quality is missing"),
        (("architectures", "s-rnn", "quality"), None, "quality: found None, expected a table"),
        (("architectures", "s-rnn", "reading"), {"pieces": 3}, "reading: words is missing"),
        (("architectures", "s-rnn", "chip", "loihi1", "risks"), [3], r"risks\[0\]: found 3, expected str"),
        (("architectures", "s-rnn", "agreement", "lava_fixed_spikes"), "many", "expected int or None"),
        (("architectures", "s-rnn", "activity", "spikes_per_note"), float("nan"), "spikes_per_note: found nan"),
        (("architectures", "s-rnn", "model", "parameters"), True, "parameters: found True, expected int"),
        (("architectures", "s-rnn", "chip", "loihi1", "energy_uj_per_note", "total", "tag"), "sure", "'measured' or"),
        (("architectures", "s-rnn", "chip", "loihi1", "components", 0, "status"), "free", r"components\[0\].status"),
        (("architectures", "s-rnn", "chip", "loihi1", "use"), 3, "use: found 3, expected a list"),
        (("architectures",), {}, "architectures is empty"),
        (("settings", "seed"), float("inf"), "cannot be written as JSON"),
        (("machine", "cpu"), np.int64(3), "cannot be written as JSON"),
    ],
)
def test_results_that_break_the_schema_are_refused(
    results: dict[str, Any], path: tuple[Any, ...], value: Any, message: str, tmp_path: Path
) -> None:
    *way, last = path
    table: Any = results
    for key in way:
        table = table[key]
    if value is ...:
        del table[last]
    else:
        table[last] = value
    with pytest.raises(BadInput, match=message):
        write_report(results, tmp_path)
    assert not list(tmp_path.iterdir())


def test_material_for_an_unknown_architecture_is_refused(results: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'s-cnn' is not among s-rnn"):
        write_report(results, tmp_path, {"s-cnn": Material()})


def test_chip_entry_divides_by_the_notes_and_adds_up() -> None:
    energy = price(made_counts(), load_chip("loihi1"))
    entry = chip_entry(energy, 4, 2, "neurons", USE)
    total = entry["energy_uj_per_note"]["total"]
    assert total["unit"] == "uJ" and total["value"] == pytest.approx(energy.total.value * 1e-6 / 4)
    parts = [row["energy_uj_per_note"]["value"] for row in entry["components"] if row["energy_uj_per_note"]]
    assert sum(parts) == pytest.approx(total["value"])
    assert entry["latency_ms_per_note"]["high"] == pytest.approx(energy.latency.high * 1e-6 / 4)
    assert entry["uncertainty"][0]["energy_uj_per_note"]["high"] == pytest.approx(energy.uncertainty[0].high * 1e-6 / 4)
    with pytest.raises(BadInput, match="notes is 0"):
        chip_entry(energy, 0, 2, "neurons", USE)


def test_a_summary_of_activity_fits_the_schema(results: dict[str, Any]) -> None:
    activity = results["architectures"]["s-rnn"]["activity"]
    activity |= {"hops_per_note": 1.0, "messages_per_note": 2.0}
    check(results)
    del activity["spikes_per_note"]
    with pytest.raises(BadInput, match="spikes_per_note"):
        check(results)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.0, "0"),
        (1234567, "1\u202f234\u202f567"),
        (403211.7, "403\u202f000"),
        (999.6, "1\u202f000"),
        (41.26, "41.3"),
        (0.012345, "0.0123"),
        (-0.5, "-0.500"),
        (1.2345e-7, "1.23 × 10<sup>-7</sup>"),
    ],
)
def test_numbers_for_people(value: float | None, text: str) -> None:
    assert number(value) == text


def test_percentages_for_people() -> None:
    assert (percent(0.0754), percent(None), percent(1)) == ("7.54 %", "–", "100 %")


def svg_images(picture: pictures.Picture) -> list[np.ndarray]:
    """The pixels that a picture holds, `[height, width, 3]` each, from the top."""
    found = []
    for element in ElementTree.fromstring(picture.svg).iter("{http://www.w3.org/2000/svg}image"):
        data = element.attrib["{http://www.w3.org/1999/xlink}href"].partition("base64,")[2]
        found.append(matplotlib.image.imread(io.BytesIO(base64.b64decode(data)))[..., :3])
    return found


def ink(panel: np.ndarray, colour: str) -> float:
    """How much of a white panel is covered with a colour, 0 to 1."""
    return float((1 - panel).sum() / panel[..., 0].size / (1 - np.array(matplotlib.colors.to_rgb(colour))).sum())


def labels(picture: pictures.Picture) -> str:
    """All text of a picture, which must be well-formed XML without addresses outside it."""
    root = ElementTree.fromstring(picture.svg)
    for element in root.iter():
        for name, value in element.attrib.items():
            assert not name.endswith("href") or value.startswith(("#", "data:")), value
    return " ".join("".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text"))


def test_pictures_have_titles_and_labelled_axes(score: midi.Score, material: Material) -> None:
    roll = labels(pictures.piano_roll(score, bars=4))
    assert "A <piece> & more, the first 4 of 6 bars" in roll
    assert all(word in roll for word in ("bar", "pitch (C4 = MIDI 60)", "Soprano", "Bass", "C_M"))
    assert material.spikes is not None and material.samples is not None
    raster = labels(pictures.spike_raster(material.spikes, 7, tokens=4))
    assert all(word in raster for word in ("Spikes over 4 tokens of 7 ticks", "chip tick", "words", "rnn", "21"))
    components: dict[str, list[dict[str, Any]]] = {
        "loihi1": [{"name": "static", "value": 2.0, "low": 1.0, "high": 3.0}, {"name": "io"}]
    }
    energy = labels(pictures.energy_by_component(components, "µJ"))
    assert "static" in energy and "µJ per note" in energy and "io" not in energy.split()
    use = labels(pictures.core_use(USE, "loihi1"))
    assert "synaptic memory bits" in labels(
        pictures.core_use([{"core": 0, "percent": {"synaptic_memory_bits_per_core": 9}}], "c")
    )
    assert "Use of each core's limits, loihi1" in use and "% of limit" in use and "95" in use
    metrics = labels(pictures.metric_distributions(material.samples))
    assert all(word in metrics for word in ("pitch count", "share of pieces", "generated", "reference"))


def test_a_metric_with_one_value_has_no_axis_around_it() -> None:
    text = labels(pictures.metric_distributions({"empty_beat_rate": {"generated": [0.0, 0.0], "reference": [0.0]}}))
    assert "0.5" not in text and " 0 " in f" {text} "


def test_bars_follow_the_metre(score: midi.Score) -> None:
    """A pickup beat, two bars of 4/4, then 3/4 up to the last note's end at beat 17."""
    assert [start // 480 for start in pictures._bar_starts(score)] == [0, 1, 5, 9, 12, 15, 18]
    assert pictures._bar_starts(midi.Score(480, np.empty(0, midi.NOTE))) == [0, 4 * 480]


@pytest.mark.parametrize("rate", [0.02, 0.11, 0.5])
def test_a_population_is_as_dark_as_it_is_active(rate: float) -> None:
    """At any size: 3000 neurons over 70 ticks have more cells than pixels, 10 neurons fewer."""
    rng = np.random.default_rng(0)
    spikes = {name: rng.random((70, size)) < rate for name, size in (("large", 3000), ("small", 10))}
    panels = svg_images(pictures.spike_raster(spikes, 7, tokens=10))
    assert len(panels) == 2
    for panel, colour, fired in zip(panels, COLOURS[:2], spikes.values(), strict=True):
        assert ink(panel, colour) == pytest.approx(fired.mean(), rel=0.04)


def test_the_first_token_drawn_may_be_a_later_one() -> None:
    spikes = np.zeros((70, 4), bool)
    spikes[35:42] = True
    picture = pictures.spike_raster({"deep": spikes}, 7, tokens=2, first=5)
    assert "deep 50.0%" in picture.alt and ink(svg_images(picture)[0], COLOURS[0]) == pytest.approx(0.5, rel=0.04)
    assert "35" in labels(picture).split() and "deep" in labels(picture)
    assert "Spikes over 3 tokens" in pictures.spike_raster({"deep": spikes}, 7, tokens=8, first=7).alt  # no more


def test_relays_are_left_out_and_it_is_said(results: dict[str, Any], material: Material, tmp_path: Path) -> None:
    text = Page(written(results, tmp_path, s_rnn=material)).text
    assert "A spike is as large as its cell" in text and "Left out" not in text
    relays = dataclasses.replace(material, relays={"rnn.relay1": 64, "rnn.relay2": 1000})
    text = Page(written(results, tmp_path, s_rnn=relays)).text
    assert "Left out: 2 populations of relays (1,064 neurons), which only repeat spikes later." in text


def test_captions_do_not_scroll_away_with_what_they_describe(
    results: dict[str, Any], material: Material, tmp_path: Path
) -> None:
    page = Page(written(results, tmp_path, s_rnn=material))
    assert page.captions == page.tables + len(page.images) > 8
    assert page.captions_that_scroll == 0


def test_names_that_matplotlib_would_read_as_formulas_are_drawn_as_they_are() -> None:
    spikes = {r"$\nosuch{$": np.ones((7, 3)), "a\x1b$b": np.ones((7, 3))}
    drawn = labels(pictures.spike_raster(spikes, 7))
    assert r"$\nosuch{$" in drawn and r"a\x1b$b" in drawn


def test_an_empty_piece_and_a_silent_network_can_be_drawn() -> None:
    assert "0 notes" in pictures.piano_roll(midi.Score(480, np.empty(0, midi.NOTE))).alt
    assert "rnn 0.0%" in pictures.spike_raster({"rnn": np.zeros((3, 4), np.uint8)}, 7).alt


def test_a_picture_of_many_spikes_stays_small() -> None:
    spikes = {"rnn": np.ones((80, 1000), np.uint8)}
    assert len(pictures.spike_raster(spikes, 10).svg) < 400_000
