"""Reading `.net` files of lava-dl: what SLAYER writes arrives as it stands; whatever else is an error in one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from muspike.errors import BadInput
from muspike.hardware import Program, Simulator, compile_graph, read_net, read_nir, simulate
from muspike.hardware.reader import net
from muspike.hardware.running.agreement import SpikeAgreement
from muspike.hardware.weights import Conv, Sparse
from net_files import Array, Layer, even, fired, late, neuron, write_net

TICKS = 60


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "network.net"


def layer(kind: str, shape: Sequence[int], **fields: Any) -> Layer:
    return {"type": kind, "shape": list(shape), **fields}


def conv(shape: Sequence[int], weight: Array, **more: Any) -> Layer:
    geometry = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    return layer("conv", shape, weight=weight, **({"neuron": neuron()} | geometry | more))


def program_of(path: Path, chip: str = "loihi2", **options: Any) -> Program:
    return compile_graph(read_net(path, 1e-3, **options), chip, scale="keep").program


def spikes_of(program: Program, given: Array) -> dict[str, Array]:
    """Each population's spikes in its own time, `[ticks, size]`."""
    deepest = max(p.level for p in program.populations)
    x = np.concatenate([given, np.zeros((deepest, given.shape[1]), np.uint8)])[:, None]
    run = Simulator(program).run(x)
    return {
        p.name: run.spikes[p.name][p.level : p.level + len(given), 0] for p in program.populations if p.kind == "lif"
    }


def given(rng: np.random.Generator, size: int) -> Array:
    return np.asarray(rng.random((TICKS, size)) < 0.3, np.uint8)


def convolved(x: Array, weight: Array, shape: Sequence[int], **options: Any) -> Array:
    image = torch.from_numpy(x.reshape(len(x), *shape).astype(np.float64))
    out = torch.nn.functional.conv2d(image, torch.from_numpy(weight.astype(np.float64)), **options)
    return np.asarray(out.numpy().reshape(len(x), -1), np.int64)


# --- what is right arrives ---------------------------------------------------------------------------------------


def test_every_number_of_a_dense_layer_stands_in_its_register(file: Path, rng: np.random.Generator) -> None:
    weight, bias = even(rng, 5, 4, most=254), np.array([3.0, -7, 0, 4095, -4095], np.float32)
    i_decay, v_decay = np.array([1, 4096, 77, 2048, 4095]), np.array([0, 4096, 1, 128, 4095])
    numbers = neuron(iDecay=i_decay, vDecay=v_decay, vThMant=2**17 - 1)
    write_net(file, [layer("input", [4]), layer("dense", [5], weight=weight, bias=bias, neuron=numbers)])
    program = program_of(file)
    _, p = program.populations
    assert (p.name, p.kind, p.level) == ("layer1", "lif", 1)
    np.testing.assert_array_equal(p.du, i_decay - 1)
    np.testing.assert_array_equal(p.dv, v_decay)
    np.testing.assert_array_equal(p.v_threshold, 2**17 - 1)
    np.testing.assert_array_equal(p.bias, bias.astype(int) << 6)
    (s,) = program.synapses
    np.testing.assert_array_equal(np.asarray(s.weight), weight)
    assert (s.weight_exp, s.delay) == (0, 1)


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_dense_layers_fire_as_their_integers_say(file: Path, rng: np.random.Generator, chip: str) -> None:
    first, second = even(rng, 20, 12), even(rng, 9, 20)
    write_net(
        file,
        [
            layer("input", [1, 1, 12]),
            layer("flatten", [12]),
            layer("dense", [20, 1, 1], weight=first, inFeatures=12, outFeatures=20, neuron=neuron()),
            layer("dense", [9], weight=second.ravel(), neuron=neuron(type="LOIHI", theta=5, tauRho=0.1, wgtExp=0)),
        ],
    )
    x, none = given(rng, 12), np.zeros(20, np.int64)
    one = fired(x @ first.T, neuron(), none)
    two = fired(one @ second.T, neuron(), none[:9])
    found = spikes_of(program_of(file, chip), x)
    assert one.sum() > 20 and two.sum() > 20
    np.testing.assert_array_equal(found["layer2"], one)
    np.testing.assert_array_equal(found["layer3"], two)


