"""Hold how muspike reads `.net` files against lava-dl's own reader: every spike and membrane, in Lava's fixed point.

The files are those in the wheel of lava-dl 0.6.0 (BSD-3-Clause) whose neurons are LIF, and files made here at random,
one for each thing that such a file can say. Each is read by `muspike.hardware.read_net` and run in the simulator, and
read by `lava.lib.dl.netx.hdf5.Network` and run in Lava (`muspike.export.netx_runner`). The status is 1 if anything
differs.

With `reset_interval`, lava-dl's reader resets each layer a tick later than the one before it, as muspike does. The
first layer that it resets is the first one with neurons, in tick 0. If spikes are the input, they reach that layer in
tick 1, so a `reset_offset` of 1 puts the resets where muspike has them. Files with biases are compared with resets.

    pip download --no-deps --ignore-requires-python lava-dl==0.6.0
    python bench/versus/netx.py lava_dl-0.6.0-py3-none-any.whl
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from muspike.export.netx_runner import run_netx
from muspike.hardware import Simulator, compile_graph, read_net
from muspike.tables import text_table

FOLDER = "tests/lava/lib/dl/netx"
TITLES = ("file", "ticks", "layers", "neuron-ticks", "spikes", "other spikes", "other v")

Array = npt.NDArray[Any]
Layer = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A file, and what it is run on.

    Attributes:
        name, path: the file.
        ticks: length of the run.
        inputs: 0 or 1, `[ticks, size]`; None: the file's first layer takes biases.
        input_bias: these biases.
        reset_every: ticks between resets; None: none.
        layers: how many layers lava-dl's reader reads; None: all. It refuses `average`.
    """

    name: str
    path: Path
    ticks: int
    inputs: Array | None = None
    input_bias: Array | None = None
    reset_every: int | None = None
    layers: int | None = None


def write_net(path: Path, layers: Sequence[Layer]) -> None:
    """Write layers as SLAYER does: a group for each, types as arrays of one string."""
    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            for field, value in layer.items():
                stored = np.array([value], "S10") if field == "type" else value
                if field != "neuron":
                    file[f"layer/{number}/{field}"] = stored
            for field, value in layer.get("neuron", {}).items():
                file[f"layer/{number}/neuron/{field}"] = value


