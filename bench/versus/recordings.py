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
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.hardware import Simulator, compile_graph, read_net
from muspike.tables import text_table

FOLDER = "tests/lava/lib/dl/netx/gts/pilotnet_lif"
RESET_EVERY, TICKS = 17, 24
AT_A_SPIKE = 128  # what the recording holds as v where a neuron has just spiked; Lava and the simulator hold 0
FILES = ("input", "conv-0", "conv-1", "conv-2", "conv-3", "conv-4", "fc-0", "fc-1", "fc-2")

Array = npt.NDArray[Any]


def in_order(recorded: Array) -> Array:
    """A recording `[x, y, channels, ticks]` or `[neurons, ticks]` as `[ticks, neurons]`, images in C order."""
    return recorded.transpose(*reversed(range(recorded.ndim))).reshape(TICKS, -1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", help="lava_dl-0.6.0-py3-none-any.whl")
    archive = zipfile.ZipFile(parser.parse_args().wheel)

    def array(name: str) -> Array:
        return np.asarray(np.load(io.BytesIO(archive.read(f"{FOLDER}/{name}.npy"))))

    with tempfile.TemporaryDirectory() as folder:
        network = Path(archive.extract(f"{FOLDER}/network.net", folder))
        graph = read_net(network, 1e-3, input_bias=array("image").transpose(2, 1, 0))  # channel, y, x
    program = compile_graph(graph, "loihi2", scale="keep", reset_every=RESET_EVERY, must_fit=False).program
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
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