def test_delays_hold_back_what_a_neuron_receives(file: Path, rng: np.random.Generator) -> None:
    weight, delay = abs(even(rng, 6, 8)), np.array([0, 62, 5, 5, 0, 17])
    write_net(file, [layer("input", [8]), layer("dense", [6], weight=weight, neuron=neuron(), delay=1.0 * delay)])
    x = given(rng, 8)
    arrives = np.stack([late(x, d) @ row for d, row in zip(delay, weight, strict=True)], axis=1)
    program = program_of(file)
    assert sorted(s.delay for s in program.synapses) == [1, 6, 18, 63]
    assert all(isinstance(s.weight, Sparse) for s in program.synapses)
    found = spikes_of(program, x)["layer1"]
    np.testing.assert_array_equal(found, fired(arrives, neuron(), np.zeros(6)))
    assert found.any(axis=0).tolist() == [True, False, True, True, True, True], "the run ends before tick 62"


def test_delays_of_the_sources_and_one_delay_for_all(file: Path, rng: np.random.Generator) -> None:
    weight, delay = even(rng, 6, 8), np.arange(8)
    dense = layer("dense", [6], weight=weight, neuron=neuron())
    x = given(rng, 8)
    write_net(file, [layer("input", [8]), dense | {"delay": delay}])
    arrives = np.sum([np.outer(late(x[:, j], j), weight[:, j]) for j in range(8)], axis=0)
    np.testing.assert_array_equal(spikes_of(program_of(file), x)["layer1"], fired(arrives, neuron(), np.zeros(6)))
    write_net(file, [layer("input", [8]), dense | {"delay": 7}])
    once = fired(late(x, 7) @ weight.T, neuron(), np.zeros(6))
    np.testing.assert_array_equal(spikes_of(program_of(file), x)["layer1"], once)


def test_a_recurrent_layer_hears_itself_one_tick_later(file: Path, rng: np.random.Generator) -> None:
    weight, again = even(rng, 5, 8), even(rng, 5, 5)
    write_net(
        file, [layer("input", [8]), layer("dense_rec", [5], weight=weight, weight_rec=again, neuron=neuron(vThMant=30))]
    )
    x = given(rng, 8)
    arrives = (x @ weight.T).astype(np.int64)
    found = spikes_of(program_of(file), x)["layer1"]
    for t in range(1, TICKS):  # what arrives depends on what fired: tick by tick
        arrives[t] += (found[t - 1] @ again.T).astype(np.int64)
    assert found.sum() > 20
    np.testing.assert_array_equal(found, fired(arrives, neuron(vThMant=30), np.zeros(5)))


def test_convolutions_pools_and_flatten_are_pytorchs(file: Path, rng: np.random.Generator) -> None:
    first, second, pool, last = (
        even(rng, 4, 2, 3, 2),
        even(rng, 6, 2, 2, 3),
        np.full((1, 1, 2, 2), 40),
        even(rng, 5, 24),
    )
    bias = np.array([2, -1, 0, 5])
    low = neuron(vThMant=20, iDecay=4096)
    write_net(
        file,
        [
            layer("input", [2, 9, 8]),
            conv([4, 5, 6], first[..., None], stride=[2, 1], padding=[1, 0], dilation=[1, 2], bias=bias, neuron=low),
            conv([6, 4, 4], second, groups=2, neuron=low),
            layer("pool", [6, 2, 2], weight=pool, stride=2, padding=0, dilation=1, kernelSize=[2, 2], neuron=low),
            layer("flatten", [24]),
            layer("dense", [5], weight=last, neuron=low),
        ],
    )
    x = given(rng, 144)
    one = fired(
        convolved(x, first, (2, 9, 8), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), low, np.repeat(bias, 30)
    )
    two = fired(convolved(one, second, (4, 5, 6), groups=2), low, np.zeros(96))
    each = np.repeat(pool, 6, axis=0)
    three = fired(convolved(two, each, (6, 4, 4), groups=6, stride=2), low, np.zeros(24))
    four = fired((three @ last.T).astype(np.int64), low, np.zeros(5))
    program = program_of(file)
    assert [isinstance(s.weight, Conv) for s in program.synapses] == [True, True, True, False]
    found = spikes_of(program, x)
    for name, spikes in {"layer1": one, "layer2": two, "layer3": three, "layer5": four}.items():
        assert spikes.any(), name
        np.testing.assert_array_equal(found[name], spikes)


