"""A network as a NIR graph, node by node.

Every population becomes an Input, LIF or LI node. Every synapse becomes a Linear node, or a Scale node if it joins
neurons one to one. A synapse with a delay gets a Delay node before it. The one-tick recurrence of a population onto
itself is written as the plain cycle LIF -> Linear -> LIF, which readers of NIR break at one tick. Times are in seconds.
The graph's metadata holds the length of a tick as `dt`.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nir
import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.export.float_run import interpreted
from muspike.export.presentation import Presentation
from muspike.export.recording import Recording, Spikes
from muspike.export.targets import Options
from muspike.export.verify import Judgement
from muspike.hardware.reader.file import read_nir
from muspike.hardware.reader.from_nir import from_nir
from muspike.network import Network, Population, Synapse

if TYPE_CHECKING:
    from muspike.export.subject import Stimulus, Subject


def to_nir(network: Network, metadata: dict[str, Any] | None = None) -> nir.NIRGraph:
    """Write `network` as a NIR graph.

    The graph's metadata holds `dt` (in seconds), the network's `Presentation`, and what `metadata` adds. The one input
    has the axons of the noise, of what sounds and of the labels behind those of a token.

    Raises:
        BadInput: two nodes would share a name.
    """
    timing = network.timing
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[tuple[str, str]] = []

    def add(name: str, node: nir.NIRNode) -> None:
        if name in nodes:
            raise BadInput(f"node {name}: a population, a synapse or the output also has this name")
        nodes[name] = node

    for population in network.populations.values():
        add(population.name, _node(population, timing.dt_s))
    add("output", nir.Output(np.array([network.populations[network.readout].size])))
    edges.append((network.readout, "output"))
    for synapse in network.synapses:
        add(synapse.name, _weights(network, synapse))
        source = synapse.source
        plain_cycle = synapse.source == synapse.target and synapse.delay == 1
        if synapse.delay and not plain_cycle:
            source = f"{synapse.name}_delay"
            add(source, nir.Delay(np.full(network.populations[synapse.source].size, synapse.delay * timing.dt_s)))
            edges.append((synapse.source, source))
        edges += [(source, synapse.name), (synapse.name, synapse.target)]
    about = {"dt": timing.dt_s, **Presentation.of(network).to_metadata(), **(metadata or {})}
    # Types are not checked: along a cycle, nir 1.0.8 infers shapes in an order that it cannot always resolve.
    return nir.NIRGraph(nodes, edges, metadata=about, type_check=False)


def _weights(network: Network, synapse: Synapse) -> nir.NIRNode:
    if synapse.wires is None:
        return nir.Linear(network.matrix(synapse, network.weights[synapse.name].detach()).numpy())
    wires = np.asarray(synapse.wires, np.float32)
    size = network.populations[synapse.target].size
    return nir.Linear(wires) if wires.ndim else nir.Scale(np.full(size, wires))


def _node(population: Population, dt_s: float) -> nir.NIRNode:
    def per_neuron(value: float | tuple[float, ...]) -> npt.NDArray[np.float64]:
        return np.broadcast_to(np.asarray(value, np.float64), population.size).copy()

    tau = per_neuron(population.tau) * dt_s
    zero, one = per_neuron(0.0), per_neuron(1.0)
    if population.kind == "input":
        return nir.Input(np.array([population.size]))
    if population.kind == "li":
        return nir.LI(tau=tau, r=one, v_leak=zero)
    threshold = per_neuron(population.v_threshold)
    return nir.LIF(tau=tau, r=one, v_leak=zero, v_threshold=threshold, v_reset=zero)


def write(subject: Subject, path: Path, options: Options) -> None:
    """See `targets.Exporter`."""
    graph = subject.nir_graph()
    if options["for"] is None and options["python"] is not None:
        raise BadInput("--python names an interpreter that has the tool of --for; give --for too, or leave it out")
    if options["for"] is not None:
        from muspike.export.readers.rewrite import rewrite

        graph = rewrite(graph, options["for"])
    # The content is made in memory first: if a disk refuses, HDF5 raises no error, but brings Python down.
    content = io.BytesIO()
    nir.write(content, graph)
    path.write_bytes(content.getbuffer())


def judgement(subject: Subject, options: Options) -> Judgement:
    """See `targets.Exporter`."""
    if options["for"] is None:
        return Judgement("the network in float64", "the file read back and interpreted")
    from muspike.export.readers.run import known_reader

    return Judgement("the network in float64", f"the file in {known_reader(options['for']).what}", batch=2)


def expect(subject: Subject, stimulus: Stimulus, options: Options) -> Recording:
    """See `targets.Exporter`."""
    from muspike.export.references import float_reference

    recording = float_reference(subject, stimulus)
    # A reader gives the spikes of its neurons; its readout has another scale.
    return recording if options["for"] is None else Recording(recording.spikes)


def run(path: Path, inputs: Spikes, options: Options) -> Recording:
    """See `targets.Exporter`: the file, run by the interpreter of `hardware` in float64, or by the reader it is for."""
    if options["for"] is not None:
        from muspike.export.readers.rewrite import populations_of
        from muspike.export.readers.run import run_in

        names = populations_of(read_nir(path))
        spikes = run_in(options["for"], path, np.asarray(inputs, np.uint8), options["python"])
        return Recording({names[node]: fired for node, fired in spikes.items() if node in names})
    return interpreted(from_nir(read_nir(path)), inputs)
