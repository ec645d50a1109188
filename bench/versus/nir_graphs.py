"""The graphs that `nir_readers.py` gives to every reader of NIR: each primitive alone, and what readers disagree on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import nir
import numpy as np
import numpy.typing as npt

from muspike.hardware.reader.file import read_nir

SIZE = 6
IMAGE = (2, 4, 4)  # channels, y, x


class Case(NamedTuple):
    """A graph.

    Attributes:
        what: the graph in words, as it stands in the table.
        make: the graph, from the tick in seconds.
        dt_s: its tick; None: the one that the reader assumes.
    """

    what: str
    make: Callable[[float], nir.NIRGraph]
    dt_s: float | None = None


def _chain(*nodes: tuple[str, Any]) -> nir.NIRGraph:
    edges = [(a[0], b[0]) for a, b in itertools.pairwise(nodes)]
    return nir.NIRGraph(dict(nodes), edges, type_check=False)


def _numbers(*shape: int) -> npt.NDArray[np.float32]:
    """Multiples of 1/16: sums are exact in single precision, and no threshold is such a sum."""
    return (np.random.default_rng(3).integers(-8, 17, shape) / 16).astype(np.float32)


def _of(value: Any, size: int = SIZE) -> npt.NDArray[np.float64]:
    return np.broadcast_to(np.asarray(value, np.float64), size).copy()


def alone(node: Any, into: tuple[int, ...] = (SIZE,), out: tuple[int, ...] = (SIZE,)) -> nir.NIRGraph:
    """Input -> the node -> Output."""
    return _chain(("input", nir.Input(np.array(into))), ("node", node), ("output", nir.Output(np.array(out))))


def behind_weights(neuron: Any, size: int = SIZE) -> nir.NIRGraph:
    """Input -> Affine -> the neuron -> Output."""
    affine = nir.Affine(2 * _numbers(size, SIZE), np.zeros(size, np.float32))
    parts = ("input", nir.Input(np.array([SIZE]))), ("weights", affine), ("neuron", neuron)
    return _chain(*parts, ("output", nir.Output(np.array([size]))))


def lif(dt_s: float, ticks: Any = 4, size: int = SIZE, **values: Any) -> nir.LIF:
    """A LIF of `ticks` ticks."""
    given = {"r": 1, "v_leak": 0, "v_reset": 0, "v_threshold": 0.26, **values}
    return nir.LIF(tau=_of(ticks, size) * dt_s, **{key: _of(value, size) for key, value in given.items()})


def cuba(dt_s: float, **values: Any) -> nir.CubaLIF:
    """A CubaLIF of 2 and 4 ticks."""
    given = {"r": 1, "v_leak": 0, "v_reset": 0, "v_threshold": 0.25, "w_in": 1, **values}
    taus = {"tau_syn": _of(2) * dt_s, "tau_mem": _of(4) * dt_s}
    return nir.CubaLIF(**taus, **{key: _of(value) for key, value in given.items()})


def cycle(dt_s: float, recurrent: Any = None) -> nir.NIRGraph:
    """Input -> Affine -> LIF -> Output, and LIF -> Linear -> LIF."""
    graph = behind_weights(lif(dt_s))
    graph.nodes["recurrent"] = nir.Linear(_numbers(SIZE, SIZE).T.copy() - 0.25) if recurrent is None else recurrent
    graph.edges += [("neuron", "recurrent"), ("recurrent", "neuron")]
    return graph


def two_in_a_cycle(dt_s: float) -> nir.NIRGraph:
    """Two populations that excite each other."""
    graph = behind_weights(lif(dt_s))
    graph.nodes |= {
        "there": nir.Affine(_numbers(SIZE, SIZE), np.zeros(SIZE, np.float32)),
        "second": lif(dt_s, v_threshold=0.11),
        "back": nir.Affine(_numbers(SIZE, SIZE).T.copy(), np.zeros(SIZE, np.float32)),
    }
    graph.edges += [("neuron", "there"), ("there", "second"), ("second", "back"), ("back", "neuron")]
    return graph


def join(dt_s: float) -> nir.NIRGraph:
    """Two ways to one neuron: one through a hidden population, and one past it."""
    graph = behind_weights(lif(dt_s))
    graph.nodes |= {
        "there": nir.Affine(_numbers(SIZE, SIZE), np.zeros(SIZE, np.float32)),
        "last": lif(dt_s, v_threshold=0.11),
        "past": nir.Affine(_numbers(SIZE, SIZE).T.copy(), np.zeros(SIZE, np.float32)),
    }
    graph.edges = [
        ("input", "past"),
        ("past", "last"),
        ("input", "weights"),
        ("weights", "neuron"),
        ("neuron", "there"),
        ("there", "last"),
        ("last", "output"),
    ]
    return graph


def nested(dt_s: float) -> nir.NIRGraph:
    """The plain cycle inside a graph of its own, with an Affine before it."""
    inner = nir.NIRGraph(
        {
            "input": nir.Input(np.array([SIZE])),
            "lif": lif(dt_s),
            "recurrent": nir.Affine(_numbers(SIZE, SIZE).T.copy(), np.zeros(SIZE, np.float32)),
            "output": nir.Output(np.array([SIZE])),
        },
        [("input", "lif"), ("lif", "recurrent"), ("recurrent", "lif"), ("lif", "output")],
        type_check=False,
    )
    graph = behind_weights(inner)
    return graph


def at_the_threshold(dt_s: float) -> nir.NIRGraph:
    """Weights and thresholds for which the membrane often equals the threshold."""
    graph = behind_weights(lif(dt_s, ticks=2, v_threshold=0.5))
    graph.nodes["weights"] = nir.Affine(np.eye(SIZE, dtype=np.float32), np.zeros(SIZE, np.float32))
    return graph


def single_numbers(dt_s: float) -> nir.NIRGraph:
    """A LIF whose parameters have one element, which stands for all neurons."""
    values = {"r": 1.0, "v_leak": 0.0, "v_reset": 0.0, "v_threshold": 0.26}
    return behind_weights(nir.LIF(tau=np.array([4 * dt_s]), **{k: np.array([v]) for k, v in values.items()}))


def output_with_batch(dt_s: float) -> nir.NIRGraph:
    """An Output whose shape begins with a batch of 2."""
    graph = behind_weights(lif(dt_s))
    graph.nodes["output"] = nir.Output(np.array([2, SIZE]))
    return graph


def delayed(dt_s: float) -> nir.NIRGraph:
    """A Delay of 3 ticks before the weights."""
    graph = behind_weights(lif(dt_s))
    graph.nodes["delay"] = nir.Delay(_of(3) * dt_s)
    graph.edges = [("input", "delay"), ("delay", "weights"), ("weights", "neuron"), ("neuron", "output")]
    return graph


def flattened(dt_s: float) -> nir.NIRGraph:
    """Flatten as NIR counts dimensions: without the batch."""
    flatten = nir.Flatten(input_type={"input": np.array(IMAGE)}, start_dim=0, end_dim=-1)
    affine = nir.Affine(_numbers(SIZE, 32), np.zeros(SIZE, np.float32))
    parts = ("input", nir.Input(np.array(IMAGE))), ("flatten", flatten), ("weights", affine)
    return _chain(*parts, ("neuron", lif(dt_s)), ("output", nir.Output(np.array([SIZE]))))


def conv2d(**geometry: Any) -> nir.NIRGraph:
    """Conv2d on the image, whose output keeps its size."""
    given = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1, **geometry}
    weight = _numbers(3 if given["groups"] == 1 else 2, 2 // given["groups"], 3, 3)
    node = nir.Conv2d(input_shape=IMAGE[1:], weight=weight, bias=np.zeros(len(weight), np.float32), **given)
    return alone(node, IMAGE, (len(weight), *IMAGE[1:]))


def _pool(kind: Any) -> nir.NIRGraph:
    pool = kind(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))
    return alone(pool, IMAGE, (2, 2, 2))


def _conv1d() -> nir.NIRGraph:
    weight = _numbers(3, 2, 3)
    node = nir.Conv1d(
        input_shape=5, weight=weight, stride=1, padding=1, dilation=1, groups=1, bias=np.zeros(3, np.float32)
    )
    return alone(node, (2, 5), (3, 5))


def braille(dt_s: float) -> nir.NIRGraph:
    """The recurrent network of the NIR paper, as Norse ships it for its own tests."""
    found = find_spec("norse")
    assert found is not None and found.origin is not None
    return read_nir(Path(found.origin).parent / "torch/utils/test/braille.nir")


CASES: Mapping[str, Case] = {
    "Linear": Case("Linear", lambda dt: alone(nir.Linear(_numbers(SIZE, SIZE)))),
    "Affine": Case("Affine", lambda dt: alone(nir.Affine(_numbers(SIZE, SIZE), _numbers(SIZE)))),
    "Scale": Case("Scale", lambda dt: alone(nir.Scale(_numbers(SIZE)))),
    "Conv1d": Case("Conv1d", lambda dt: _conv1d()),
    "Conv2d": Case("Conv2d, stride and padding as one number", lambda dt: conv2d()),
    "Conv2d-pairs": Case("Conv2d, stride and padding as pairs", lambda dt: conv2d(stride=(1, 1), padding=(1, 1))),
    "Conv2d-same": Case("Conv2d, padding 'same'", lambda dt: conv2d(padding="same")),
    "Conv2d-groups": Case("Conv2d, 2 groups", lambda dt: conv2d(groups=2)),
    "AvgPool2d": Case("AvgPool2d", lambda dt: _pool(nir.AvgPool2d)),
    "SumPool2d": Case("SumPool2d", lambda dt: _pool(nir.SumPool2d)),
    "Flatten": Case("Flatten from dimension 0, then a LIF", flattened),
    "Delay": Case("Delay of 3 ticks, then a LIF", delayed),
    "Threshold": Case("Threshold", lambda dt: behind_weights(nir.Threshold(_of(0.51)))),
    "I": Case("I", lambda dt: behind_weights(nir.I(_of(1)))),
    "IF": Case("IF, r = 1", lambda dt: behind_weights(nir.IF(r=_of(1), v_threshold=_of(1.3), v_reset=_of(0)))),
    "IF-dt": Case(
        "IF, r = 1 / dt", lambda dt: behind_weights(nir.IF(r=_of(1 / dt), v_threshold=_of(1.3), v_reset=_of(0)))
    ),
    "LI": Case("LI", lambda dt: behind_weights(nir.LI(tau=_of(4) * dt, r=_of(1), v_leak=_of(0)))),
    "LIF": Case("LIF, r = 1", lambda dt: behind_weights(lif(dt))),
    "LIF-r": Case("LIF, r = tau / dt", lambda dt: behind_weights(lif(dt, r=4, v_threshold=1.04))),
    "LIF-millisecond": Case("LIF, dt = 1e-3 s", lambda dt: behind_weights(lif(dt)), 1e-3),
    "LIF-tick": Case("LIF, tau = dt", lambda dt: behind_weights(lif(dt, ticks=1, v_threshold=1.3))),
    "LIF-equal": Case("LIF, membrane at the threshold", at_the_threshold),
    "LIF-leak": Case("LIF, v_leak = 0.125", lambda dt: behind_weights(lif(dt, v_leak=0.125))),
    "LIF-thresholds": Case(
        "LIF, thresholds that differ",
        lambda dt: behind_weights(lif(dt, v_threshold=[0.26, 0.52, 0.13, 0.26, 0.52, 1.04])),
    ),
    "LIF-taus": Case("LIF, taus that differ", lambda dt: behind_weights(lif(dt, ticks=[2, 4, 8, 2, 4, 8]))),
    "LIF-numbers": Case("LIF, parameters of one element", single_numbers),
    "LIF-batch": Case("LIF, an Output with a batch", output_with_batch),
    "CubaLI": Case(
        "CubaLI",
        lambda dt: behind_weights(
            nir.CubaLI(tau_syn=_of(2) * dt, tau_mem=_of(4) * dt, r=_of(1), v_leak=_of(0), w_in=_of(1))
        ),
    ),
    "CubaLIF": Case("CubaLIF, w_in = r = 1", lambda dt: behind_weights(cuba(dt, v_threshold=0.13))),
    "CubaLIF-r": Case(
        "CubaLIF, w_in = tau_syn / dt, r = tau_mem / dt",
        lambda dt: behind_weights(cuba(dt, w_in=2, r=4, v_threshold=2.08)),
    ),
    "cycle": Case("LIF -> Linear -> the LIF", cycle),
    "cycle-of-two": Case("two LIF in a cycle", two_in_a_cycle),
    "join": Case("two ways to a LIF, one through a LIF", join),
    "nested": Case("a LIF with its cycle in a graph of its own", nested),
    "braille": Case("Braille network of the NIR paper", braille, 1e-4),
}
"""The graphs by name. All but the last are made here."""
