"""Torch modules become graphs: which layer feeds which, through any code of forward; and what is refused.

The neurons are Norse's, or none: the other libraries have files of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import muspike.export
from muspike.errors import BadInput, Failed
from muspike.export import to_nir
from muspike.export.from_torch import convert as converting
from muspike.export.from_torch import layers
from muspike.export.from_torch.convert import ALLOWANCES, convert
from small_model import small_model
from torch_runs import BATCH, TICKS, held, lively, nodes, spikes

norse: Any = pytest.importorskip("norse.torch")


class Loop(nn.Module):
    """Two layers in a loop over time written by hand, with something between them."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor] = lambda x: x) -> None:
        super().__init__()
        self.fc1, self.cell1 = nn.Linear(12, 10), norse.LIFBoxCell()
        self.fc2, self.cell2 = nn.Linear(10, 6), norse.LIFBoxCell()
        self.between = between
        for cell in (self.cell1, self.cell2):
            cell.p = norse.LIFBoxParameters(tau_mem_inv=torch.as_tensor(400.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state1 = state2 = None
        gave = []
        for tick in x:
            fired, state1 = self.cell1(self.fc1(tick), state1)
            out, state2 = self.cell2(self.fc2(self.between(fired)), state2)
            gave.append(out)
        return torch.stack(gave)


@pytest.fixture
def loop() -> Loop:
    made = lively(Loop(), 3.0)
    assert isinstance(made, Loop)
    return made


# --- which layer feeds which ----------------------------------------------------------------------------------------


def test_a_loop_written_by_hand(loop: Loop, tmp_path: Path) -> None:
    x = spikes(12)
    found = held(loop, x, loop(x), tmp_path)
    assert found.graph.metadata["dt"] == 1e-3
    assert sorted(found.graph.edges) == sorted(
        [("input", "fc1"), ("fc1", "cell1"), ("cell1", "fc2"), ("fc2", "cell2"), ("cell2", "output")]
    )


def test_dt_is_told_and_changes_no_spike(loop: Loop, tmp_path: Path) -> None:
    x = spikes(12)
    found = held(loop, x, loop(x), tmp_path, dt_s=2.5e-4)
    assert found.graph.metadata["dt"] == 2.5e-4
    assert found.graph.nodes["cell1"].tau[0] == pytest.approx(2.5 * 2.5e-4)  # 1 / (dt * tau_mem_inv) = 2.5 ticks


@pytest.mark.parametrize(
    "between",
    [
        lambda x: x.flip(-1),
        lambda x: x[:, torch.tensor([3, 1, 2, 0, 9, 8, 7, 6, 5, 4])],
        lambda x: F.pad(x[:, 2:], (1, 1)),
        lambda x: torch.cat((x[:, 5:], x[:, :5]), -1).float().detach().contiguous().view(-1, 2, 5).flatten(1),
    ],
    ids=["flip", "permutation", "crop and pad", "cut, joined and reshaped"],
)
def test_values_are_followed_to_their_places(between: Callable[[Any], Any], tmp_path: Path) -> None:
    module, x = lively(Loop(between), 3.0), spikes(12)
    found = held(module, x, module(x), tmp_path)
    assert nodes(found)["fc2_cell1_order"] == "Linear"


def test_a_residual_is_two_edges_into_one_node(tmp_path: Path) -> None:
    class Residual(Loop):
        def __init__(self) -> None:
            super().__init__()
            self.fc2, self.fc3, self.cell3 = nn.Linear(10, 10), nn.Linear(10, 5), norse.LIFBoxCell()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states: list[Any] = [None] * 3
            gave = []
            for tick in x:
                a, states[0] = self.cell1(self.fc1(tick), states[0])
                b, states[1] = self.cell2(self.fc2(a) + a, states[1])
                c, states[2] = self.cell3(self.fc3(a + b), states[2])
                gave.append(c)
            return torch.stack(gave)

    module, x = lively(Residual(), 6.0), spikes(12)
    found = held(module, x, module(x), tmp_path)
    assert {("cell1", "cell2"), ("fc2", "cell2"), ("cell1", "fc3"), ("cell2", "fc3")} <= set(found.graph.edges)


class Back(Loop):
    """The second layer hears itself one tick ago, through a Linear whose bias begins one tick late."""

    def __init__(self) -> None:
        super().__init__()
        self.back = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state1 = state2 = None
        gave, heard = [], torch.zeros(x.shape[1], 6)
        for tick in x:
            fired, state1 = self.cell1(self.fc1(tick), state1)
            out, state2 = self.cell2(self.fc2(fired) + heard, state2)
            heard = self.back(out)
            gave.append(out)
        return torch.stack(gave)


def test_a_loop_back_takes_its_tick_and_its_bias_begins_late(tmp_path: Path) -> None:
    module, x = lively(Back(), 3.0), spikes(12)
    assert isinstance(module, Back)
    with torch.no_grad():
        module.back.bias.add_(2.0)
    found = held(module, x, module(x), tmp_path)
    assert nodes(found)["cell2_back_delay"] == "Delay" and ("back", "cell2_back_delay") in found.graph.edges


def test_spikes_of_earlier_ticks_pass_a_delay(tmp_path: Path) -> None:
    class Late(Loop):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state1 = state2 = None
            gave = []
            before = [torch.zeros(x.shape[1], 10)] * 3
            for tick in x:
                fired, state1 = self.cell1(self.fc1(tick), state1)
                before = [*before[1:], fired]
                out, state2 = self.cell2(self.fc2(before[0]), state2)
                gave.append(out)
            return torch.stack(gave)

    module, x = lively(Late(), 3.0), spikes(12)
    found = held(module, x, module(x), tmp_path)
    (delay,) = [node for node in found.graph.nodes.values() if isinstance(node, nir.Delay)]
    np.testing.assert_allclose(delay.delay, 2e-3)


def test_a_sample_that_stays_is_given_in_every_tick(tmp_path: Path) -> None:
    class Static(Loop):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.expand(TICKS, *x.shape))

    module, x = lively(Static(), 3.0), spikes(12)[0]
    found = held(module, x, module(x), tmp_path)
    assert found.spikes is not None and found.spikes.shape == (TICKS, BATCH, 12)
    assert (found.spikes == x.numpy()).all()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_the_sample_may_hold_time_anywhere(order: tuple[int, ...], loop: Loop, tmp_path: Path) -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loop = loop

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = self.loop(x.permute(*np.argsort(order).tolist()))
            assert isinstance(out, torch.Tensor)
            return out

    x = spikes(12)
    found = held(Turned(), x.permute(*order).contiguous(), loop(x), tmp_path)
    np.testing.assert_array_equal(found.spikes, x.numpy())


def test_a_layer_without_state_may_be_used_in_two_places(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2, self.pool = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 2), nn.AvgPool2d(2)
            self.cell1, self.cell2 = norse.LIFBoxCell(), norse.LIFBoxCell()
            self.fc, self.cell3 = nn.Linear(3, 4), norse.LIFBoxCell()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states: list[Any] = [None] * 3
            gave = []
            for tick in x:
                a, states[0] = self.cell1(self.conv1(tick), states[0])
                b, states[1] = self.cell2(self.conv2(self.pool(a)), states[1])
                c, states[2] = self.cell3(self.fc(self.pool(b).flatten(1)), states[2])
                gave.append(c)
            return torch.stack(gave)

    module, x = lively(Twice(), 12.0), spikes(2, 8, 8, rate=0.5)
    found = held(module, x, module(x), tmp_path)
    assert nodes(found)["pool"] == nodes(found)["pool_2"] == "AvgPool2d" and nodes(found)["fc_flatten"] == "Flatten"


def test_layers_before_time_is_unrolled_and_behind(tmp_path: Path) -> None:
    class Whole(Loop):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            currents, state, gave = self.fc1(x), None, []
            for current in currents.unbind(0):
                fired, state = self.cell1(current, state)
                gave.append(fired)
            out = self.fc2(torch.stack(gave))
            assert isinstance(out, torch.Tensor)
            return out

    module, x = lively(Whole(), 3.0), spikes(12)
    found = held(module, x, module(x), tmp_path)
    assert ("fc2", "output") in found.graph.edges
    assert [row for row in found.remarks if row.startswith("cell2: was not called")]


def test_one_tick_at_a_time(tmp_path: Path) -> None:
    module = lively(norse.SequentialState(nn.Linear(12, 10), norse.LIFCell(), nn.Linear(10, 4), norse.LIFCell()), 6.0)
    x, state, gave = spikes(12), None, []
    for tick in x:
        out, state = module(tick, state)
        gave.append(out)
    held(module, x, torch.stack(gave), tmp_path, per_tick=True)
    with pytest.raises(BadInput, match=r"module '1': was called once, .* per_tick=True"):
        convert(module, x)


def test_counts_are_graded(loop: Loop, tmp_path: Path) -> None:
    x = spikes(12) * 3
    found = held(loop, x, loop(x), tmp_path)
    assert found.spikes is not None and found.spikes.max() == 3
    assert [row for row in found.remarks if "up to 3 spikes" in row and "--graded" in row]


def test_a_name_that_the_package_lacks_is_named() -> None:
    with pytest.raises(AttributeError, match=r"module 'muspike\.export' has no attribute 'to_nri'; it has to_nir"):
        muspike.export.to_nri  # noqa: B018


def test_a_network_of_ours_is_dispatched() -> None:
    model = small_model("jsb")
    graph = to_nir(model.spiking)
    assert isinstance(graph, nir.NIRGraph) and "readout" in graph.nodes


def test_the_public_function_gives_the_graph(loop: Loop) -> None:
    assert set(to_nir(loop, spikes(12)).nodes) == {"input", "fc1", "cell1", "fc2", "cell2", "output"}
    with pytest.raises(BadInput, match="needs a sample"):
        to_nir(loop)
    with pytest.raises(BadInput, match="a torch module"):
        to_nir("loop", spikes(12))


# --- Norse ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["LIF", "LIFRecurrent", "IAF"])
def test_norse_layers(layer: str, tmp_path: Path) -> None:
    sizes = (10, 10) if "Recurrent" in layer else ()
    module = lively(norse.SequentialState(nn.Linear(12, 10), getattr(norse, layer)(*sizes)), 8.0)
    x = spikes(12)
    found = held(module, x, module(x)[0], tmp_path)
    kind = {"IAF": "IF"}.get(layer, "CubaLIF")
    assert nodes(found)["1"] == kind
    if sizes:
        assert {("1", "1_recurrent"), ("1_recurrent", "1")} <= set(found.graph.edges)


@pytest.mark.parametrize("layer", ["LI", "LICell", "LIBoxCell"])
def test_norse_readouts(layer: str, tmp_path: Path) -> None:
    module = lively(norse.SequentialState(nn.Linear(12, 4), getattr(norse, layer)()))
    x, per_tick = spikes(12), "Cell" in layer
    if per_tick:
        state, gave = None, []
        for tick in x:
            out, state = module(tick, state)
            gave.append(out)
        theirs = torch.stack(gave)
    else:
        theirs = module(x)[0]
    found = held(module, x, theirs, tmp_path, per_tick=per_tick)
    assert nodes(found)["1"] == ("LI" if "Box" in layer else "CubaLI")


def test_a_rest_other_than_0_is_exact_if_it_is_also_the_reset(tmp_path: Path) -> None:
    p = norse.LIFParameters(v_leak=torch.as_tensor(-0.5), v_reset=torch.as_tensor(-0.5), v_th=torch.as_tensor(0.25))
    module = lively(norse.SequentialState(nn.Linear(12, 8), norse.LIF(p)), 6.0)
    x = spikes(12)
    found = held(module, x, module(x)[0], tmp_path)
    np.testing.assert_array_equal(found.graph.nodes["1"].v_threshold, 0.75)


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (lambda: norse.LIF(norse.LIFParameters(v_reset=torch.as_tensor(-0.2))), "v_reset = -0.2 and v_leak = 0"),
        (lambda: norse.LIF(norse.LIFParameters(v_th=torch.as_tensor(-0.1))), "threshold = -0.1 above the rest"),
        (lambda: norse.LI(norse.LIParameters(v_leak=torch.as_tensor(0.3))), "v_leak = 0.3"),
        (lambda: norse.LIF(norse.LIFParameters(tau_mem_inv=torch.as_tensor(1500.0))), "1 - dt * tau_mem_inv = -0.5"),
        (lambda: norse.LSNN(), "norse.torch.LSNN: it is no neuron of NIR"),
        (lambda: norse.Izhikevich(), "norse.torch.Izhikevich"),
    ],
    ids=["reset", "threshold", "rest", "tau", "LSNN", "Izhikevich"],
)
def test_what_of_norse_no_chip_has_is_named(layer: Callable[[], nn.Module], told: str) -> None:
    try:
        made = layer()
    except (TypeError, AttributeError) as error:
        pytest.skip(f"this version of Norse has another signature: {error}")
    with pytest.raises(BadInput, match=r"module '1': ") as raised:
        convert(norse.SequentialState(nn.Linear(12, 4), made), spikes(12))
    assert told in str(raised.value) and "\n" not in str(raised.value)


