from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from equal_graphs import check_equal_graphs
from muspike.errors import BadInput
from muspike.hardware.graph import SpikingGraph, Synapses
from muspike.hardware.interpreter import run
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.weights import Array, Conv, Sparse, dense
from small_nir import DT, chain, graph, li, lif


def delay(n: int, ticks: float | Sequence[float]) -> nir.Delay:
    return nir.Delay(np.broadcast_to(np.asarray(ticks) * DT, (n,)).copy())


def simple(**changes: Any) -> nir.NIRGraph:
    """input 3 -> w -> a (2) -> u -> out (4), `changes` replacing nodes."""
    nodes = {
        "input": 3,
        "w": nir.Linear(np.arange(6.0).reshape(2, 3)),
        "a": lif(2),
        "u": nir.Linear(np.arange(8.0).reshape(4, 2)),
        "out": li(4),
        "output": 4,
    }
    return graph(nodes | changes, chain("input", "w", "a", "u", "out", "output"))


def synapse(g: SpikingGraph, name: str) -> Synapses:
    return next(s for s in g.synapses if s.name == name)


def test_populations_and_synapses_of_a_chain() -> None:
    g = from_nir(simple())
    assert [(p.name, p.kind, p.size) for p in g.populations] == [
        ("input", "input", 3),
        ("a", "lif", 2),
        ("out", "li", 4),
    ]
    assert [(s.name, s.source, s.target, s.delay) for s in g.synapses] == [("w", "input", "a", 0), ("u", "a", "out", 0)]
    np.testing.assert_array_equal(synapse(g, "w").weight, np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(g.population("a").tau, [2, 2])
    np.testing.assert_array_equal(g.population("a").v_threshold, [0.5, 0.5])
    assert np.isinf(g.population("out").v_threshold).all()
    assert (g.outputs, g.dt_s, g.metadata) == (("out",), DT, {"dt": DT})


def test_file_round_trip_with_cycles_and_metadata(tmp_path: Path) -> None:
    nodes = {
        "input": 3,
        "w": nir.Linear(np.ones((2, 3))),
        "z": lif(2),
        "rec": nir.Linear(np.eye(2)),
        "wait": delay(2, 7),
        "self": nir.Linear(np.eye(2)),
        "b": lif(2),
        "v": nir.Linear(np.ones((2, 2))),
        "output": 2,
    }
    edges = [*chain("input", "w", "z", "rec", "wait", "z", "self", "z"), *chain("z", "v", "b", "output")]
    made = graph(nodes, edges, period=7, name="x", bias=np.array([0.5, 1.0]))
    nir.write(tmp_path / "g.nir", made)
    read = from_nir(nir.read(tmp_path / "g.nir", type_check=False))
    direct = from_nir(made)
    for g in (direct, read):
        assert [p.name for p in g.populations] == ["input", "z", "b"]
        assert [(s.name, s.delay) for s in g.synapses] == [("w", 0), ("rec", 7), ("self", 1), ("v", 0)]
        assert g.metadata["period"] == 7 and type(g.metadata["period"]) is int
        assert g.metadata["bias"] == [0.5, 1.0]
        assert g.metadata["name"] == "x"


def test_linear_chains_fold_by_matrix_product() -> None:
    first, second = np.arange(6.0).reshape(2, 3), np.arange(8.0).reshape(4, 2)
    g = from_nir(
        graph(
            {"input": 3, "p": nir.Linear(first), "q": nir.Linear(second), "a": lif(4), "output": 4},
            chain("input", "p", "q", "a", "output"),
        )
    )
    np.testing.assert_array_equal(synapse(g, "p+q").weight, second @ first)


def test_delays_add_up_and_split_by_length() -> None:
    g = from_nir(
        graph(
            {
                "input": 3,
                "c": delay(3, 1),
                "d": delay(3, [0, 2, 2]),
                "w": nir.Linear(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])),
                "e": delay(2, 5),
                "a": lif(2),
                "output": 2,
            },
            chain("input", "c", "d", "w", "e", "a", "output"),
        )
    )
    assert [(s.name, s.delay) for s in g.synapses] == [("input->w->a@6", 6), ("input->w->a@8", 8)]
    np.testing.assert_array_equal(g.synapses[0].weight, [[1, 0, 0], [4, 0, 0]])
    np.testing.assert_array_equal(g.synapses[1].weight, [[0, 2, 3], [0, 5, 6]])


