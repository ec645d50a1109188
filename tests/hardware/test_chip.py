from importlib import resources

import pytest

from muspike.errors import BadInput
from muspike.hardware.chip import TAGS, known_chips, load_chip, parse_chip


def text(name: str) -> str:
    return (resources.files("muspike.hardware") / "chips" / f"{name}.toml").read_text()


def test_the_chips_that_come_with_the_package():
    assert known_chips() == ("loihi1", "loihi2")


@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
def test_every_constant_has_band_tag_and_source(name):
    chip = load_chip(name)
    sets = chip.costs.values()
    constants = [c for s in sets for c in (*s.energy.values(), *s.latency.values(), *(b.latency for b in s.barrier))]
    for constant in [chip.static_power, *constants]:
        assert 0 <= constant.low <= constant.value <= constant.high
        assert constant.tag in TAGS
        assert len(constant.source) > 10
    assert chip.default_costs in chip.costs


def test_loihi1_is_the_published_chip():
    chip = load_chip("loihi1")
    assert chip.mesh.tiles_x * chip.mesh.tiles_y * chip.mesh.cores_per_tile == chip.limits.cores_per_chip.value == 128
    assert chip.limits.neurons_per_core.value == 1024
    assert chip.limits.synaptic_memory_bits_per_core.value == 16384 * 64
    assert (chip.limits.input_axons_per_core.value, chip.limits.output_axons_per_core.value) == (4096, 4096)
    assert chip.limits.synaptic_delay.value == 62
    assert (chip.ranges.weight.low, chip.ranges.weight.high, chip.ranges.weight.step) == (-256, 254, 2)
    assert chip.ranges.v_threshold.high == 2**17 - 1


def test_loihi1_two_sets_of_costs():
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


def test_loihi2_prices_are_inferred_and_cover_the_rest():
    costs = load_chip("loihi2").cost_set()
    assert {c.tag for c in costs.energy.values()} == {"inferred"}
    assert costs.unpriced == ()
    assert load_chip("loihi2").limits.input_axons_per_core.value is None


def test_unknown_chip_lists_the_known_ones():
    with pytest.raises(BadInput, match=r"'loihi3' is not known; known: loihi1, loihi2"):
        load_chip("loihi3")


def test_unknown_cost_set_lists_the_known_ones():
    with pytest.raises(BadInput, match="no cost set 'measured'; it has fitted, simulated"):
        load_chip("loihi1").cost_set("measured")


def test_a_chip_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text("loihi1").replace('name = "loihi1"', 'name = "mine"').replace("value = 1024", "value = 64"))
    chip = load_chip(path)
    assert (chip.name, chip.limits.neurons_per_core.value) == ("mine", 64)


def test_missing_file(tmp_path):
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
        ('tag = "inferred"', 'tag = "guessed"', "tag is 'guessed', expected one of measured"),
        ("value = 35.5", "value = 99.0", "expected 0 <= low <= value <= high"),
        ("value = 35.5", "value = nan", "expected a finite number"),
        ("hop_x = { value = 3.0", "hop_z = { value = 3.0", "unknown key 'hop_z'"),
        ('source = "frady2020', 'source = "frady1920', "source 'frady1920.*' is not in"),
        ("covers = []", 'covers = ["rent"]', "covers 'rent'"),
        ("tiles_x = 8", "tiles_x = 7", "cores_per_chip is 128, but the mesh has 112 places"),
        ("[mesh]", "[mesh", "not TOML"),
    ],
)
def test_a_broken_file_says_where(old, new, message):
    broken = text("loihi1")
    assert old in broken
    with pytest.raises(BadInput, match=message):
        parse_chip(broken.replace(old, new, 1), "mine.toml")