# --- layers of torch -----------------------------------------------------------------------------------------------


LAYERS: list[tuple[str, nn.Module, tuple[int, ...]]] = [
    ("Linear", nn.Linear(12, 5), (12,)),
    ("Linear without bias", nn.Linear(12, 5, bias=False), (12,)),
    ("Conv2d", nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2), (2, 7, 6)),
    ("Conv2d same", nn.Conv2d(2, 3, 3, padding="same", bias=False), (2, 5, 4)),
    ("Conv2d valid", nn.Conv2d(2, 3, 2, padding="valid"), (2, 5, 4)),
    ("Conv1d", nn.Conv1d(2, 4, 3, stride=2, padding=1, dilation=1, groups=2), (2, 11)),
    ("Conv1d same", nn.Conv1d(2, 4, 3, padding="same"), (2, 11)),
    ("AvgPool2d", nn.AvgPool2d((2, 3), stride=(2, 1), padding=(1, 1)), (2, 5, 6)),
    ("AvgPool2d ceil_mode", nn.AvgPool2d(2, ceil_mode=True), (2, 4, 6)),
    ("AdaptiveAvgPool2d", nn.AdaptiveAvgPool2d((2, None)), (2, 4, 3)),
    ("AvgPool1d", nn.AvgPool1d(3, stride=2, padding=1), (2, 9)),
    ("sum pool", nn.LPPool2d(1, 2), (2, 6, 4)),
    ("BatchNorm1d", nn.BatchNorm1d(6), (6,)),
    ("BatchNorm1d of channels", nn.BatchNorm1d(3, affine=False), (3, 5)),
    ("BatchNorm2d", nn.BatchNorm2d(3), (3, 4, 5)),
    ("Linear and BatchNorm1d", nn.Sequential(nn.Linear(12, 5), nn.BatchNorm1d(5)), (12,)),
    ("Conv2d and BatchNorm2d", nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)), (2, 5, 6)),
    ("Conv1d and BatchNorm1d", nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4)), (2, 9)),
    ("Flatten and Dropout", nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 4), nn.Identity()), (2, 2, 3)),
]


