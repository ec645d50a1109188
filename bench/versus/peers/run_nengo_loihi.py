"""Run a Program in nengo-loihi's emulator of the chip. The blocks get integers directly, not through Nengo's floats.

The emulator has no delays, so a program with a delay above 1 is refused. Blocks may be larger than a core.
"""

import sys
import time
from importlib import metadata
from types import SimpleNamespace

import numpy as np
from chip_program import inputs, read, report
from nengo_loihi.block import Axon, LoihiBlock, Synapse
from nengo_loihi.emulator.interface import EmulatorInterface
from nengo_loihi.inputs import SpikeInput

V_MAX = 2**23 - 1


def main() -> None:
    populations, synapses = read(sys.argv[1])
    given = inputs(populations)
    ticks, warm = len(np.load(sys.argv[2], mmap_mode="r")), int(sys.argv[3])
    blocks, hosts = {}, {}
    for p in populations:
        if p.kind == "input":
            hosts[p.name] = SpikeInput(p.size)
            for t, spikes in enumerate(given[p.name]):
                hosts[p.name].add_spikes(t + 1, np.flatnonzero(spikes))
            continue
        block = blocks[p.name] = LoihiBlock(p.size)
        c = block.compartment
        c.decay_u, c.decay_v = p.du.astype(np.int32), p.dv.astype(np.int32)
        c.vth, c.bias = (64 * p.v_threshold).astype(np.int32), p.bias.astype(np.int32)
        c.vmin, c.vmax, c.scale_u, c.scale_v = -V_MAX, V_MAX, False, False
    for s in synapses:
        if s.delay != 1:
            raise SystemExit(f"a delay of {s.delay} ticks; the emulator knows 1 only")
        size = next(p.size for p in populations if p.name == s.source)
        bounds = np.searchsorted(s.sources, np.arange(1, size))
        synapse, axon = Synapse(size), Axon(size)
        synapse._set_weights_indices(
            np.split((64 * s.values).astype(np.int32), bounds), np.split(s.targets, bounds), weight_dtype=np.int32
        )
        axon.target = synapse
        blocks[s.target].add_synapse(synapse)
        (hosts[s.source] if s.source in hosts else blocks[s.source]).add_axon(axon)
    model = SimpleNamespace(blocks=list(blocks.values()), inputs=list(hosts.values()), probes=[], dt=1e-3)
    emulator = EmulatorInterface(model, seed=0)
    emulator.compartment.ref[:] = 0
    seconds = 0.0
    spiked: dict[str, list] = {name: [] for name in blocks}
    for t in range(ticks):
        start = time.perf_counter()
        emulator.step()
        if t >= warm:
            seconds += time.perf_counter() - start
        for name, block in blocks.items():
            at = np.flatnonzero(emulator.compartment.spiked[emulator.block_info.slices[block]])
            spiked[name].append(t * block.compartment.n_compartments + at)
    versions = {name: metadata.version(name) for name in ("nengo-loihi", "nengo", "numpy")}
    report(versions, seconds / (ticks - warm), {name: np.concatenate(at) for name, at in spiked.items()})


if __name__ == "__main__":
    main()
