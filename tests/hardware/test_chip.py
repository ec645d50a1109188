from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from muspike.errors import BadInput
from muspike.hardware.chip import TAGS, known_chips, load_chip, parse_chip


def text(name: str) -> str:
    return (resources.files("muspike.hardware") / "chips" / f"{name}.toml").read_text()


def test_the_chips_that_come_with_the_package() -> None:
    assert known_chips() == ("loihi1", "loihi2")


@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
def test_every_constant_has_band_tag_and_source(name: str) -> None:
    chip = load_chip(name)
    sets = chip.costs.values()
    constants = [c for s in sets for c in (*s.energy.values(), *s.latency.values(), *(b.latency for b in s.barrier))]
    for constant in [chip.static_power, *constants]:
        assert 0 <= constant.low <= constant.value <= constant.high
        assert (constant.low < constant.high) == constant.band_known
        assert constant.tag in TAGS
        assert len(constant.source) > 10
    assert chip.default_costs in chip.costs


def test_loihi1_is_the_published_chip() -> None:
    chip = load_chip("loihi1")
    assert chip.mesh.tiles_x * chip.mesh.tiles_y * chip.mesh.cores_per_tile == chip.limits.cores_per_chip.value == 128
    assert chip.limits.neurons_per_core.value == 1024
    assert chip.limits.synaptic_memory_bits_per_core.value == 16384 * 64
    assert (chip.limits.input_axons_per_core.value, chip.limits.output_axons_per_core.value) == (4096, 4096)
    assert chip.limits.synaptic_delay.value == 62
    assert (chip.ranges.weight.low, chip.ranges.weight.high, chip.ranges.weight.step) == (-256, 254, 2)
    assert chip.ranges.v_threshold.high == 2**17 - 1


def test_loihi1_two_sets_of_costs() -> None:
    chip = load_chip("loihi1")
    fitted, simulated = chip.cost_set(), chip.cost_set("simulated")
    assert fitted.name == "fitted"
    assert (fitted.energy["synop_dense"].value, fitted.energy["neuron_access"].value) == (35.5, 51.2)
    assert {c.tag for c in fitted.energy.values()} == {"fitted"}
    assert [b.latency.value for b in fitted.barrier] == [600, 1000, 1400, 1800]
    # An active neuron costs 81 pJ and 8.4 ns in all.
    assert simulated.energy["neuron_access"].value + simulated.energy["neuron_update"].value == pytest.approx(81)
    assert simulated.latency["neuron_access"].value + simulated.latency["neuron_update"].value == pytest.approx(8.4)
    assert {c.tag for c in simulated.energy.values()} == {"simulated"}
    assert "neuron_spike" in simulated.unpriced and "neuron_spike" not in fitted.unpriced
    assert "barrier" in fitted.unpriced
    # A set stands on its own source: what Table 2 gives without a spread does not borrow one from the regression.
    simulated_constants = [*simulated.energy.values(), *simulated.latency.values()]
    assert not any(c.band_known for c in simulated_constants)
    assert not any("regression" in c.source for c in simulated_constants)
    # A band that is assumed makes the number assumed.
    assert chip.static_power.tag == "assumed" and "assumed" in chip.static_power.source


def test_loihi2_times_are_the_bound_over_what_it_explains() -> None:
    latency = load_chip("loihi2").cost_set().latency
    for event, bound in (("synop_dense", 0.66), ("synop_sparse", 0.66), ("synop_conv", 0.66), ("neuron_access", 4)):
        constant = latency[event]
        assert constant.low == bound and constant.tag == "inferred"
        assert constant.value == pytest.approx(bound / 0.65, rel=1e-3)
        assert constant.high == pytest.approx(bound / 0.65**2, rel=1e-3)
        assert "65 %" in constant.source and "assumes" in constant.source


def test_hala_point_lies_below_the_band_of_loihi2_and_its_source_says_so() -> None:
    """2,600 W at 380 T synops/s, all in: within 5 % of the band, or the inference is off; outside, it must be said."""
    hala_point_pj = 2600 / 380e12 * 1e12
    price = load_chip("loihi2").cost_set().energy["synop_dense"]
    assert 0.95 * price.low < hala_point_pj < price.high
    assert (hala_point_pj < price.low) == ("6.8 pJ per synaptic operation all in, just below the band" in price.source)