@pytest.mark.parametrize(("module", "shape"), [row[1:] for row in LAYERS], ids=[row[0] for row in LAYERS])
def test_layers_of_torch(module: nn.Module, shape: tuple[int, ...], tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    for part in lively(module, 3.0).modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean += 0.1 * torch.randn(part.running_mean.shape, generator=generator)
            part.running_var *= 0.2 + torch.rand(part.running_var.shape, generator=generator)
            if part.affine:
                part.weight.data += torch.rand(part.weight.shape, generator=generator)
                part.bias.data += 0.3
    net = norse.SequentialState(norse.Lift(module.eval()), norse.IAF(norse.IAFParameters(v_th=torch.as_tensor(1.7))))
    x = spikes(*shape)
    found = held(net, x, net(x)[0], tmp_path)
    if isinstance(module, nn.Sequential):
        assert not [name for name in found.graph.nodes if name.endswith(("module_1", "module_3"))]


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("between", "function"),
    [
        (lambda x: x * 0.5, "mul"),
        (lambda x: x * x, "mul"),
        (torch.sigmoid, "sigmoid"),
        (F.relu, "relu"),
        (lambda x: x.softmax(-1), "softmax"),
        (lambda x: x - x.mean(), "mean"),
        (lambda x: x @ torch.ones(10, 10), "matmul"),
        (lambda x: F.linear(x, torch.ones(10, 10)), "linear"),
        (lambda x: x.cumsum(0), "cumsum"),
        (lambda x: F.max_pool1d(x, 3, stride=1, padding=1), "max_pool1d"),
        (lambda x: (x > 0.5).double(), "input is computed"),
        (lambda x: x + 1.0, "adding numbers that are no layer's"),
        (lambda x: x + x, "one layer twice"),
    ],
)
def test_what_is_computed_between_layers_is_named(between: Callable[[Any], Any], function: str) -> None:
    with pytest.raises(BadInput, match=r"module '(fc2|cell1)'.*a chip does not do") as raised:
        convert(lively(Loop(between), 3.0), spikes(12))
    assert function in str(raised.value)


