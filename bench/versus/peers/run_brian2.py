"""Run a Program in Brian2's generated C++ (`cpp_standalone`), the fastest way to run Brian2 on a CPU.

Brian2's floats hold the chip's integers exactly. But u does not wrap and v is not clipped, so programs in which u wraps
or v is clipped give other spikes. A Brian2 step first updates the neurons and then adds spikes to the input `a` of
their targets. So a delay of d ticks is a delay of d - 1 steps. The time leaves out compiling, and contains what
Brian2's C++ does before its first step.
"""

import sys
import tempfile
from importlib import metadata

import brian2 as b
import numpy as np
from chip_program import Population, Synapses, inputs, read, report

RUNS = 4

_UPDATE = """
u = sign(u) * floor(abs(u) * keep_u / 4096) + 64 * a
v = sign(v) * floor(abs(v) * keep_v / 4096) + u + bias
a = 0
"""


def main() -> None:
    populations, synapses = read(sys.argv[1])
    given = inputs(populations)
    ticks, warm = len(np.load(sys.argv[2], mmap_mode="r")), int(sys.argv[3])
    before, _ = simulate(populations, synapses, given, warm)
    seconds, spikes = simulate(populations, synapses, given, ticks)
    versions = {"brian2": metadata.version("brian2"), "numpy": np.__version__}
    report(versions, (seconds - before) / (ticks - warm), spikes)


def simulate(populations: list[Population], synapses: list[Synapses], given: dict, ticks: int) -> tuple[float, dict]:
    """The seconds of a run from rest, and the spikes of each population."""
    dt = 1 * b.ms
    with tempfile.TemporaryDirectory(prefix="muspike-brian2-") as folder:
        b.device.reinit()
        b.set_device("cpp_standalone", build_on_run=False)
        b.defaultclock.dt = dt
        b.prefs.devices.cpp_standalone.openmp_threads = 0
        groups = {}
        network = b.Network()
        for p in populations:
            if p.kind == "input":
                at, neuron = np.nonzero(given[p.name])
                group = b.SpikeGeneratorGroup(p.size, neuron, at * dt)
            else:
                group = b.NeuronGroup(
                    p.size,
                    "u : 1\nv : 1\na : 1\nkeep_u : 1\nkeep_v : 1\nbias : 1\nv_threshold : 1",
                    threshold="v > v_threshold",
                    reset="v = 0",
                )
                group.keep_u = 4096 - np.minimum(p.du + 1, 4096)
                group.keep_v = 4096 - p.dv
                group.bias, group.v_threshold = p.bias, 64 * p.v_threshold
                network.add(group.run_regularly(_UPDATE, dt=dt, when="groups"))
            groups[p.name] = group
            network.add(group)
        for s in synapses:
            connection = b.Synapses(
                groups[s.source], groups[s.target], "w : 1", on_pre="a_post += w", delay=(s.delay - 1) * dt
            )
            connection.connect(i=s.sources, j=s.targets)
            connection.w = s.values
            network.add(connection)
        monitors = {p.name: b.SpikeMonitor(groups[p.name]) for p in populations if p.kind != "input"}
        network.add(*monitors.values())
        network.run(ticks * dt)
        b.device.build(directory=folder, run=False)
        seconds = []
        for _ in range(RUNS):
            b.device.run()
            seconds.append(float(b.device._last_run_time))
        sizes = {p.name: p.size for p in populations}
        spikes = {
            name: np.sort(np.round(m.t / dt).astype(np.int64) * sizes[name] + np.asarray(m.i))
            for name, m in monitors.items()
        }
    return min(seconds), spikes


if __name__ == "__main__":
    main()