def test_resistance_scales_weights_and_leak_voltage_is_a_bias() -> None:
    g = from_nir(simple(a=lif(2, r=3.0, v_leak=0.25)))
    np.testing.assert_array_equal(synapse(g, "w").weight, 3 * np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(g.population("a").bias, [0.25, 0.25])


def test_affine_bias_counts_once_and_passes_linear_nodes() -> None:
    nodes = {
        "input": 3,
        "other": nir.Input(np.array([3])),
        "w": nir.Affine(np.ones((2, 3)), np.array([1.0, 2.0])),
        "q": nir.Linear(np.array([[1.0, 1.0], [0.0, 2.0]])),
        "a": lif(2, r=2.0),
        "output": 2,
    }
    g = from_nir(graph(nodes, [("other", "w"), *chain("input", "w", "q", "a", "output")]))
    np.testing.assert_array_equal(g.population("a").bias, [6, 8])  # r (q b), once although two inputs share w
    assert [s.source for s in g.synapses] == ["input", "other"]


def test_integrate_and_fire_and_synaptic_filters() -> None:
    nodes = {
        "input": 2,
        "a": nir.IF(r=np.full(2, 1.5), v_threshold=np.full(2, 3), v_reset=np.full(2, 0)),
        "b": nir.CubaLIF(
            tau_syn=np.full(2, 4 * DT),
            tau_mem=np.full(2, 2 * DT),
            r=np.full(2, 3),
            v_leak=np.full(2, 0),
            v_threshold=np.full(2, 1),
            w_in=np.full(2, 2),
        ),
        "t": nir.Threshold(np.full(2, 0.5)),
        "s": nir.Scale(np.array([2.0, 5.0])),
        "output": 2,
    }
    g = from_nir(graph(nodes, [*chain("input", "a", "b", "s", "t", "output")]))
    a, b, t = (g.population(n) for n in "abt")
    assert np.isinf(a.tau).all() and (a.gain == 1).all() and (a.leak == 0).all()
    np.testing.assert_array_equal(dense(synapse(g, "input->a").weight), 1.5 * np.eye(2))
    assert (b.tau_syn == 4).all() and (b.tau == 2).all()
    np.testing.assert_array_equal(dense(synapse(g, "a->b").weight), 6 * np.eye(2))
    np.testing.assert_array_equal(dense(synapse(g, "s").weight), np.diag([2, 5]))
    assert t.kind == "lif" and (t.tau == 1).all() and (t.v_threshold == 0.5).all()


def test_nested_graph_is_the_flat_graph() -> None:
    inner = nir.NIRGraph(
        {"in": nir.Input(np.array([2])), "lif": lif(2), "rec": nir.Linear(np.eye(2)), "out": nir.Output(np.array([2]))},
        [("in", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "out")],
        type_check=False,
    )
    g = from_nir(
        graph(
            {
                "input": 3,
                "w": nir.Linear(np.ones((2, 3))),
                "cell": inner,
                "u": nir.Linear(np.ones((4, 2))),
                "x": li(4),
                "output": 4,
            },
            chain("input", "w", "cell", "u", "x", "output"),
        )
    )
    assert [p.name for p in g.populations] == ["input", "cell.lif", "x"]
    assert [(s.name, s.source, s.target, s.delay) for s in g.synapses] == [
        ("w", "input", "cell.lif", 0),
        ("cell.rec", "cell.lif", "cell.lif", 1),
        ("u", "cell.lif", "x", 0),
    ]


def test_a_cycle_without_delay_breaks_where_it_turns_back() -> None:
    w = {key: nir.Linear(np.eye(2)) for key in ("ia", "ab", "bc", "ca", "ba")}
    nodes = {"input": 2, "a": lif(2), "b": lif(2), "c": lif(2), "output": 2} | w
    edges = [
        *chain("input", "ia", "a", "ab", "b", "bc", "c", "ca", "a"),
        *chain("b", "ba", "a"),
        ("c", "output"),
    ]
    g = from_nir(graph(nodes, edges))
    assert {s.name: s.delay for s in g.synapses} == {"ia": 0, "ab": 0, "bc": 0, "ca": 1, "ba": 1}
    assert [p.name for p in g.update_order()] == ["input", "a", "b", "c"]


def test_a_cycle_with_a_delay_is_literal() -> None:
    nodes = {"input": 2, "a": lif(2), "b": lif(2), "ab": nir.Linear(np.eye(2)), "d": delay(2, 3), "output": 2}
    g = from_nir(graph(nodes, [("input", "a"), *chain("a", "ab", "b", "d", "a"), ("b", "output")]))
    assert {s.name: s.delay for s in g.synapses} == {"input->a": 0, "ab": 0, "b->a": 3}


def test_float32_times_are_whole_ticks() -> None:
    node = lif(2, tau=3.0)
    node.tau = node.tau.astype(np.float32)
    wait = nir.Delay(np.full(2, 7 * DT, np.float32))
    g = from_nir(graph({"input": 2, "d": wait, "a": node, "output": 2}, chain("input", "d", "a", "output")))
    np.testing.assert_array_equal(g.population("a").tau, [3, 3])
    assert g.synapses[0].delay == 7


def test_weights_keep_their_dtype() -> None:
    g = from_nir(simple(w=nir.Linear(np.ones((2, 3), np.float32))))
    assert synapse(g, "w").weight.dtype == np.float32


def test_dt_is_asked_for_and_never_guessed() -> None:
    g = simple()
    g.metadata = {}
    with pytest.raises(BadInput, match=r"does not say its dt .*norse 1e-3 .*, snntorch 1e-4"):
        from_nir(g)
    assert from_nir(g, dt_s=DT).population("a").tau[0] == 2
    with pytest.raises(BadInput, match=r"dt was given as 0\.002 s, but the graph's metadata says 0\.001 s"):
        from_nir(simple(), dt_s=2 * DT)
    with pytest.raises(BadInput, match="dt is -1"):
        from_nir(g, dt_s=-1)
    with pytest.raises(BadInput, match="dt is 1e-300 s, expected 1e-12 to"):
        from_nir(g, dt_s=1e-300)


class Strange(nir.NIRNode):  # type: ignore[misc]
    def __init__(self) -> None:
        pass


def with_nan(n: int) -> Array:
    weight = np.ones((2, n))
    weight[1, 0] = np.nan
    return weight


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w": nir.Linear(with_nan(3))}, "node 'w': weight holds nan"),
        ({"w": nir.Linear(np.ones((2, 5)))}, "node 'w': takes 5 values, but 'input' gives 3"),
        ({"w": nir.Linear(np.ones((3, 3)))}, "node 'a': takes 2 values, but 'w' gives 3"),
        ({"w": nir.Linear(np.ones((2, 2, 3)))}, r"node 'w': weight has shape \[2, 2, 3\]"),
        ({"a": lif(2, tau=0.0)}, "node 'a': tau holds 0 s, expected more than 0"),
        ({"a": lif(2, tau=0.5)}, r"node 'a': tau holds 0\.0005 s, below dt"),
        ({"a": lif(2, v_threshold=-0.5)}, "node 'a': v_threshold holds -0.5"),
        ({"a": lif(2, v_reset=0.1)}, r"node 'a': v_reset holds 0\.1"),
        ({"a": lif(2, tau=np.inf)}, "node 'a': tau holds inf"),
        ({"a": li(2)}, "node 'a': an integrator that feeds 'out'"),
        ({"output": 5}, "node 'output': takes 5 values, but 'out' gives 4"),
        ({"u": nir.Delay(np.full(3, 2 * DT))}, "node 'u': takes 3 values, but 'a' gives 2"),
        ({"w": delay(3, 2.5), "a": lif(3), "u": nir.Linear(np.ones((4, 3)))}, r"is 2\.5 ticks"),
        ({"w": delay(3, -1)}, "node 'w': delay holds -0.001 s"),
        (
            {"w": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))},
            r"node 'w': takes \[channels, y, x\], but 'input' gives \[3\]",
        ),
        ({"w": Strange()}, "node 'w': Strange is not supported; supported: Affine, .*LIF"),
    ],
)
def test_what_makes_no_sense_names_the_node(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        from_nir(simple(**changes))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([("a", "ghost")], "'a' -> 'ghost': 'ghost' is not there"),
        ([("a", "input")], "node 'input': an Input with an edge into it"),
        ([("output", "a")], "node 'output': an Output with an edge out"),
        ([("w", "w")], "node 'w': a cycle through w holds no neuron"),
    ],
)
def test_impossible_edges(edges: list[tuple[str, str]], message: str) -> None:
    g = simple()
    g.edges = [*g.edges, *edges]
    with pytest.raises(BadInput, match=message):
        from_nir(g)