def test_decays_for_each_channel_keep_a_convolution(file: Path, rng: np.random.Generator) -> None:
    weight, decay = even(rng, 3, 1, 2, 2), np.array([500, 1000, 4096])
    write_net(file, [layer("input", [1, 3, 3]), conv([3, 2, 2], weight, neuron=neuron(iDecay=decay, vDecay=decay))])
    program = program_of(file)
    assert isinstance(program.synapses[0].weight, Conv)
    np.testing.assert_array_equal(program.population("layer1").dv, np.repeat(decay, 4))
    x = given(rng, 9)
    each = neuron(iDecay=np.repeat(decay, 4), vDecay=np.repeat(decay, 4))
    found = spikes_of(program, x)["layer1"]
    np.testing.assert_array_equal(found, fired(convolved(x, weight, (1, 3, 3)), each, np.zeros(12)))


def test_an_image_goes_in_as_biases_and_resets_come_a_tick_later_a_layer(file: Path, rng: np.random.Generator) -> None:
    image, weight = rng.integers(0, 50, (1, 3, 4)), even(rng, 6, 12)
    first = layer("input", [1, 3, 4], weight=[76.0], bias=[64.0], neuron=neuron())
    write_net(file, [first, layer("flatten", [12]), layer("dense", [6], weight=weight, neuron=neuron())])
    graph = read_net(file, 1e-3, input_bias=image)
    program = compile_graph(graph, "loihi2", scale="keep", reset_every=16).program
    assert [(p.name, p.reset_interval, p.reset_offset) for p in program.populations] == [
        ("layer0", 16, 0),
        ("layer2", 16, 1),
    ]
    np.testing.assert_array_equal(program.populations[0].bias, image.ravel() << 6)
    run = Simulator(program).run(np.zeros((32, 1, 0), np.uint8))
    once = fired(np.zeros((16, 12)), neuron(), image.ravel())
    np.testing.assert_array_equal(run.spikes["layer0"][:, 0], np.concatenate([once, once]))
    assert not read_net(file, 1e-3).population("layer0").bias.any()


def test_the_float_network_of_a_file_fires_nearly_as_its_integers(file: Path, rng: np.random.Generator) -> None:
    write_net(file, [layer("input", [12]), layer("dense", [40], weight=even(rng, 40, 12), neuron=neuron())])
    found = simulate(compile_graph(read_net(file, 1e-3), "loihi2"), {"input": given(rng, 12)[:, None]})
    assert found.agreements is not None
    (row,) = found.agreements
    assert isinstance(row, SpikeAgreement) and row.agreement is not None and row.agreement > 0.95


