"""Networks that others ran on a Loihi chip and measured, and what muspike predicts for them.

`predict` takes a network and a chip, and nothing else: no measured value, and nothing that was fitted to one. What was
measured is in `measured_runs.toml`, which this file does not read; `measured_runs.py` sets the two side by side.

Counts are those of the deployed program. A network whose weights and inputs are public runs in the simulator. Where
they are not public, spikes are drawn at a stated rate. The band of a prediction then goes from the least to the most
that the network can do: no neuron spikes, or every neuron spikes as often as its refractory period lets it.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.hardware import Simulator, compile_graph, price, read_net
from muspike.hardware.chip import Chip
from muspike.hardware.constant import Tag
from muspike.hardware.cost.activity import Counter
from muspike.hardware.cost.quantity import Quantity
from muspike.hardware.graph import Population, SpikingGraph, Synapses
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program

Array = npt.NDArray[Any]
Spikes = Mapping[str, Array]

PILOTNET = "tests/lava/lib/dl/netx/gts/pilotnet_lif"  # in the wheel of lava-dl 0.6.0
PILOTNET_STEPS = 16  # of an inference, after which every neuron is reset (pilotnet_snn/benchmark.ipynb)
KEYWORD_STEPS = 10  # of an inference: the logs have 20,000 steps for 2,000 inferences
KEYWORD_INPUTS, KEYWORD_HIDDEN = 390, 256
LAYERS_OF_A_COPY = 10
NEVER, EVERY_SECOND_STEP = 0.0, 0.5  # with a refractory period of one step, no neuron fires in two steps that follow
ASSUMED_RATE = 0.1


@dataclass(frozen=True)
class Figure:
    """A predicted number.

    Attributes:
        value, low, high: the number and its band.
        unit: its unit; "" for counts.
        tag: the weakest tag of the constants in it; for counts, `simulated` if the spikes are those of the simulator,
            `assumed` if they were drawn.
        band_known: False if a constant in it has no published spread.
    """

    value: float
    low: float
    high: float
    unit: str
    tag: Tag
    band_known: bool = True

    def less(self, other: Figure) -> Figure:
        """What this has more than `other`, which has the same constants and at most as many of all events."""
        ends = {end: getattr(self, end) - getattr(other, end) for end in ("value", "low", "high")}
        return replace(self, **ends, band_known=self.band_known and other.band_known)


@dataclass(frozen=True, eq=False)
class Network:
    """A deployed network and what it does.

    Attributes:
        program: the network on the chip.
        steps: steps of an inference; 1 if what was measured is per step.
        runs: spikes by population, `[ticks, batch, size]`: under `value` those that are priced, under other names the
            alternatives that a band has to hold.
        drawn: whether the spikes were drawn at an assumed rate.
        warm_up: ticks at the beginning that are left out.
        cores_between: fewest and most cores, where sources disagree on what a core holds.
    """

    program: Program
    steps: int
    runs: Mapping[str, Spikes]
    drawn: bool
    warm_up: int = 1
    cores_between: tuple[int, int] | None = None


def predict(network: Network, chip: Chip) -> dict[str, Figure]:
    """Counts, energy and time of a network on a chip, free-running.

    Returns:
        by name: `dynamic` and `total` energy in uJ per inference, `static_power` in mW, `step` time in us, `synops` and
        `neuron_updates` per step, `cores`.
    """
    found = {name: _predict(network, spikes, chip) for name, spikes in network.runs.items()}
    figures = {}
    for name, figure in found["value"].items():
        alike = [run[name] for run in found.values()]
        low, high = min(f.low for f in alike), max(f.high for f in alike)
        figures[name] = replace(figure, low=low, high=high)
    return figures


def _predict(network: Network, spikes: Spikes, chip: Chip) -> dict[str, Figure]:
    program, first = network.program, network.warm_up
    ticks, batch = next(iter(spikes.values())).shape[:2]
    counter = Counter(program, batch)
    counter.count({name: s[:first] for name, s in spikes.items()})  # what it sends arrives in what is counted below
    counts = counter.count({name: s[first:] for name, s in spikes.items()})
    steps = (ticks - first) * batch
    energy = price(counts, chip)
    tag: Tag = "assumed" if network.drawn else "simulated"

    def of(quantity: Quantity, unit: str, shares: float = 1) -> Figure:
        q = (quantity / shares).to(unit)
        return Figure(q.value, q.low, q.high, unit, q.tag, q.band_known)

    def count(total: float) -> Figure:
        return Figure(total / steps, total / steps, total / steps, "", tag)

    few, many = network.cores_between or (program.n_cores, program.n_cores)
    return {
        "dynamic": of(energy.dynamic, "uJ", steps / network.steps),
        "total": of(energy.total, "uJ", steps / network.steps),
        "static_power": of(energy.waiting, "mW"),
        "step": of(energy.latency, "us", steps),
        "synops": count(float(counts.synops.sum())),
        "neuron_updates": count(float(counts.neuron_updates.sum())),
        "cores": Figure(program.n_cores, few, many, "", "inferred" if network.cores_between else "simulated"),
    }


# --- networks whose weights and inputs are public: the simulator's own spikes


def pilotnet(wheel: Path, chip: Chip) -> Network:
    """PilotNet-LIF of lava-dl's benchmark, on the image in lava-dl's test data.

    The benchmark repeats one frame of a data set that does not come with lava-dl. The alternatives show how far another
    image moves the counts: the negative of the image, its pixels in random order, and its mean everywhere.
    """
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        image = np.asarray(np.load(io.BytesIO(archive.read(f"{PILOTNET}/image.npy")))).transpose(2, 1, 0)
        graph = read_net(Path(archive.extract(f"{PILOTNET}/network.net", folder)), 1e-3, input_bias=image)
    compiled = compile_graph(graph, chip, scale="keep", reset_every=PILOTNET_STEPS)
    images = {
        "value": image,
        "negative": image.max() + image.min() - image,
        "shuffled": np.random.default_rng(0).permutation(image.ravel()).reshape(image.shape),
        "mean": np.full_like(image, round(image.mean())),
    }
    runs = {name: _on_image(compiled.program, other) for name, other in images.items()}
    return Network(compiled.program, PILOTNET_STEPS, runs, False, 2 * PILOTNET_STEPS, compiled.cores_between)


def _on_image(program: Program, image: Array) -> Spikes:
    first, *others = program.populations
    exponent = 6  # as lava-dl's reader has it: a bias is in units of 64 membrane units
    of_image = replace(
        first, bias_mant=image.ravel().astype(np.int32), bias_exp=np.full(first.size, exponent, np.int32)
    )
    run = Simulator(replace(program, populations=(of_image, *others)))
    return run.run(np.zeros((4 * PILOTNET_STEPS, 1, 0), np.uint8)).spikes


def pair(bias: int, chip: Chip, delay: int = 0, ticks: int = 20_000) -> Network:
    """Two LIF neurons and one synapse (NECOTIS/TemporalLearningInRSNNs, `loihi_experiment/delay.py`).

    Args:
        bias: mantissa of the first neuron's bias; 417, 470 and 640 make it fire 25, 50 and 100 times in 1,000 steps.
        chip: the chip.
        delay: steps of the synapse beyond the one that every synapse takes.
        ticks: length of the run.
    """

    def neuron(name: str, level: int, dv: int, bias_mant: int) -> ChipPopulation:
        def one(number: int) -> npt.NDArray[np.int32]:
            return np.full(1, number, np.int32)

        registers = (one(4095), one(dv), one(64), one(bias_mant), one(0))  # du, dv, threshold, bias and its exponent
        return ChipPopulation(name, 1, "lif", level, *registers, scale=np.ones(1), core=one(0))

    synapse = ChipSynapses("w", "source", "target", np.full((1, 1), 128, np.int16), 0, 1 + delay)
    neurons = [neuron("source", 0, 410, bias), neuron("target", 1, 4095, 0)]
    program = Program(chip.name, 1e-3, neurons, [synapse], np.zeros((1, 2), np.int32))
    spikes = Simulator(program).run(np.zeros((ticks, 1, 0), np.uint8)).spikes
    return Network(program, 1, {"value": spikes}, False, warm_up=ticks // 10)


# --- networks of which only the shape is public: spikes drawn at a rate


def keyword_spotter(chip: Chip) -> Network:
    """Blouw et al. 2019: 390 inputs, two hidden layers of 256 on the chip; the 29 outputs are decoded on the host.

    Each of the 390 dimensions is a pair of axons of which one fires in each step: what nengo-loihi makes of an input in
    -1..1 (`decode_neurons.OnOffDecodeNeurons`: the rates of the two neurons sum to one spike per step).
    """
    return _drawn(_spotter(copies=0), chip)


def keyword_spotter_on_host_spikes(chip: Chip) -> Network:
    """The same network with its first hidden layer on the host, as in nengo-loihi's public example of it."""
    populations = [_population("input", KEYWORD_HIDDEN, "input"), _population("last", KEYWORD_HIDDEN)]
    graph = SpikingGraph(populations, [_dense("input", "last", populations)], 1e-3, outputs=("last",))
    return _drawn(graph, chip, of_inputs=(ASSUMED_RATE, NEVER, EVERY_SECOND_STEP))