def test_nodes_that_hang_in_the_air() -> None:
    g = simple()
    g.nodes["lost"] = nir.Linear(np.ones((2, 2)))
    g.edges = [*g.edges, ("a", "lost")]
    with pytest.raises(BadInput, match="node 'lost': Linear leads nowhere"):
        from_nir(g)
    g.edges = [*g.edges[:-1], ("lost", "a")]
    with pytest.raises(BadInput, match="node 'lost': nothing leads to it"):
        from_nir(g)
    g.nodes["ring"] = nir.Linear(np.ones((2, 2)))
    g.edges = [*g.edges[:-1], ("lost", "ring"), ("ring", "lost")]
    with pytest.raises(BadInput, match="node 'lost': no Input or neuron leads to it"):
        from_nir(g)


def maps(shape: tuple[int, ...], **changes: Array) -> nir.IF:
    """Integrate-and-fire neurons in channels and pixels."""
    return nir.IF(**{"r": np.ones(shape), "v_threshold": np.ones(shape), "v_reset": np.zeros(shape)} | changes)


def conv2d(
    weight: Array,
    stride: int = 1,
    padding: int | str | tuple[int, int] = 0,
    dilation: int = 1,
    groups: int = 1,
    bias: Array | None = None,
    input_shape: tuple[int, int] | None = None,
) -> nir.Conv2d:
    bias = np.zeros(len(weight)) if bias is None else bias
    return nir.Conv2d(input_shape, weight, stride, padding, dilation, groups, bias)