@pytest.mark.parametrize("end", [{}, {"neuron": neuron(iDecay=4096, vDecay=0, vThMant=2**18 - 1)}])
def test_a_layer_that_cannot_fire_is_a_readout(file: Path, rng: np.random.Generator, end: dict[str, Any]) -> None:
    weight, last = even(rng, 8, 6), even(rng, 3, 8)
    dense = layer("dense", [8], weight=weight, neuron=neuron())
    write_net(file, [layer("input", [6]), dense, layer("dense", [3], weight=last, **end)])
    program = program_of(file)
    assert [p.kind for p in program.populations] == ["input", "lif", "li"]
    x = given(rng, 6)
    one = fired(x @ weight.T, neuron(), np.zeros(8)).astype(np.int64)
    silence = np.zeros((2, 6), np.uint8)
    run = Simulator(program).run(np.concatenate([x, silence])[:, None])
    np.testing.assert_array_equal(run.membrane["layer2"][2:, 0], np.cumsum(one @ last.astype(int).T, axis=0) << 6)


def test_what_the_host_has_to_do_is_told(file: Path, rng: np.random.Generator) -> None:
    weight = even(rng, 6, 4)
    weight[2, 3] = 255  # SLAYER clamps there, off its own grid of even numbers
    layers = [layer("input", [4]), layer("dense", [6], weight=weight, neuron=neuron()), layer("average", [3])]
    graph = read_net(write_net(file, layers), 1e-3)
    assert graph.metadata["notes"] == [
        "layer 1 (dense): 1 of weight are 255, to which SLAYER clamps; they are read as 254, the chip's largest",
        "layer 2 (average) is left to the host: output k of 3 is the mean of the spikes of 2 neurons of 'layer1', from "
        "neuron 2 k on",
    ]
    program = compile_graph(graph, "loihi2", scale="keep").program
    assert np.asarray(program.synapses[0].weight)[2, 3] == 254
    assert program.roles.outputs == ("layer1",)


def test_a_matrix_of_zeros_is_read(file: Path) -> None:
    write_net(file, [layer("input", [4]), layer("dense", [6], weight=np.zeros((6, 4)), neuron=neuron())])
    assert not np.asarray(program_of(file).synapses[0].weight).any()


def test_a_first_layer_without_input_takes_what_its_weights_take(file: Path, rng: np.random.Generator) -> None:
    write_net(file, [layer("dense", [6], weight=even(rng, 6, 4), neuron=neuron())])
    assert [(p.name, p.size) for p in program_of(file).populations] == [("input", 4), ("layer0", 6)]


# --- what is not read is refused by name -------------------------------------------------------------------------

DENSE = layer("dense", [3], weight=np.full((3, 2), 4.0), neuron=neuron())
CONV = conv([3, 2, 2], np.full((3, 1, 2, 2), 4.0))
IMAGE = layer("input", [1, 3, 3])


def without(original: Layer, *fields: str) -> Layer:
    return {name: value for name, value in original.items() if name not in fields}


def dense(**changed: Any) -> list[Layer]:
    return [layer("input", [2]), DENSE | changed]


def neurons(**changed: Any) -> list[Layer]:
    return dense(neuron=neuron(**changed))


