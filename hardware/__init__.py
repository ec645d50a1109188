"""Any NIR graph on a neuromorphic chip: quantise, retime, partition, simulate in integers, price."""

from typing import TYPE_CHECKING

from muspike.public import lazily

if TYPE_CHECKING:  # the same names, for type checkers
    from muspike.hardware.chip import Chip as Chip
    from muspike.hardware.chip import known_chips as known_chips
    from muspike.hardware.chip import load_chip as load_chip
    from muspike.hardware.cost.activity import Counts as Counts
    from muspike.hardware.cost.activity import count as count
    from muspike.hardware.cost.energy import Energy as Energy
    from muspike.hardware.cost.energy import price as price
    from muspike.hardware.graph import SpikingGraph as SpikingGraph
    from muspike.hardware.mapping.compile import Compiled as Compiled
    from muspike.hardware.mapping.compile import compile_graph as compile_graph
    from muspike.hardware.mapping.compile import spread_over as spread_over
    from muspike.hardware.mapping.fit import use_of as use_of
    from muspike.hardware.program import Program as Program
    from muspike.hardware.reader.file import read_nir as read_nir
    from muspike.hardware.reader.from_nir import from_nir as from_nir
    from muspike.hardware.reader.net import read_net as read_net
    from muspike.hardware.running.classification import Classification as Classification
    from muspike.hardware.running.classification import classify as classify
    from muspike.hardware.running.simulate import Simulation as Simulation
    from muspike.hardware.running.simulate import input_shapes as input_shapes
    from muspike.hardware.running.simulate import simulate as simulate
    from muspike.hardware.running.spikes import InputSpikes as InputSpikes
    from muspike.hardware.running.spikes import random_spikes as random_spikes
    from muspike.hardware.running.spikes import read_labels as read_labels
    from muspike.hardware.running.spikes import read_spikes as read_spikes
    from muspike.hardware.running.spikes import write_spikes as write_spikes
    from muspike.hardware.simulator.events import Run as Run
    from muspike.hardware.simulator.events import Simulator as Simulator

__getattr__, __dir__ = lazily(
    __name__,
    {
        "chip": "Chip known_chips load_chip",
        "cost.activity": "Counts count",
        "cost.energy": "Energy price",
        "graph": "SpikingGraph",
        "mapping.compile": "Compiled compile_graph spread_over",
        "mapping.fit": "use_of",
        "program": "Program",
        "reader.file": "read_nir",
        "reader.from_nir": "from_nir",
        "reader.net": "read_net",
        "running.classification": "Classification classify",
        "running.simulate": "Simulation input_shapes simulate",
        "running.spikes": "InputSpikes random_spikes read_labels read_spikes write_spikes",
        "simulator.events": "Run Simulator",
    },
)

__all__ = __dir__()