def pooled(kind: Any, kernel: int, stride: int | None = None, padding: int = 0) -> Any:
    return kind(*(np.array([n, n]) for n in (kernel, stride or kernel, padding)))


def image(shape: Sequence[float], nodes: dict[str, Any], size: int | Sequence[int]) -> nir.NIRGraph:
    """input of `shape` -> the nodes, one after the other -> output of `size` values, or of that shape."""
    nodes = {"in": nir.Input(np.array(shape)), **nodes, "out": nir.Output(np.atleast_1d(size))}
    return graph(nodes, chain(*nodes))


def test_a_convolutional_network_stays_one() -> None:
    """The layout of the NIR paper's CNN: convolution, IF, pool, convolution, IF, pool, flatten, affine, IF."""
    rng = np.random.default_rng(0)
    nodes = {
        "c1": conv2d(rng.normal(size=(4, 2, 3, 5)), stride=2, padding=(1, 2)),
        "n1": maps((4, 6, 5)),
        "p1": pooled(nir.SumPool2d, 2),
        "c2": conv2d(rng.normal(size=(6, 2, 3, 3)), padding="same", groups=2),
        "n2": maps((6, 3, 2)),
        "p2": pooled(nir.AvgPool2d, 1),
        "f": nir.Flatten({"input": np.array([6, 3, 2])}, 0, -1),
        "a": nir.Affine(rng.normal(size=(5, 36)), np.zeros(5)),
        "n3": lif(5),
    }
    g = from_nir(image((2, 12, 10), nodes, 5))
    assert [(p.name, p.shape) for p in g.populations] == [
        ("in", (2, 12, 10)),
        ("n1", (4, 6, 5)),
        ("n2", (6, 3, 2)),
        ("n3", (5,)),
    ]
    first, second, third = (s.weight for s in g.synapses)
    assert isinstance(first, Conv) and (first.stride, first.padding, first.output_shape) == ((2, 2), (1, 2), (4, 6, 5))
    # 5 columns pool to 2, and where the fifth is lost the convolution reads a padding of 0: they are not one.
    assert isinstance(second, Sparse) and second.shape == (36, 120)
    assert isinstance(third, np.ndarray) and third.shape == (5, 36)
    assert [s.name for s in g.synapses] == ["c1", "p1+c2", "p2+a"]


def test_a_pool_and_a_convolution_are_one_kernel() -> None:
    rng = np.random.default_rng(0)
    nodes = {"p": pooled(nir.SumPool2d, 2), "c": conv2d(rng.normal(size=(3, 2, 3, 3)), padding=1), "n": maps((3, 4, 4))}
    (synapses,) = from_nir(image((2, 8, 8), nodes, 48)).synapses
    assert isinstance(synapses.weight, Conv) and synapses.weight.kernel.shape == (3, 2, 6, 6)
    assert (synapses.weight.stride, synapses.weight.padding) == ((2, 2), (2, 2))