REFUSED: dict[str, tuple[list[Layer], str]] = {
    "no layers": ([], "it has no group 'layer', which holds the layers"),
    "only an input": ([layer("input", [2])], "no layer has neurons"),
    "another type": (
        [layer("convT", [2])],
        "layer 0: its type is 'convT'; muspike reads input, dense, dense_rec, conv",
    ),
    "no type": ([without(DENSE, "type")], "layer 0: its type is missing"),
    "another field": (dense(mask=1), r"layer 1 \(dense\): it has a field 'mask'; expected the fields of such a layer"),
    "no weight": ([layer("input", [2]), without(DENSE, "weight")], r"layer 1 \(dense\): it has no weight"),
    "no shape": ([layer("input", [2]), without(DENSE, "shape")], r"layer 1 \(dense\): it has no shape"),
    "odd weight": (dense(weight=np.array([[2, 4], [2, 7], [1, 0]])), r"weight\[1, 1\] is 7, and 1 more are odd"),
    "weight of a fraction": (dense(weight=np.full((3, 2), 6.4)), r"weight\[0, 0\] is 6.4; expected whole numbers"),
    "NaN": (dense(weight=np.full((3, 2), np.nan)), r"weight\[0, 0\] is nan; expected whole numbers in -256..255"),
    "large weight": (dense(weight=np.full((3, 2), 256)), r"weight\[0, 0\] is 256; expected whole numbers in -256..255"),
    "weight of text": (dense(weight=np.array([b"a"])), "weight is an array of strings"),
    "empty weight": (dense(weight=np.zeros((3, 0))), "weight has shape"),
    "weight of another shape": (dense(weight=np.zeros((4, 2))), r"weight has shape \[4, 2\] for 3 neurons"),
    "weight for other sources": (dense(weight=np.zeros((3, 4))), r"weight has shape \[3, 4\]; expected \[3, 2\]"),
    "large bias": (dense(bias=np.array([0, 4096, 0])), r"bias\[1\] is 4096; expected whole numbers in -4095..4095"),
    "bias of another shape": (dense(bias=np.zeros(2)), r"bias has shape \[2\] for neurons \[3\]"),
    "long delay": (dense(delay=np.array([0, 63, 0])), r"delay\[1\] is 63; expected whole numbers in 0..62"),
    "delay of a fraction": (dense(delay=np.array([0, 0.5, 0])), r"delay\[1\] is 0.5"),
    "delay of another shape": (
        dense(delay=np.zeros(5)),
        r"delay has shape \[5\]; expected one for all, \[3\], or \[2\]",
    ),
    "delay of a loop": (
        dense(type="dense_rec", weight_rec=np.zeros((3, 3)), delay=np.ones(3)),
        r"layer 1 \(dense_rec\): delay holds 1; expected 0",
    ),
    "loop of another shape": (dense(type="dense_rec", weight_rec=np.zeros((3, 4))), "weight_rec holds 12 weights"),
    "delay of a convolution": ([IMAGE, CONV | {"delay": np.ones(3)}], r"layer 1 \(conv\): delay holds 1; expected 0"),
    "neurons of another type": (neurons(type="ALIF"), "its neurons are of type ALIF; expected CUBA or LOIHI"),
    "sigma-delta": ([layer("input", [2], neuron={"type": "SDNN", "vThMant": 1})], "its neurons are of type SDNN"),
    "resonators": (neurons(type="RF_PHASE", sinDecay=1), "its neurons are of type RF_PHASE"),
    "neurons with another field": (neurons(thDecay=1), "its neurons have a field 'thDecay'"),
    "neurons without a field": (dense(neuron=without(neuron(), "vDecay")), "it has no vDecay"),
    "a bias and no neurons": (
        [layer("input", [2]), without(DENSE, "neuron") | {"bias": [1]}],
        "it has a bias and no neurons",
    ),
    "no decay of the current": (neurons(iDecay=0), "iDecay is 0; expected whole numbers in 1..4096"),
    "negative decay": (neurons(vDecay=-1), "vDecay is -1; expected whole numbers in 0..4096"),
    "negative threshold": (neurons(vThMant=-1), "vThMant is -1; expected whole numbers in 0..262143"),
    "refractory period": (neurons(refDelay=2), "refDelay of its neurons is 2; expected 0 or 1"),
    "graded spikes": (neurons(gradedSpike=True), "gradedSpike of its neurons is 1; expected False"),
    "message bits": (neurons(messageBits=8), "messageBits of its neurons is 8; expected 0"),
    "exponent": (neurons(wgtExp=2), "wgtExp of its neurons is 2; expected 0"),
    "exponents of a norm": (neurons(weight_exp=np.array([0, -1, 0])), "weight_exp of its neurons is -1; expected 0"),
    "threshold that never fires, inside": (
        [*neurons(vThMant=2**17), layer("dense", [1], weight=np.zeros((1, 3)), neuron=neuron())],
        "vThMant of its neurons is 131072; expected 0..131071",
    ),
    "no neurons, inside": (
        [layer("input", [2]), without(DENSE, "neuron"), layer("dense", [1], weight=np.zeros((1, 3)), neuron=neuron())],
        r"layer 1 \(dense\): it has no neurons, so nothing of it spikes; expected such a layer as the last one",
    ),
    "convolution without neurons": ([IMAGE, without(CONV, "neuron")], r"layer 1 \(conv\): it has no neurons"),
    "convolution without an image": ([layer("input", [9]), CONV], r"what comes before it has shape \[9\]"),
    "convolution first": ([CONV], "nothing says the shape of the image before it"),
    "convolution of another size": (
        [IMAGE, CONV | {"shape": [3, 2, 3]}],
        r"shape is \[3, 2, 3\]; expected \[3, 2, 2\]",
    ),
    "kernel of other channels": ([layer("input", [2, 3, 3]), CONV], r"weight has shape \[3, 1, 2, 2\] for 2 channels"),
    "groups that do not divide": ([IMAGE, CONV | {"groups": 2}], "for 1 channels in 2 groups"),
    "kernel of another shape": (
        [IMAGE, CONV | {"weight": np.zeros((3, 4))}],
        r"weight has shape \[3, 4\]; expected \[c_",
    ),
    "stride of 0": ([IMAGE, CONV | {"stride": [0, 1]}], r"stride\[0\] is 0; expected whole numbers in 1.."),
    "stride of three axes": ([IMAGE, CONV | {"stride": [1, 1, 1]}], "stride has 3 numbers"),
    "pool of several kernels": ([IMAGE, without(CONV, "groups") | {"type": "pool"}], r"expected \[1, 1, k_y, k_x\]"),
    "flatten of nothing": ([layer("flatten", [2])], "nothing says what it flattens"),
    "flatten to another size": ([IMAGE, layer("flatten", [8])], r"shape is \[8\] for 9 values; expected 9 values"),
    "average inside": ([*dense(), layer("average", [3]), DENSE], r"layer 2 \(average\): it is not the last layer"),
    "average that does not divide": ([*dense(), layer("average", [2])], "3 neurons do not divide into 2 groups"),
    "input inside": ([*dense(), layer("input", [3])], r"layer 2 \(input\): it stands behind other layers"),
    "huge shape": (
        [layer("input", [2**12, 2**12, 2])],
        r"shape \[4096, 4096, 2\] has 33554432 values; expected at most",
    ),
    "shape of four axes": ([layer("input", [1, 1, 1, 1])], "shape has 4 numbers"),
    "shape of 0": ([layer("input", [0])], "shape is 0; expected whole numbers in 1.."),
}