@pytest.mark.parametrize(
    ("module", "shape", "told"),
    [
        (nn.MaxPool2d(2), (2, 4, 4), "use AvgPool2d"),
        (nn.ReLU(), (12,), "The neurons are the nonlinearity"),
        (nn.LayerNorm(12), (12,), "Use BatchNorm"),
        (nn.ConvTranspose2d(2, 3, 2), (2, 4, 4), "ConvTranspose2d is no layer of a chip"),
        (nn.Softmax(-1), (12,), "Softmax is no layer of a chip"),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 4, 4), "padding_mode='circular'"),
        (nn.AvgPool2d(2, ceil_mode=True), (2, 5, 5), "ceil_mode=True"),
        (nn.AvgPool2d(2, padding=1, count_include_pad=False), (2, 4, 4), "count_include_pad=False"),
        (nn.AvgPool2d(2, divisor_override=3), (2, 4, 4), "divisor_override=3"),
        (nn.AdaptiveAvgPool2d(3), (2, 4, 4), "windows differ"),
        (nn.LPPool2d(2, 2), (2, 4, 4), "LPPool2d"),
        (nn.BatchNorm2d(2, track_running_stats=False), (2, 4, 4), "track_running_stats=False"),
    ],
)
def test_layers_that_no_chip_has_are_named(module: nn.Module, shape: tuple[int, ...], told: str) -> None:
    net = norse.SequentialState(norse.Lift(module), norse.LIF())
    with pytest.raises(BadInput, match=r"module '0.lifted_module'") as raised:
        convert(net, spikes(*shape))
    assert told in str(raised.value) and "\n" not in str(raised.value)


