"""The figures of a profile are NeuroBench's, on networks that its hooks take whole; and what the hooks miss.

`neurobench.json` holds what NeuroBench 2.3.0 says of each network of `neurobench_networks.py`. The nightly test asks
NeuroBench itself:  python -m pytest tests/bench/test_neurobench.py
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

pytest.importorskip("snntorch")

import neurobench_networks as networks
from muspike.bench.profile import Profile, profile
from muspike.bench.workload import workload_of
from muspike.export.from_torch.convert import convert
from muspike.export.subject import Subject
from muspike.hardware.mapping.compile import compile_graph
from muspike.hardware.running.spikes import InputSpikes

FROZEN: dict[str, Any] = json.loads(Path(__file__).with_name("neurobench.json").read_text(encoding="utf-8"))
PAGE = Path(__file__).parents[2] / "docs" / "profile.md"
SYNOPS = ("Dense", "Effective_ACs", "Effective_MACs")


@functools.cache
def ours(name: str) -> Profile:
    """The profile of a network, which goes through NIR onto a Loihi 2."""
    make = networks.EQUAL[name] if name in networks.EQUAL else networks.MISSED[name][1]
    module, sample = make()
    found = convert(module, sample, per_tick=True)
    counts = found.spikes
    assert counts is not None
    subject = Subject(name, found.graph)
    if counts.max() > 1:
        subject = Subject(name, compile_graph(found.graph, "loihi2", graded=True).program)
    spikes = InputSpikes(
        len(counts), counts.shape[1], {"input": (counts != 0).astype(np.uint8)}, counts={"input": counts}
    )
    return profile(subject, workload_of(subject, spikes), "loihi2", size=found.size)


def figures(name: str) -> dict[str, Any]:
    """The same figures as NeuroBench's, under its names: per sequence where they are of a run."""
    found = ours(name).to_dict()
    done, footprint = found["operations_per_sample"], found["footprint"]
    return {
        "ParameterCount": footprint["parameters"],
        "Footprint": footprint["footprint_bytes"],
        "ConnectionSparsity": round(found["connection_sparsity"], 4),  # as NeuroBench does
        "ActivationSparsity": found["activation_sparsity"],
        "Dense": done["synaptic_dense"],
        "Effective_ACs": done["synaptic_effective_acs"],
        "Effective_MACs": done["synaptic_effective_macs"],
        "MembraneUpdates": done["membrane_updates"],
    }


def theirs(name: str) -> dict[str, Any]:
    found = dict(FROZEN[name])
    synops = found.pop("SynapticOperations")
    return found | (synops if synops else dict.fromkeys(SYNOPS, synops))


@pytest.mark.parametrize("name", networks.EQUAL)
def test_every_figure_is_that_of_neurobench(name: str) -> None:
    expected = theirs(name)
    del expected["FootprintAfterTheRun"]
    assert figures(name) == {key: pytest.approx(value, rel=1e-12) for key, value in expected.items()}
    assert expected["Effective_ACs"] > 0 and 0 < expected["ActivationSparsity"] < 1


# What the hooks see otherwise, by the network and the figure: NeuroBench's number, and ours.
DIFFERENT: dict[tuple[str, str], tuple[float, float]] = {
    ("functional", "Dense"): (6720, 12480),
    ("rleaky", "Dense"): (18240, 12480),
    ("one_to_one", "Dense"): (6720, 7000),
    ("shared", "Dense"): (15360, 7680),
    ("own_readout", "MembraneUpdates"): (544.333, 864.333),
    ("leaky_readout", "ActivationSparsity"): (0.7819, 0.6729),
    ("late_reset", "MembraneUpdates"): (637.333, 544.333),
    ("other_library", "ActivationSparsity"): (0, 0.6884),
    ("other_library", "MembraneUpdates"): (0, 943.333),
    ("pooled", "Dense"): (11520, 46080),
    ("pooled", "Effective_MACs"): (6519.333, 0),
    ("pooled", "Effective_ACs"): (0, 10152.667),
    ("counts", "Effective_ACs"): (466.333, 0),
    ("counts", "Effective_MACs"): (130, 596.333),
    ("wide", "Dense"): (1002000.941, 1002001),
}


@pytest.mark.parametrize(("name", "figure"), DIFFERENT)
def test_what_the_hooks_miss(name: str, figure: str) -> None:
    neurobench, own = DIFFERENT[name, figure]
    assert theirs(name)[figure] == pytest.approx(neurobench, rel=1e-9, abs=6e-4)
    assert figures(name)[figure] == pytest.approx(own, rel=1e-9, abs=6e-4)


def test_nothing_else_differs() -> None:
    """A figure that is not in the list is equal, so the list is whole."""
    equal_to_4_decimals = {"ConnectionSparsity": 1.01e-4}  # NeuroBench rounds a float32
    # One-to-one connections have no matrix in NeuroBench; what differs in several figures is listed by one.
    together = {"functional": {"Effective_ACs"}, "rleaky": {"Effective_ACs"}, "shared": {"Effective_ACs"}}
    together["one_to_one"] = {"Effective_ACs", "ConnectionSparsity"}
    together["own_readout"] = together["other_library"] = {"Footprint"}  # the buffers of snnTorch's layer
    for name in networks.MISSED:
        other = theirs(name)
        for figure, own in figures(name).items():
            if (name, figure) in DIFFERENT or figure in together.get(name, ()):
                assert own != other[figure], (name, figure)
            else:
                near = pytest.approx(other[figure], rel=1e-12, abs=equal_to_4_decimals.get(figure, 0))
                assert own == near, (name, figure)


def test_recurrent_layers_of_torch_and_states_in_buffers() -> None:
    assert FROZEN["rnn_layer"]["SynapticOperations"] == 0  # of the whole network: an error that is not raised
    dense = [FROZEN[name]["SynapticOperations"]["Dense"] for name in ("lstm_cell", "lstm_cell_in_silence")]
    assert dense == [26092, 25719]  # it should not depend on the input
    mlp, (module, _) = FROZEN["mlp"], networks.mlp()
    neurons = sum(part.out_features for part in module.modules() if isinstance(part, nn.Linear))
    assert mlp["FootprintAfterTheRun"] - mlp["Footprint"] == 4 * networks.BATCH * neurons


def test_the_page_lists_the_two_numbers() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| `(\w+)` \| (\S+) \| (\S+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    shown = {(name, figure): numbers for name, figure, *numbers in rows}
    assert shown == {of: [f"{number:,}" for number in numbers] for of, numbers in DIFFERENT.items()}


@pytest.mark.nightly
def test_neurobench_says_what_is_frozen() -> None:
    from neurobench_python import neurobench

    found = neurobench(*networks.ALL)
    assert found.keys() == FROZEN.keys()
    for name, frozen in FROZEN.items():
        assert found[name].pop("SynapticOperations") == pytest.approx(frozen["SynapticOperations"], rel=1e-6), name
        rest = {key: value for key, value in frozen.items() if key != "SynapticOperations"}
        assert found[name] == pytest.approx(rest, rel=1e-6), name
