"""How closely the chip follows a network that others trained: the recurrent Braille reader of the NIR paper.

    python bench/versus/braille.py

The file is the one that Norse ships for its own tests, in ticks of 1e-4 s. The inputs are random: 64 sequences of 256
ticks. Agreement is the share of the spikes of either network that both have.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from muspike.hardware import compile_graph, from_nir, read_nir, simulate
from muspike.hardware.running.agreement import SpikeAgreement
from muspike.tables import text_table

DT_S, TICKS, SEQUENCES, SENSORS = 1e-4, 256, 64, 12
RATES = (0.02, 0.05, 0.1, 0.2, 0.3)
LAYERS = ("lif1.lif", "lif2")


def main() -> None:
    found = find_spec("norse")
    assert found is not None and found.origin is not None
    graph = from_nir(read_nir(Path(found.origin).parent / "torch/utils/test/braille.nir"), DT_S)
    rows = []
    for chip in ("loihi1", "loihi2"):
        compiled = compile_graph(graph, chip)
        for rate in RATES:
            spikes = (np.random.default_rng(0).random((TICKS, SEQUENCES, SENSORS)) < rate).astype(np.uint8)
            of = {row.population: row for row in simulate(compiled, {"input": spikes}).agreements or ()}
            layers = [of[name] for name in LAYERS]
            told = [f"{row.agreement:.3f}" for row in layers if isinstance(row, SpikeAgreement)]
            rows.append([chip, f"{rate:g}", *told])
    titles = ["chip", "input, spikes per neuron and tick", *(f"agreement in {name}" for name in LAYERS)]
    print("\n".join(text_table(titles, rows)))


if __name__ == "__main__":
    main()