def test_loihi2_prices_are_inferred_and_cover_the_rest() -> None:
    costs = load_chip("loihi2").cost_set()
    assert {c.tag for c in costs.energy.values()} == {"inferred"}
    assert costs.unpriced == ()
    assert load_chip("loihi2").limits.input_axons_per_core.value is None


def test_unknown_chip_lists_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"'loihi3' is not known; known: loihi1, loihi2"):
        load_chip("loihi3")


def test_unknown_cost_set_lists_the_known_ones() -> None:
    with pytest.raises(BadInput, match="no cost set 'measured'; it has fitted, simulated"):
        load_chip("loihi1").cost_set("measured")


def test_a_chip_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text("loihi1").replace('name = "loihi1"', 'name = "mine"').replace("value = 1024", "value = 64"))
    chip = load_chip(path)
    assert (chip.name, chip.limits.neurons_per_core.value) == ("mine", 64)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.toml: cannot be read"):
        load_chip(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("word_bits = 64", "word_bitz = 64", "synapse_format: word_bits is missing"),
        ("word_bits = 64", 'word_bits = 64\ncolour = "red"', "synapse_format: unknown key 'colour'"),
        ('name = "loihi1"', 'name = "loihi1"\nspeed = 3', "unknown key 'speed'"),
        ("du = { low = 0, high = 4095", "du = { low = 0, high = -1", "ranges: du: low 0 is above high -1"),
        ("neurons_per_core = { value = 1024", "neurons_per_core = { value = 0", "value is 0, expected at least 1"),
        ("neurons_per_core = { value = 1024", "neurons_per_core = { value = true", "value is True"),
        ('default = "fitted"', 'default = "best"', "no cost set 'best'"),
        ('unit = "mW"', 'unit = "W"', "static_power: unit is 'W', expected one of mW"),
        ('tag = "assumed"', 'tag = "guessed"', "tag is 'guessed', expected one of measured"),
        ("value = 35.5", "value = 99.0", "expected 0 <= low <= value <= high"),
        ("value = 35.5", "value = nan", "expected a finite number"),
        ("hop_x = { value = 3.0", "hop_z = { value = 3.0", "unknown key 'hop_z'"),
        ('source = "frady2020', 'source = "frady1920', "source 'frady1920.*' is not in"),
        ("covers = []", 'covers = ["rent"]', "covers 'rent'"),
        ("low = 77\nhigh = 154", "low = 104\nhigh = 104", 'static_power: low and high are both 104.* "unknown"'),
        ("low = 77\nhigh = 154", 'band = "wide"', "static_power: band is 'wide', expected one of unknown"),
        ("low = 77\nhigh = 154", 'band = "unknown"\nlow = 77', "static_power: unknown key 'low'"),
        ("tiles = 1\n", "tiles = 3\n", "costs: fitted: barrier: no row for 1 tile"),
        (
            "du = { low = 0, high = 4095",
            "du = { low = 0, high = 5000",
            "ranges: du is 0..5000, a program holds 0..4096",
        ),
        (
            "weight = { low = -256",
            "weight = { low = -512",
            "ranges: weight is -512..254 in steps of 2, a program holds",
        ),
        ("step = 2", "step = 1", "in steps of 1, a program holds -256..254 in steps of 2"),
        ("a_in = { low = -32768", "a_in = { low = -128", "ranges: a_in is -128..32767, programs compute in -32768"),
        ("synaptic_delay = { value = 62", "synaptic_delay = { value = 63", "synaptic_delay is 63, a program holds"),
        ("tiles_x = 8", "tiles_x = 7", "cores_per_chip is 128, but the mesh has 112 places"),
        ("[mesh]", "[mesh", "not TOML"),
    ],
)
def test_a_broken_file_says_where(old: str, new: str, message: str) -> None:
    broken = text("loihi1")
    assert old in broken
    with pytest.raises(BadInput, match=message):
        parse_chip(broken.replace(old, new, 1), "mine.toml")