def scaled_spotter(copies: int, chip: Chip) -> Network:
    """The keyword spotter with `copies` chains of ten layers of 256 between its two (`ScaledModel` of abr's models)."""
    return _drawn(_spotter(copies), chip)


def _spotter(copies: int) -> SpikingGraph:
    populations = [_population("input", 2 * KEYWORD_INPUTS, "input"), _population("first", KEYWORD_HIDDEN)]
    ends = [("input", "first")]
    for copy in range(copies):
        chain = [f"copy{copy}layer{layer}" for layer in range(LAYERS_OF_A_COPY)]
        populations += [_population(name, KEYWORD_HIDDEN) for name in chain]
        ends += [*zip(["first", *chain], [*chain, "last"], strict=True)]
    populations.append(_population("last", KEYWORD_HIDDEN))
    ends += [] if copies else [("first", "last")]
    synapses = [_dense(source, target, populations) for source, target in ends]
    return SpikingGraph(populations, synapses, 1e-3, outputs=("last",))


def _population(name: str, size: int, kind: Any = "lif") -> Population:
    one = np.ones(size)
    threshold = np.inf if kind == "input" else 100.0
    return Population(name, kind, size, one * np.inf, one, v_threshold=one * threshold, bias=0 * one)


def _dense(source: str, target: str, populations: list[Population]) -> Synapses:
    """Full lists. Their numbers do not matter, because the spikes are drawn; they are whole so that they are kept."""
    sizes = {p.name: p.size for p in populations}
    return Synapses(f"{source}->{target}", source, target, np.full((sizes[target], sizes[source]), 2.0), 0)


def _drawn(graph: SpikingGraph, chip: Chip, of_inputs: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> Network:
    """A graph with spikes drawn at a rate, at none and at the most; `of_inputs` are these three rates of its inputs."""
    compiled = compile_graph(graph, chip, scale="keep")
    rates = {"value": ASSUMED_RATE, "low": NEVER, "high": EVERY_SECOND_STEP}
    runs = {}
    for (name, rate), of_input in zip(rates.items(), of_inputs, strict=True):
        rng, ticks = np.random.default_rng(0), 1 + 10 * KEYWORD_STEPS
        runs[name] = {
            p.name: (rng.random((ticks, 2, p.size)) < (of_input if p.kind == "input" else rate)).astype(np.uint8)
            for p in compiled.program.populations
        }
    return Network(compiled.program, KEYWORD_STEPS, runs, True)