def test_the_bias_of_a_convolution_and_its_resistance() -> None:
    nodes = {
        "c": conv2d(np.ones((2, 1, 2, 2)), bias=np.array([1.0, 2.0])),
        "s": pooled(nir.SumPool2d, 2),
        "n": maps((2, 1, 1), r=np.full((2, 1, 1), 3.0)),
    }
    g = from_nir(image((1, 3, 3), nodes, 2))
    np.testing.assert_array_equal(g.population("n").bias, [3 * 4, 3 * 8])  # r times the four pixels of a pool
    np.testing.assert_array_equal(dense(g.synapses[0].weight)[0], 3 * np.array([1, 2, 1, 2, 4, 2, 1, 2, 1]))


def test_one_dimension() -> None:
    weight = np.arange(12.0).reshape(2, 2, 3)
    node = nir.Conv1d(5, weight, 1, "same", 1, 1, np.zeros(2))
    (synapses,) = from_nir(image((2, 5), {"c": node, "n": lif(10)}, 10)).synapses
    assert isinstance(synapses.weight, Conv) and synapses.weight.kernel.shape == (2, 2, 1, 3)
    assert synapses.weight.output_shape == (2, 1, 5) and synapses.weight.padding == (0, 1)


def test_parameters_that_are_single_numbers_hold_for_what_arrives() -> None:
    """As norse, and older snnTorch and sinabs, write them."""
    scalar = nir.LIF(*(np.array(x) for x in (2 * DT, 1.0, 0.0, 0.5, 0.0)))
    nodes = {"c": conv2d(np.ones((2, 1, 2, 2))), "n": scalar, "w": nir.Linear(np.ones((3, 8))), "m": scalar}
    g = from_nir(image((1, 3, 3), nodes, 3))
    assert [p.shape for p in g.populations] == [(1, 3, 3), (2, 2, 2), (3,)]
    ring = graph({"input": 2, "w": nir.Linear(np.ones((2, 2))), "a": lif(2), "b": scalar, "c": scalar}, [])
    ring.edges = [("input", "w"), ("w", "a"), ("b", "c"), ("c", "b")]
    with pytest.raises(BadInput, match="node 'b': its parameters are single numbers, and nothing that has a shape"):
        from_nir(ring)


@pytest.mark.parametrize("before", [(), (1,), (2,), (25, 2)])
def test_dimensions_of_batch_and_time_are_left_out(before: tuple[int, ...]) -> None:
    """As nirtorch writes them for norse, snnTorch and sinabs: before the shapes of Input and Output."""
    g = from_nir(image((*before, 4), {"w": nir.Linear(np.ones((2, 4))), "a": lif(2)}, (*before, 2)))
    assert [(p.name, p.size) for p in g.populations] == [("in", 4), ("a", 2)] and g.outputs == ("a",)
    maps = {"c": conv2d(np.ones((2, 1, 2, 2))), "n": lif((*before, 2, 2, 2))}
    g = from_nir(image((*before, 1, 3, 3), maps, (*before, 2, 2, 2)))
    assert [p.size for p in g.populations] == [9, 8]
    summed = {"w": nir.Linear(np.ones((2, 4))), "a": lif(2), "u": nir.Linear(np.ones((3, 2)))}
    assert from_nir(image((*before, 4), summed, (*before, 3))).population("out").size == 3


def test_neurons_without_a_shape_do_not_hide_what_fixes_an_inputs() -> None:
    scalar = nir.IF(np.array(1.0), np.array(0.5), np.array(0.0))
    for nodes, output in (({"n": scalar, "w": nir.Linear(np.ones((2, 4))), "a": lif(2)}, 2), ({"n": scalar}, 4)):
        assert from_nir(image((10, 4), nodes, output)).population("n").size == 4
    assert from_nir(image((10, 4), {"n": scalar}, (10, 4))).population("n").size == 40  # nothing says what 10 is


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 1, 1)])
def test_one_element_stands_for_all_neurons(shape: tuple[int, ...]) -> None:
    one = {name: np.full(shape, x) for name, x in (("tau", 4 * DT), ("r", 1.5), ("v_leak", 0.1), ("v_threshold", 0.3))}
    weight = np.arange(24.0).reshape(6, 4)
    whole = {name: np.full(6, x.item()) for name, x in one.items()}
    graphs = [
        from_nir(image((4,), {"w": nir.Linear(weight), "s": nir.Scale(scale), "d": nir.Delay(late), "n": node}, 6))
        for node, scale, late in (
            (nir.LIF(**whole, v_reset=np.zeros(6)), np.full(6, 2.0), np.full(6, 3 * DT)),
            (nir.LIF(**one, v_reset=np.zeros(shape)), np.full(shape, 2.0), np.full(shape, 3 * DT)),
        )
    ]
    check_equal_graphs(*graphs)


