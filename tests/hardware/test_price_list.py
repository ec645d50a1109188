"""Price lists as data, what they cost a network, and files that are wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from muspike.errors import BadInput
from muspike.hardware.citations import bibtex, references
from muspike.hardware.cost.operation_prices import price_macs, price_spikes
from muspike.hardware.cost.operations import Operations
from muspike.hardware.price_list import (
    OPERATIONS,
    known_price_lists,
    load_price_list,
    parse_price_list,
    text_of_known,
)

SPIKING = [name for name in known_price_lists() if load_price_list(name).prices_spikes]


@pytest.mark.parametrize("name", known_price_lists())
def test_every_price_has_a_band_a_tag_and_a_source_that_can_be_cited(name: str) -> None:
    prices = load_price_list(name)
    assert prices.name == name and prices.title and prices.boundary and prices.precision
    assert set(prices.energy) <= set(OPERATIONS)
    for price in prices.energy.values():
        assert price.unit == "pJ" and price.low <= price.value <= price.high and price.source
    assert prices.citations and all(entry in references().values() for entry in prices.citations.values())


@pytest.mark.parametrize("name", SPIKING)
def test_a_run_costs_its_operations_times_their_prices(name: str) -> None:
    prices = load_price_list(name)
    cost = price_spikes(Operations(10_000, 120, 0, 50), prices)
    expected = sum(
        count * prices.energy[operation].value
        for operation, count in (("synop", 120), ("neuron_update", 50))
        if operation in prices.energy
    )
    assert cost.total.value == pytest.approx(expected, rel=1e-12) and cost.total.unit == "pJ"
    assert not cost.total.band_known and cost.total.band == "band unknown"  # nobody has published a spread
    assert cost.to_dict(10, "note")["energy_uj_per_note"]["value"] == pytest.approx(expected / 10 * 1e-6)


def test_a_price_that_is_all_in_gets_no_further_terms() -> None:
    cost = price_spikes(Operations(1000, 100, 0, 10**9), load_price_list("truenorth"))
    assert cost.total.value == 2600
    assert [row.status for row in cost.rows] == ["priced", "covered"]


def test_what_has_no_price_is_not_free() -> None:
    text = re.sub(r"neuron_update = .*\n", "", text_of_known("spinnaker"))
    cost = price_spikes(Operations(1000, 100, 0, 10), parse_price_list(text, "mine.toml"))
    assert cost.rows[1].status == "unpriced" and cost.rows[1].energy is None


def test_graded_spikes_need_a_price_of_their_own() -> None:
    graded = Operations(1000, 100, 7, 10)
    with pytest.raises(BadInput, match="spinnaker2: has no price of a synop_graded, of which the run has some"):
        price_spikes(graded, load_price_list("spinnaker2"))
    cost = price_spikes(graded, load_price_list("ideal-45nm-int8"))
    assert cost.total.value == pytest.approx(100 * 0.03 + 7 * 0.23 + 10 * 0.23)


def test_a_list_prices_the_kind_of_network_for_which_it_has_prices() -> None:
    assert price_macs(1000, load_price_list("h100-peak-fp16")).total.value == pytest.approx(1420)
    with pytest.raises(BadInput, match="h100-peak-fp16: has no price of a synop"):
        price_spikes(Operations(1, 1, 0, 1), load_price_list("h100-peak-fp16"))
    with pytest.raises(BadInput, match="truenorth: has no price of a mac"):
        price_macs(1, load_price_list("truenorth"))


def test_the_adder_of_horowitz_is_cheaper_than_his_multiplier() -> None:
    """His table, from which both lists are made: 4.6 and 0.9 pJ for 32-bit floats, 0.23 and 0.03 for 8-bit integers."""
    for name, mac, ac in (("ideal-45nm-fp32", 4.6, 0.9), ("ideal-45nm-int8", 0.23, 0.03)):
        energy = load_price_list(name).energy
        assert (energy["mac"].value, energy["synop"].value) == (mac, ac)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value = 450", "value = -450", r"mine.toml: energy: synop: expected 0 <= low <= value"),
        ("synop = {", "synops = {", r"mine.toml: energy: unknown key 'synops'; known here: all_in, neuron_update"),
        (
            ', source = "hoppner2019: of a prototype, not',
            ', sourced = "hoppner2019: of a prototype, not',
            "source is m",
        ),
        ('source = "hoppner2019: of', 'source = "me: of', "source 'me' is not in .sources., which has hoppner2019"),
        ("all_in = false", 'all_in = "no"', "mine.toml: energy: all_in is 'no', expected true or false"),
        ("all_in = false\n", "", "mine.toml: energy: all_in is missing, expected true or false"),
        ('title = "', 'titel = "', "mine.toml: title is missing"),
        (
            'hoppner2019 = "hoppner2019"',
            'hoppner = "hoppner2019"',
            "hoppner is not in .sources., which has hoppner2019",
        ),
        (
            'hoppner2019 = "hoppner2019"',
            'hoppner2019 = "you"',
            "hoppner2019 is 'you'; expected a BibTeX entry, or one ",
        ),
        ('hoppner2019 = "hoppner2019"', 'hoppner2019 = "@misc{x"', "BibTeX entry '@misc{x'; expected"),
        ("pJ", "nJ", "unit is 'nJ', expected one of pJ"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_says_what_is_wrong(old: str, new: str, message: str) -> None:
    text = text_of_known("spinnaker2")
    assert old in text
    with pytest.raises(BadInput, match=message) as raised:
        parse_price_list(text.replace(old, new), "mine.toml")
    assert "\n" not in str(raised.value)


def test_a_list_without_a_price_is_refused() -> None:
    text = re.sub(r"(synop|neuron_update) = .*\n", "", text_of_known("spinnaker2"))
    with pytest.raises(BadInput, match="neither synop nor mac has a price"):
        parse_price_list(text, "mine.toml")


def test_an_unknown_list_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"price list 'tpu' is not known; known: h100-peak-fp16, .*, or give the path"):
        load_price_list("tpu")
    with pytest.raises(BadInput, match=r"none\.toml"):
        load_price_list(tmp_path / "none.toml")


def test_a_file_may_bring_its_own_bibtex() -> None:
    entry = "@misc{me, title = {Mine}}"
    text = text_of_known("spinnaker2").replace('"hoppner2019"\n', f"'{entry}'\n")
    assert parse_price_list(text, "mine.toml").citations == {"hoppner2019": entry}
    assert bibtex([entry, references()["merolla2014"], entry]).count("@") == 2


def mine(folder: Path, name: str, *changed: tuple[str, str]) -> Path:
    text = text_of_known(name)
    for old, new in changed:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


RENAMED = ('name = "truenorth"', 'name = "mine"')


def test_a_changed_price_that_keeps_its_source_is_a_warning(tmp_path: Path) -> None:
    path = mine(tmp_path, "truenorth", RENAMED, ("value = 26", "value = 2.6"))
    (warning,) = load_price_list(path).warnings
    assert warning == (
        f"{path}: energy.synop: value is 2.6 (26 in truenorth), and its source is still 'merolla2014'; "
        "name the source of the new number"
    )


def test_a_price_with_a_source_of_its_own_and_a_plain_copy_are_no_warning(tmp_path: Path) -> None:
    for name in known_price_lists():
        assert load_price_list(name).warnings == ()
        assert load_price_list(mine(tmp_path, name)).warnings == ()
        assert load_price_list(mine(tmp_path, name, (f'name = "{name}"', 'name = "mine"'))).warnings == ()
    sourced = ("[sources]\n", '[sources]\nown = "a board of mine"\n')
    changed = ("value = 26", "value = 2.6"), ('source = "merolla2014', 'source = "own')
    assert load_price_list(mine(tmp_path, "truenorth", RENAMED, sourced, *changed)).warnings == ()


def test_another_list_of_a_known_name_is_a_warning(tmp_path: Path) -> None:
    (warning,) = load_price_list(mine(tmp_path, "truenorth", ("title = ", "title = 'Mine' # "))).warnings
    assert "is called truenorth, as a price list that comes with muspike, and differs from it" in warning
