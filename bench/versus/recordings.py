"""Hold the simulator against Intel's recording of PilotNet-LIF: every spike, current and membrane of nine layers.

The network and the recording are test data of lava-dl 0.6.0 (BSD-3-Clause) and lie in its wheel. The recording is of 24
ticks on one image, whose pixels are the biases of the first layer. Every neuron is reset in every 17th tick, a layer
one tick later than the one before it. That is inferred from the recording itself: lava-dl's own test passes 16, which
fits the first period alone. The readout behind the nine layers is left out: its recording has 25 ticks in floating
point, and does not follow from the recorded spikes of the layer before it.

    pip download --no-deps --ignore-requires-python lava-dl==0.6.0
    python bench/versus/recordings.py lava_dl-0.6.0-py3-none-any.whl
"""

from __future__ import annotations

import argparse
import io
import zipfile
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from muspike.hardware import Program, Simulator
from muspike.hardware.program import ChipPopulation, ChipSynapses
from muspike.hardware.weights import Conv, Weights
from muspike.tables import text_table

FOLDER = "tests/lava/lib/dl/netx/gts/pilotnet_lif"
RESET_EVERY, TICKS = 17, 24
BIAS_EXP = 6
AT_A_SPIKE = 128  # what the recording holds as v where a neuron has just spiked; Lava and the simulator hold 0
FILES = ("input", "conv-0", "conv-1", "conv-2", "conv-3", "conv-4", "fc-0", "fc-1", "fc-2")

Array = npt.NDArray[Any]


def population(name: str, level: int, neuron: Any, bias: Array) -> ChipPopulation:
    """A layer of the file: its registers are the integers that stand there."""

    def register(key: str, less: int = 0) -> Array:
        return np.full(bias.size, int(np.asarray(neuron[key]).ravel()[0]) - less, np.int32)

    return ChipPopulation(
        name=name,
        size=bias.size,
        kind="lif",
        level=level,
        du=register("iDecay", 1),
        dv=register("vDecay"),
        v_threshold=register("vThMant"),
        bias_mant=bias.astype(np.int32).ravel(),
        bias_exp=np.full(bias.size, BIAS_EXP, np.int32),
        scale=np.full(bias.size, 64.0),
        core=np.zeros(bias.size, np.int32),
        reset_interval=RESET_EVERY,
        reset_offset=level,
    )


def pilotnet(layers: Any, image: Array) -> Program:
    """The network of the file as a chip program. `image` `[channels, y, x]`: the biases of the first layer."""
    populations, synapses = [population("0", 0, layers["0"]["neuron"], image)], []
    shape = image.shape
    for key in sorted(layers, key=int):
        layer = layers[key]
        kind = np.asarray(layer["type"])[0].decode()
        if kind not in ("conv", "dense"):
            continue
        before, level = populations[-1], len(populations)
        numbers = np.asarray(layer["weight"]).astype(np.int16)
        weight: Weights
        if kind == "conv":
            out = tuple(int(n) for n in layer["shape"])
            stride, padding = (tuple(int(n) for n in layer[what]) for what in ("stride", "padding"))
            weight = Conv(numbers, shape, out, stride=stride, padding=padding)  # type: ignore[arg-type]
            bias = np.repeat(np.asarray(layer["bias"]), out[1] * out[2])
            shape = out  # type: ignore[assignment]
        else:
            weight = numbers.reshape(-1, before.size)
            bias = np.asarray(layer["bias"]).reshape(len(weight))
        populations.append(population(key, level, layer["neuron"], bias))
        synapses.append(ChipSynapses(f"onto {key}", before.name, key, weight, 0, 1))
    return Program("loihi2", 1e-3, populations, synapses, np.zeros((1, 2), np.int32), {})


def in_order(recorded: Array) -> Array:
    """A recording `[x, y, channels, ticks]` or `[neurons, ticks]` as `[ticks, neurons]`, images in C order."""
    return recorded.transpose(*reversed(range(recorded.ndim))).reshape(TICKS, -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", help="lava_dl-0.6.0-py3-none-any.whl")
    archive = zipfile.ZipFile(parser.parse_args().wheel)

    def array(name: str) -> Array:
        return np.asarray(np.load(io.BytesIO(archive.read(f"{FOLDER}/{name}.npy"))))

    with h5py.File(io.BytesIO(archive.read(f"{FOLDER}/network.net")), "r") as file:
        program = pilotnet(file["layer"], array("image").transpose(2, 1, 0))
    run = Simulator(program).run(np.zeros((TICKS, 1, 0), np.uint8), record_membranes=True)
    rows, total, differing = [], 0, 0
    for p, name in zip(program.populations[: len(FILES)], FILES, strict=True):
        fired = run.spikes[p.name][:, 0].astype(bool)
        states = {"u": run.current[p.name][:, 0], "v": np.where(fired, AT_A_SPIKE, run.membrane[p.name][:, 0])}
        spikes = int((fired != in_order(array(name))).sum())
        counts = {"u": "not recorded", "v": "not recorded"}
        if name != "input":
            for what, ours in states.items():
                off = int((ours != in_order(array(f"{name}-{what}"))).sum())
                counts[what], differing = str(off), differing + off
        rows.append([name, f"{fired.size:,}", f"{int(fired.sum()):,}", str(spikes), counts["u"], counts["v"]])
        total, differing = total + fired.size, differing + spikes
    print("\n".join(text_table(["layer", "neuron-ticks", "spikes", "other spikes", "other u", "other v"], rows)))
    print(f"{total:,} neuron-ticks; {differing:,} differences (v at a spike: {AT_A_SPIKE} there, 0 here)")


if __name__ == "__main__":
    main()