def random_nets(rng: np.random.Generator) -> dict[str, tuple[list[Layer], int | None]]:
    """Files made at random, by what they try: the layers, and the ticks between resets."""

    def even(*shape: int, most: int = 60) -> Array:
        return np.asarray(2 * rng.integers(-most // 2, most // 2 + 1, shape), np.float32)

    def neuron(size: int | None = None, **more: Any) -> dict[str, Any]:
        decays = {"iDecay": rng.integers(400, 4097, size), "vDecay": rng.integers(0, 1000, size)}
        return {"type": "CUBA", **decays, "vThMant": 60, "refDelay": 1, "gradedSpike": False, **more}

    def dense(out: int, before: int, **more: Any) -> Layer:
        return {"type": "dense", "shape": [out], "weight": even(out, before), "neuron": neuron(), **more}

    def given(*shape: int) -> Layer:
        return {"type": "input", "shape": shape}

    image = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1, "neuron": neuron()}
    return {
        "dense": ([given(12), dense(20, 12), dense(9, 20)], None),
        "large weights": ([given(12), dense(20, 12, weight=even(20, 12, most=254)), dense(9, 20)], None),
        "weights of one sign": (
            [given(12), dense(20, 12, weight=abs(even(20, 12)) + 2), dense(9, 20, weight=-abs(even(9, 20)) - 2)],
            None,
        ),
        "no synaptic filter, no leak": (
            [given(12), dense(20, 12, neuron=neuron(iDecay=4096, vDecay=0)), dense(9, 20, neuron=neuron(vDecay=4096))],
            None,
        ),
        "decays for each neuron": ([given(12), dense(20, 12, neuron=neuron(20)), dense(9, 20, neuron=neuron(9))], None),
        "biases": ([given(12), dense(20, 12, bias=even(20, most=20)), dense(9, 20, bias=even(9, most=20))], 25),
        "delays": (
            [
                given(12),
                dense(20, 12, delay=np.array([0, 62, *rng.integers(0, 63, 18)], np.float32)),
                dense(9, 20, delay=np.array([0, 3, 5, 0, 1, 2, 0, 9, 30], np.float32)),
            ],
            None,
        ),
        "recurrent": (
            [given(12), {**dense(20, 12), "type": "dense_rec", "weight_rec": even(20, 20, most=30)}, dense(9, 20)],
            None,
        ),
        "readout": ([given(12), dense(20, 12), {"type": "dense", "shape": [3], "weight": even(3, 20)}], None),
        "convolutions": (
            [
                given(2, 9, 8),
                {"type": "conv", "shape": [4, 5, 6], "weight": even(4, 2, 3, 2), **image}
                | {"stride": [2, 1], "padding": [1, 0], "dilation": [1, 2], "bias": even(4, most=10)},
                {"type": "conv", "shape": [6, 4, 4], "weight": even(6, 2, 2, 3), **image, "groups": 2},
                {"type": "flatten", "shape": [96]},
                dense(7, 96),
            ],
            25,
        ),
    }


def shipped(wheel: Path, folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """The files in lava-dl's wheel, on lava-dl's own inputs where there are some."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(f"{FOLDER}/")])
    root = folder / FOLDER
    yield Case("mnist.net", root / "mnist.net", 100, input_bias=rng.integers(0, 141, 784))
    image = np.load(root / "gts/tinynet/input_bias.npy").transpose(2, 1, 0)
    yield Case("tiny.net", root / "tiny.net", 100, input_bias=image, reset_every=17)
    path, spikes = root / "gts/ntidigits/ntidigits.net", np.load(root / "gts/ntidigits/input.npy").T
    yield Case("ntidigits.net", path, 400, inputs=spikes[:400], layers=5)


def made(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """The files made here, on random spikes."""
    for name, (layers, reset_every) in random_nets(rng).items():
        path = folder / f"{name}.net"
        write_net(path, layers)
        spikes = (rng.random((100, int(np.prod(layers[0]["shape"])))) < 0.3).astype(np.uint8)
        yield Case(name, path, 100, inputs=spikes, reset_every=reset_every)


def compared(case: Case, lava_dl: Path | None = None) -> list[int]:
    """Layers, neuron-ticks, spikes, spikes that differ, membranes that differ."""
    offset = 0 if case.inputs is None else 1
    options = {"num_layers": case.layers, "reset_interval": case.reset_every, "reset_offset": offset}
    lava = run_netx(case.path, case.ticks, case.inputs, case.input_bias, options, lava_dl)
    graph = read_net(case.path, 1e-3, case.input_bias)
    program = compile_graph(graph, "loihi2", scale="keep", reset_every=case.reset_every, must_fit=False).program
    given = np.zeros((case.ticks, 0), np.uint8) if case.inputs is None else case.inputs.astype(np.uint8)
    run = Simulator(program).run(given[:, None], record_membranes=True)
    totals = np.zeros(4, np.int64)
    populations = [p for p in program.populations if p.kind != "input"]
    for p, spikes, membrane in zip(populations, lava.spikes, lava.membrane, strict=True):
        ours = run.spikes[p.name][:, 0] if p.kind == "lif" else np.zeros_like(spikes)
        other = [np.count_nonzero(a != b) for a, b in ((ours, spikes), (run.membrane[p.name][:, 0], membrane))]
        totals += np.array([spikes.size, np.count_nonzero(spikes), *other])
    return [len(populations), *totals.tolist()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="lava_dl-0.6.0-py3-none-any.whl")
    wheel, rng = parser.parse_args().wheel, np.random.default_rng(0)
    rows, differing = [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in (*shipped(wheel, folder, rng), *made(folder, rng)):
            found = compared(case, wheel)
            rows.append([case.name, str(case.ticks), *(f"{n:,}" for n in found)])
            differing += sum(found[3:])
    print("\n".join(text_table(TITLES, rows)))
    print(f"{differing:,} differences")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