def test_parameters_that_cannot_be_meant_for_what_arrives_are_refused() -> None:
    differing = lif((2, 3))
    differing.tau = differing.tau * np.array([[1], [2]])  # two sequences cannot have two time constants
    for node, message in ((differing, "takes 6 values, but 'w' gives 3"), (lif(2), "takes 2 values, but 'w' gives 3")):
        with pytest.raises(BadInput, match=f"node 'a': {message}"):
            from_nir(image((4,), {"w": nir.Linear(np.ones((3, 4))), "a": node}, 3))
    same = lif((2, 3))
    assert from_nir(image((4,), {"w": nir.Linear(np.ones((3, 4))), "a": same}, 3)).population("a").shape == (3,)
    with pytest.raises(BadInput, match="node 'out': takes 6 values, but 'a' gives 4"):
        from_nir(image((4,), {"w": nir.Linear(np.ones((4, 4))), "a": lif(4)}, (2, 3)))


def test_integrate_and_fire_whose_resistance_is_one_over_dt() -> None:
    """SpikingJelly's way to say that a spike brings a charge of 1, whatever dt."""
    for r in (1.0, 1 / DT):
        nodes = {"w": nir.Linear(np.full((2, 3), 0.25)), "a": maps((2,), r=np.full(2, r))}
        np.testing.assert_array_equal(from_nir(image((3,), nodes, 2)).synapses[0].weight, np.full((2, 3), 0.25))
    nodes["a"] = maps((2,), r=np.full(2, 1e4))
    with pytest.raises(BadInput, match=r"node 'a': r holds 10000, .* at dt = 0\.0001 s, but dt is 0\.001 s"):
        from_nir(image((3,), nodes, 2))


def test_what_an_output_reads_through_weights_is_a_population_that_forgets_at_once() -> None:
    nodes = {
        "input": 3,
        "w": nir.Linear(np.ones((2, 3))),
        "a": lif(2),
        "u": nir.Affine(np.arange(8.0).reshape(4, 2), np.arange(4.0)),
        "b": nir.Linear(np.ones((4, 3))),
        "output": 4,
    }
    g = from_nir(graph(nodes, [*chain("input", "w", "a", "u", "output"), *chain("input", "b", "output")]))
    assert g.outputs == ("output",)
    out = g.population("output")
    assert out.kind == "li" and (out.tau == 1).all() and out.bias.tolist() == [0, 1, 2, 3]
    assert [(s.name, s.source) for s in g.synapses if s.target == "output"] == [("b", "input"), ("u", "a")]
    spikes = (np.random.default_rng(0).random((20, 2, 3)) < 0.5).astype(np.uint8)
    fired, membranes = run(g, spikes)
    expected = fired["a"] @ np.arange(8.0).reshape(4, 2).T + np.arange(4) + spikes.sum(2)[..., None]
    np.testing.assert_array_equal(membranes["output"], expected)


def test_two_populations_into_one_output_are_summed() -> None:
    nodes = {"input": 2, "a": lif(2), "b": lif(2, v_threshold=0.2), "output": 2}
    g = from_nir(graph(nodes, [("input", "a"), ("input", "b"), ("a", "output"), ("b", "output")]))
    spikes = np.ones((5, 1, 2), np.uint8)
    fired, membranes = run(g, spikes)
    np.testing.assert_array_equal(membranes["output"], fired["a"].astype(float) + fired["b"])


def test_a_bias_behind_a_filter_or_a_delay_comes_from_a_neuron_that_always_fires() -> None:
    one = np.ones(2)
    cuba = nir.CubaLIF(tau_syn=4 * DT * one, tau_mem=2 * DT * one, r=one, v_leak=0 * one, v_threshold=one, w_in=3 * one)
    nodes = {
        "input": 2,
        "w": nir.Affine(np.eye(2), np.array([0.5, 1.0])),
        "a": cuba,
        "d": delay(2, 3),
        "b": lif(2, tau=1.0, v_threshold=0.9),
        "output": 2,
    }
    g = from_nir(graph(nodes, [*chain("input", "w", "a", "output"), *chain("w", "d", "b", "output")]))
    assert not g.population("a").bias.any() and not g.population("b").bias.any()
    spikes = (np.random.default_rng(1).random((30, 2, 2)) < 0.3).astype(np.uint8)
    fired, _ = run(g, spikes)
    x = spikes + np.array([0.5, 1.0])
    i, v = np.zeros((2, 2)), np.zeros((2, 2))
    for t in range(30):
        i += (3 * x[t] - i) / 4
        v += (i - v) / 2
        np.testing.assert_array_equal(fired["a"][t], v > 1)
        v[v > 1] = 0
        np.testing.assert_array_equal(fired["b"][t], x[t - 3] > 0.9 if t >= 3 else np.zeros((2, 2)))