def test_a_state_that_is_changed_is_named(loop: Loop) -> None:
    class Forgets(Loop):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state = None
            for tick in x:
                fired, state = self.cell1(self.fc1(tick), state)
                state = type(state)(v=state.v * 0.5)
            return torch.as_tensor(fired)

    with pytest.raises(BadInput, match=r"module 'cell1': before its call 1 its state is changed"):
        convert(lively(Forgets()), spikes(12))


def test_a_membrane_is_no_input_of_a_layer() -> None:
    class Membrane(Loop):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state1 = state2 = None
            for tick in x:
                _, state1 = self.cell1(self.fc1(tick), state1)
                out, state2 = self.cell2(self.fc2(state1.v), state2)
            return torch.as_tensor(out)

    with pytest.raises(BadInput, match=r"module 'cell1': 'fc2' is given its membrane or current"):
        convert(lively(Membrane()), spikes(12))
    with pytest.raises(BadInput, match=r"module '1': '2' depends on it, but it is a readout"):
        convert(norse.SequentialState(nn.Linear(12, 4), norse.LI(), nn.Linear(4, 3), norse.LIF()), spikes(12))


def test_a_layer_of_neurons_runs_once_in_a_tick() -> None:
    class Twice(Loop):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state = None
            for tick in x:
                a, state = self.cell1(self.fc1(tick), state)
                a, state = self.cell1(self.fc1(tick), state)
                out, _ = self.cell2(self.fc2(a), None)
            return torch.as_tensor(out)

    with pytest.raises(BadInput, match=r"'cell1' 60, 'cell2' 30; each must run once in a tick|state is changed"):
        convert(lively(Twice()), spikes(12))


def test_wiring_that_depends_on_time_is_refused() -> None:
    class Turns(Loop):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state1 = state2 = None
            for number, tick in enumerate(x):
                fired, state1 = self.cell1(self.fc1(tick), state1)
                out, state2 = self.cell2(self.fc2(fired.roll(number % 3, -1)), state2)
            return torch.as_tensor(out)

    with pytest.raises(BadInput, match=r"module 'fc2': hears 'cell1' otherwise in some ticks"):
        convert(lively(Turns()), spikes(12))


def test_sequences_that_mix_are_refused() -> None:
    with pytest.raises(BadInput, match=r"module 'fc2': mixes the sequences of a batch of 'cell1'"):
        convert(lively(Loop(lambda x: x.roll(1, 0))), spikes(12))


