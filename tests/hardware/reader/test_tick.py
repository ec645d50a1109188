"""The dt of a graph is asked for, never guessed, and the question names the dt that the graph's numbers suggest."""

from __future__ import annotations

import re
from pathlib import Path

import nir
import numpy as np
import pytest

from muspike.errors import BadInput
from muspike.hardware import interpreter
from muspike.hardware.reader.file import read_nir
from muspike.hardware.reader.from_nir import from_nir
from published import braille_reader
from small_nir import chain

TRACES = Path(__file__).parents[3].parent / "shared" / "traces"


def lif(tau: float | list[float], r: float | list[float]) -> nir.LIF:
    one = np.ones(2)
    return nir.LIF(tau=tau * one, r=r * one, v_leak=0 * one, v_threshold=one, v_reset=0 * one)


def cuba(tau_syn: float, w_in: float, tau_mem: float, r: float) -> nir.CubaLIF:
    one = np.ones(2)
    return nir.CubaLIF(tau_syn * one, tau_mem * one, r * one, 0 * one, one, 0 * one, w_in * one)


def question(*neurons: nir.NIRNode) -> str:
    nodes = {"in": nir.Input(np.array([2]))}
    for i, neuron in enumerate(neurons):
        nodes |= {f"w{i}": nir.Linear(np.eye(2)), f"n{i}": neuron}
    nodes["out"] = nir.Output(np.array([2]))
    with pytest.raises(BadInput, match="does not say its dt") as error:
        from_nir(nir.NIRGraph(nodes, chain(*nodes), type_check=False))
    return str(error.value)


@pytest.mark.parametrize(
    ("neurons", "told"),
    [
        ([lif(2e-3, 20)], "Its numbers suggest 0.0001: r = tau / 0.0001 in node 'n0'. "),
        ([lif([2e-3, 3e-3], [0.8e1, 1.2e1])], "Its numbers suggest 0.00025: r = tau / 0.00025 in node 'n0'. "),
        (
            [cuba(2e-3, 2, 5e-3, 5), lif(1e-2, 1), lif(7e-3, 7)],
            "suggest 0.001: w_in = tau_syn / 0.001 and r = tau_mem / 0.001 in node 'n0' (and 1 more alike). ",
        ),
        ([nir.IF(r=np.full(2, 1e4), v_threshold=np.ones(2))], "suggest 0.0001: r = 1 / 0.0001 in node 'n0'. "),
    ],
)
def test_ratios_that_agree_suggest_a_dt(neurons: list[nir.NIRNode], told: str) -> None:
    assert told in question(*neurons)


@pytest.mark.parametrize(
    "neurons",
    [
        [lif(2e-3, 1)],  # r = 1 is what most tools write
        [lif(2e-3, 0.5)],  # dt above tau
        [lif(2e-3, 0)],
        [lif([2e-3, 3e-3], 10)],  # a resistance
        [lif(2e-3, 20), lif(2e-3, 10)],  # two of them
        [lif(2e-2, 7.3)],  # one ratio, and no round number: chance
        [cuba(2e-3, 2, 5e-3, 4)],
        [nir.IF(r=np.full(2, 3.0), v_threshold=np.ones(2))],
        [lif(-1e-3, 10)],
        [lif(float("nan"), 10)],
        [lif(1e-3, float("inf"))],
    ],
)
def test_other_numbers_suggest_none(neurons: list[nir.NIRNode]) -> None:
    assert "suggest" not in question(*neurons)


def test_nodes_of_nested_graphs_count() -> None:
    inner = {"i": nir.Input(np.array([2])), "n": lif(2e-3, 20), "o": nir.Output(np.array([2]))}
    nodes = {
        "in": nir.Input(np.array([2])),
        "part": nir.NIRGraph(inner, chain(*inner), type_check=False),
        "out": nir.Output(np.array([2])),
    }
    with pytest.raises(BadInput, match=re.escape("r = tau / 0.0001 in node 'part.n'")):
        from_nir(nir.NIRGraph(nodes, chain(*nodes), type_check=False))


def test_the_published_braille_network_suggests_the_dt_it_was_trained_with() -> None:
    told = "Its numbers suggest 0.0001: w_in = tau_syn / 0.0001 and r = tau_mem / 0.0001 in node 'lif1.lif' (and 1 more"
    with pytest.raises(BadInput, match=re.escape(told)):
        from_nir(read_nir(braille_reader()))


def test_what_a_wrong_dt_looks_like() -> None:
    """The figures of docs/map.md: the LIF that Norse ran for the NIR paper, with its recorded input and spikes."""
    if not TRACES.is_dir():
        pytest.skip("shared/traces is not here")
    recorded = np.loadtxt(TRACES / "lif_norse.csv", delimiter=",")
    network = read_nir(TRACES / "lif_norse.nir")
    with pytest.raises(BadInput, match=r"norse 1e-3 \(its files of the NIR paper: 1e-4\)") as error:
        from_nir(network)
    assert "suggest" not in str(error.value)
    fired = {}
    for dt in (1e-4, 1e-3):
        spikes, _ = interpreter.run(from_nir(network, dt), {"input": recorded[:, :1, None].astype(np.uint8)})
        fired[dt] = spikes["1"][:, 0, 0]
    assert np.array_equal(fired[1e-4], recorded[:, 2]) and recorded[:, 2].sum() == 4
    assert np.array_equal(fired[1e-3], recorded[:, 0]) and recorded[:, 0].sum() == 34