def plainly_read(path: Path, members: Sequence[str]) -> dict[str, Any]:
    """What `read_hdf5` gives of a sound file, without the second that its child process takes."""

    def tree(item: Any) -> Any:
        if isinstance(item, h5py.Group):
            return {name: tree(member) for name, member in item.items()}
        return item[()].decode() if isinstance(item[()], bytes) else item[()]

    with h5py.File(path) as h5:
        return {name: tree(h5[name]) for name in members if name in h5}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_read_is_refused_by_name(file: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "read_hdf5", plainly_read)
    layers, message = REFUSED[what]
    write_net(file, layers)
    with pytest.raises(BadInput, match=message) as error:
        read_net(file, 1e-3)
    text = str(error.value)
    assert text.startswith(f"{file}: ") and "\n" not in text and len(text) < 500 + len(str(file))


def linked(file: h5py.File) -> None:
    del file["layer/1/weight"]
    file["layer/1/weight"] = h5py.ExternalLink("other.h5", "/w")


def elsewhere(file: h5py.File) -> None:
    del file["layer/1/weight"]
    file["layer/1"].create_dataset("weight", (3, 2), "f4", external=[("weights.bin", 0, 24)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "w", (3, 2))
    del file["layer/1/weight"]
    file["layer/1"].create_virtual_dataset("weight", layout)


def soft(file: h5py.File) -> None:
    del file["layer/1/weight"]
    file["layer/1/weight"] = h5py.SoftLink("/layer/1/shape")


def huge(file: h5py.File) -> None:
    del file["layer/1/weight"]
    file["layer/1"].create_dataset("weight", (2**30, 2**20), "f4", chunks=(1024, 1024))


def set_to(name: str, value: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return edit


def complex_weights(file: h5py.File) -> None:
    del file["layer/1/weight"]
    file["layer/1/weight/real"] = file["layer/1/weight/imag"] = np.zeros((3, 2))


DAMAGED: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "external link": (linked, "'layer/1/weight' is a link to another file; the data itself is wanted"),
    "external storage": (elsewhere, "'layer/1/weight' keeps its data in other files"),
    "virtual": (virtual, "'layer/1/weight' keeps its data in other files"),
    "soft link": (soft, "'layer/1/weight' is a soft link"),
    "huge": (huge, "'layer/1/weight' it declares"),
    "layer is an array": (set_to("layer", [1, 2]), "it has no group 'layer', which holds the layers"),
    "a layer is an array": (set_to("layer/1", [1, 2]), "layer 1 is an array of int64 of shape [2]; expected a group"),
    "neuron is a number": (set_to("layer/1/neuron", 3), "layer 1 (dense): neuron is 3; expected a group"),
    "type is a number": (set_to("layer/1/type", 3), "layer 1: its type is 3; muspike reads"),
    "a layer is missing": (lambda file: file.move("layer/0", "layer/7"), "there is no layer 0, and one called '7'"),
    "complex weights": (complex_weights, "layer 1 (dense): weight is a group, as of complex weights"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_or_hostile_file_is_refused(file: Path, what: str) -> None:
    edit, message = DAMAGED[what]
    write_net(file, dense())
    with h5py.File(file, "a") as h5:
        edit(h5)
    with pytest.raises(BadInput) as error:
        read_net(file, 1e-3)
    assert str(error.value).startswith(f"{file}: ") and message in str(error.value)


def test_a_cut_file_is_refused(file: Path) -> None:
    write_net(file, dense())
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"damaged, or not a lava-dl file: "):
        read_net(file, 1e-3)


def test_too_many_layers(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "MOST_LAYERS", 1)
    with pytest.raises(BadInput, match="it has 2 layers; expected 1 to 1"):
        read_net(write_net(file, dense()), 1e-3)


def test_the_tick_and_the_image_are_asked_for(file: Path) -> None:
    write_net(file, dense())
    with pytest.raises(BadInput, match="does not say how long a tick is"):
        read_net(file)
    with pytest.raises(BadInput, match="the input layer has no neurons that could take it"):
        read_net(file, 1e-3, input_bias=[1, 2])
    write_net(file, [layer("input", [2], neuron=neuron())])
    for bias, message in (
        ([1, 2, 3], r"input_bias has shape \[3\]; layer 0 has neurons \[2\]"),
        ([1, 0.5], r"input_bias\[1\] is 0.5; expected whole numbers in -4095..4095"),
        ([1, 5000], r"input_bias\[1\] is 5000"),
        (["a", "b"], "input_bias is an array of .* expected whole numbers"),
    ):
        with pytest.raises(BadInput, match=message):
            read_net(file, 1e-3, input_bias=bias)


def test_a_nir_file_is_no_net_and_a_net_no_nir_file(file: Path, tmp_path: Path) -> None:
    write_net(file, dense())
    with pytest.raises(BadInput, match=r"is a lava-dl network \(.net\); muspike map and muspike simulate take it"):
        read_nir(file)
    with h5py.File(tmp_path / "network.nir", "w") as nir_file:
        nir_file["node/type"] = "NIRGraph"
    with pytest.raises(BadInput, match="it has no group 'layer', which holds the layers"):
        read_net(tmp_path / "network.nir", 1e-3)
    with pytest.raises(BadInput, match="No such file"):
        read_net(tmp_path / "none.net", 1e-3)