def test_a_sample_of_numbers_is_refused_or_left_out(loop: Loop) -> None:
    x = torch.rand(TICKS, BATCH, 12)
    with pytest.raises(BadInput, match=r"sample: holds 0\.\d+; what a chip takes are spikes"):
        convert(loop, x)
    found = convert(loop, x, allow={"input"})
    assert found.spikes is None and sum(row.spikes for row in found.proof) > 0


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        (torch.zeros(TICKS, BATCH, 11), r"does not run on a sample of shape \[30, 3, 11\]: RuntimeError"),
        (torch.zeros(()), "has shape"),
        (np.zeros((0, 3)), "has shape"),
        (-torch.ones(TICKS, BATCH, 12), "holds -1"),
    ],
)
def test_a_wrong_sample_is_named(sample: Any, told: str, loop: Loop) -> None:
    with pytest.raises(BadInput, match=told):
        convert(loop, sample)


def test_a_module_without_neurons_is_refused() -> None:
    with pytest.raises(BadInput, match="without calling a layer of neurons"):
        convert(nn.Linear(12, 4), spikes(12))


def test_an_unknown_allowance_is_refused(loop: Loop) -> None:
    with pytest.raises(BadInput, match="'rest' is not known; known are reset, input"):
        convert(loop, spikes(12), allow={"rest"})
    assert set(ALLOWANCES) == {"reset", "input"}


# --- proof and damage -----------------------------------------------------------------------------------------------


def test_a_graph_that_is_not_equal_is_refused(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    true = layers.node_of

    def wrong(path: str, module: nn.Module, given: tuple[int, ...]) -> Any:
        node, shape = true(path, module, given)
        if path == "fc2":
            node.weight = node.weight + 0.5 * (np.arange(len(node.weight)) == 4)[:, None]
        return node, shape

    monkeypatch.setattr(layers, "node_of", wrong)
    with pytest.raises(Failed, match=r"NOT EQUAL: layer 'cell2', tick \d+, sequence \d, neuron 4: the module fires"):
        convert(loop, spikes(12))


def test_random_inputs_are_held_too(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference that the sample does not show."""
    x = spikes(12)
    x[:, :, 7] = 0
    true = layers.node_of

    def wrong(path: str, module: nn.Module, given: tuple[int, ...]) -> Any:
        node, shape = true(path, module, given)
        if path == "fc1":
            node.weight = np.where(np.arange(12) == 7, -node.weight, node.weight)
        return node, shape

    monkeypatch.setattr(layers, "node_of", wrong)
    monkeypatch.setattr(converting, "RANDOM_RATES", ())
    convert(loop, x)
    monkeypatch.undo()
    monkeypatch.setattr(layers, "node_of", wrong)
    with pytest.raises(Failed, match="NOT EQUAL: layer 'cell1'"):
        convert(loop, x)


def test_layers_that_never_fire_are_told(loop: Loop) -> None:
    with torch.no_grad():
        loop.fc2.weight.zero_()
        loop.fc2.bias.zero_()
    assert [row for row in convert(loop, spikes(12)).remarks if row.startswith("cell2: never fired in the proof")]


def test_what_an_allowance_changes_is_measured() -> None:
    p = norse.LIFParameters(v_reset=torch.as_tensor(-0.4))
    module = lively(norse.SequentialState(nn.Linear(12, 4), norse.LIF(p)), 6.0)
    x = spikes(12)
    theirs = module(x)[0].detach().numpy()
    found = convert(module, x, allow={"reset"}, labels=[0, 1, 2])
    (change,) = found.changes
    assert change.own_spikes == theirs.sum() < change.converted_spikes and change.different > 0
    assert change.neuron_ticks == theirs.size and found.proof == ()
    answers = theirs.sum(0).argmax(1)
    assert found.own_accuracy == pytest.approx((answers == [0, 1, 2]).mean())
    assert found.converted_accuracy is not None and found.told[0].startswith("changed: '1': v_reset = -0.4")
    with pytest.raises(BadInput, match="labels: shape"):
        convert(module, x, allow={"reset"}, labels=[0, 1])


def test_a_training_leaves_states_behind_that_are_not_copied() -> None:
    module = lively(norse.SequentialState(nn.Linear(12, 10), norse.LIF()), 6.0)
    x = spikes(12)
    module(x)[0].sum().backward()
    weights = [p.clone() for p in module.parameters()]
    convert(module, x)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), weights, strict=True))
    assert all(p.dtype == torch.float32 for p in module.parameters()) and module.training