def test_nothing_gets_past_the_ports_of_a_nested_graph() -> None:
    """Not a node that is called like one inside, in whatever order a file has them, nor an edge to one inside."""
    inner = {"in": nir.Input(np.array([2])), "n": lif(2), "out": nir.Output(np.array([2]))}
    cell = nir.NIRGraph(inner, chain("in", "n", "out"), type_check=False)
    edges = chain("input", "cell", "cell.n", "output")
    for names in (["cell", "cell.n"], ["cell.n", "cell"]):
        nodes = {
            "input": 2,
            **{name: cell if name == "cell" else nir.Threshold(np.ones(2)) for name in names},
            "output": 2,
        }
        with pytest.raises(BadInput, match=r"node 'cell\.n': the name is taken more than once"):
            from_nir(graph(nodes, edges))
    with pytest.raises(BadInput, match=r"'input' -> 'cell\.n': 'cell\.n' is inside a nested graph"):
        from_nir(graph({"input": 2, "cell": cell, "output": 2}, [("input", "cell.n"), ("cell", "output")]))


def test_ways_that_hold_the_same_weights_are_told_apart() -> None:
    nodes = {
        "input": 2,
        "f": nir.Flatten({"input": np.array([2])}),
        "g": nir.Scale(np.ones(2)),
        "a": lif(2),
        "output": 2,
    }
    edges = [*chain("input", "f", "a", "output"), ("input", "a"), *chain("input", "g", "a"), *chain("f", "g")]
    g = from_nir(graph(nodes, edges))
    assert [s.name for s in g.synapses] == [
        "input->g->a@0#1",
        "input->g->a@0#2",
        "input->input->a->a@0#1",
        "input->input->a->a@0#2",
    ]


def test_a_nested_graph_with_several_ports_is_named_by_port() -> None:
    inner = nir.NIRGraph(
        {
            "left": nir.Input(np.array([2])),
            "right": nir.Input(np.array([2])),
            "w": nir.Linear(2 * np.eye(2)),
            "n": lif(2),
            "out": nir.Output(np.array([2])),
        },
        [("left", "n"), ("right", "w"), ("w", "n"), ("n", "out")],
        type_check=False,
    )
    nodes = {"input": 2, "other": nir.Input(np.array([2])), "cell": inner, "output": 2}
    edges = [("input", "cell.left"), ("other", "cell.right"), ("cell", "output")]
    g = from_nir(graph(nodes, edges))
    assert [(s.name, s.source) for s in g.synapses] == [("input->cell.n", "input"), ("cell.w", "other")]
    with pytest.raises(BadInput, match="'cell' is a nested graph without one port"):
        from_nir(graph(nodes, [("input", "cell"), *edges[1:]]))


def unequal(node: nir.IF) -> nir.IF:
    node.v_threshold = np.ones((2, 7))
    return node


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({"c": conv2d(np.ones((2, 3, 2, 2))), "n": maps((2, 2, 2))}, r"node 'c': takes \[3, y, x\], but 'in' gives"),
        ({"c": conv2d(np.ones((2, 2, 5, 5))), "n": maps((2, 2, 2))}, r"node 'c': its kernel does not fit \[2, 4, 4\]"),
        ({"c": conv2d(np.ones((2, 2, 2, 2)), stride=0), "n": lif(2)}, "node 'c': stride is .*at least 1"),
        ({"c": conv2d(np.ones((2, 2, 2, 2)), stride=2, padding="same"), "n": lif(2)}, "padding is 'same' at stride"),
        (
            {"c": conv2d(np.ones((3, 1, 2, 2)), groups=2), "n": lif(2)},
            "node 'c': 3 channels do not divide into 2 groups",
        ),
        ({"c": conv2d(np.full((2, 2, 2, 2), np.nan)), "n": lif(2)}, "node 'c': weight holds nan"),
        ({"c": conv2d(np.ones((2, 2, 2, 2)), input_shape=(9, 9)), "n": lif(2)}, r"input_shape is \[9, 9\], but"),
        ({"p": pooled(nir.SumPool2d, 5), "n": lif(2)}, "node 'p': its kernel does not fit"),
        ({"c": conv2d(np.ones((2, 2, 3, 3))), "n": lif(9)}, "node 'n': takes 9 values, but 'c' gives 8"),
        ({"n": lif(32), "d": nir.Delay(np.full(32, 1e9)), "m": lif(32)}, "node 'd': .* no chip waits that long"),
        ({"n": unequal(maps((32,)))}, "node 'n': its parameters have different shapes: r .32., v_threshold .2, 7."),
    ],
)
def test_impossible_convolutions(nodes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        from_nir(image((2, 4, 4), nodes, 32))


def test_what_a_few_bytes_could_ask_for_is_bounded() -> None:
    """2^40 neurons; products of matrices beyond any memory; ways that double at every step; graphs within graphs."""
    with pytest.raises(BadInput, match=r"node 'in': shape \[1048576, 1048576\] has"):
        from_nir(image((2**20, 2**20), {"n": lif(2)}, 2))
    with pytest.raises(BadInput, match=r"shape \[1e\+200, 1e\+200, 1e\+200, 1e\+200, \.\.\.\] has inf values"):
        from_nir(image([1e200] * 38, {"n": lif(2)}, 2))
    ragged = image((2,), {"n": lif(2)}, 2)
    ragged.nodes["in"].input_type = {"input": [[1], [2, 3]]}
    with pytest.raises(BadInput, match="node 'in': shape has unequal rows"):
        from_nir(ragged)
    wide = {"a": nir.Linear(np.ones((1, 2**16))), "b": nir.Linear(np.ones((2**16, 1))), "n": lif(2**16)}
    with pytest.raises(BadInput, match="node 'b': has up to 4294967296 weights"):
        from_nir(image((2**16,), wide, 2**16))
    ladder = {f"{side}{i}": nir.Scale(np.ones(2)) for i in range(20) for side in "lr"} | {"n": lif(2)}
    g = image((2,), ladder, 2)
    rungs = [("in", "l0"), ("in", "r0"), ("l19", "n"), ("r19", "n"), ("n", "out")]
    g.edges = rungs + [(f"{a}{i}", f"{b}{i + 1}") for i in range(19) for a in "lr" for b in "lr"]
    with pytest.raises(BadInput, match="more than 10162 ways from one neuron to the next"):
        from_nir(g)
    for i in range(20):  # nor does finding out how many neurons there are walk every way
        g.nodes[f"l{i}"] = g.nodes[f"r{i}"] = nir.Flatten({"input": np.array([2])})
    g.nodes |= {"w": nir.Linear(np.ones((2, 3))), "n": nir.LIF(*(np.array(x) for x in (2 * DT, 1.0, 0.0, 0.5, 0.0)))}
    g.edges = [(a, "w" if b == "n" else b) for a, b in g.edges] + [("w", "n")]
    with pytest.raises(BadInput, match="node 'w': takes 3 values"):
        from_nir(g)
    late = {"n": lif(2**13), "d": nir.Delay(np.arange(2.0**13) * DT), "m": lif(2**13)}
    with pytest.raises(BadInput, match="node 'd': 8192 different delays of 8192 values, expected at most 2048"):
        from_nir(image((2**13,), late, 2**13))
    with pytest.raises(BadInput, match=r"node 'c': gives \[2, 40003, 40003\], .* expected at most 16777216"):
        from_nir(image((2, 4, 4), {"c": conv2d(np.ones((2, 2, 2, 2)), padding=20000), "n": lif(2)}, 2))
    far = {"p": pooled(nir.SumPool2d, 2), "c": conv2d(np.ones((2, 2, 3, 3)), 1, 10**5, 10**5), "n": lif(8)}
    (synapses,) = from_nir(image((2, 4, 4), far, 8)).synapses  # as one convolution, a kernel of 200002 x 200002
    assert isinstance(synapses.weight, Sparse) and synapses.weight.shape == (8, 32)
    row = {f"s{i:04}": nir.Scale(np.ones(2)) for i in range(1500)} | {"n": lif(2)}
    with pytest.raises(BadInput, match="more than 1000 connections in a row"):
        from_nir(image((2,), row, 2))
    nest = image((2,), {"n": lif(2)}, 2)
    for _ in range(100):
        nest = image((2,), {"inner": nest}, 2)
    with pytest.raises(BadInput, match="more than 64 graphs within graphs"):
        from_nir(nest)
