"""What holds for every spiking architecture: causal, the same all at once and step by step, trainable everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from muspike import architectures, tokens
from muspike.architectures.common import draw_weights
from muspike.errors import BadInput
from muspike.host import Timing
from muspike.network import Network, Population, Synapse

SPIKING = sorted(name for name in architectures.ARCHITECTURES if name.startswith("s-"))
VARIANTS: list[tuple[str, dict[str, object]]] = [
    *((name, {}) for name in SPIKING),
    ("s-transformer", {"attention": "windowed", "window": 3}),
    ("s-transformer", {"recurrent": True}),
]


def network_of(name: str, more: dict[str, object]) -> Network:
    torch.manual_seed(0)
    network = architectures.build(name, {**architectures.preset(name, "tiny")["network"], **more})
    assert isinstance(network, Network)
    with torch.no_grad():  # so that small networks fire everywhere
        for weight in network.weights.values():
            weight *= 1.5
    return network.eval()


def words_of(network: Network, length: int, batch: int) -> torch.Tensor:
    """Words at random, with the noise behind them."""
    sizes = [*tokens.SIZES, *[network.noise.values] * network.noise.draws]
    random = torch.Generator().manual_seed(1)
    return torch.stack([torch.randint(size, (length, batch), generator=random) for size in sizes], -1)


@pytest.mark.parametrize(("name", "more"), VARIANTS)
def test_changing_a_token_changes_nothing_before_it(name: str, more: dict[str, object]) -> None:
    network = network_of(name, more)
    words = words_of(network, 12, 8)
    logits, _ = network(words)
    for n in (0, 5, 11):
        changed = words.clone()
        changed[n] = (changed[n] + 1) % torch.tensor([*tokens.SIZES, *[network.noise.values] * network.noise.draws])
        other, _ = network(changed)
        assert torch.equal(other[:n], logits[:n])
        assert not torch.equal(other[n], logits[n])


@pytest.mark.parametrize(("name", "more"), VARIANTS)
def test_a_token_is_remembered(name: str, more: dict[str, object]) -> None:
    network = network_of(name, more)
    words = words_of(network, 4, 32)
    changed = words.clone()
    changed[0] = words[0].flip(0)
    assert not torch.equal(network(words)[0][3], network(changed)[0][3])


@pytest.mark.parametrize(("name", "more"), VARIANTS)
def test_all_at_once_equals_step_by_step(name: str, more: dict[str, object]) -> None:
    network = network_of(name, more)
    words = words_of(network, 10, 3)
    logits, _ = network(words)
    runner = network.runner()
    runner.reset(3)
    stepped = np.stack([runner.step(word.numpy().astype(np.int16)) for word in words])
    torch.testing.assert_close(torch.from_numpy(stepped), logits.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "more"), VARIANTS)
def test_every_weight_gets_a_gradient(name: str, more: dict[str, object]) -> None:
    network = network_of(name, more)
    logits, _ = network(words_of(network, 24, 16))
    logits.logsumexp(-1).sum().backward()
    for weight, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), weight


@pytest.mark.parametrize("name", SPIKING)
def test_presets_build_and_are_small_enough(name: str) -> None:
    presets = architectures.presets(name)
    assert {"paper", "small", "base", "tiny"} <= set(presets)
    for which, preset in presets.items():
        network = architectures.build(name, preset["network"])
        assert isinstance(network, Network)
        if which in ("paper", "small"):
            taus = {p.tau for p in network.populations.values() if p.kind == "lif"} - {1.0}
            assert all(set(tau) == {2.0} if isinstance(tau, tuple) else tau == 2.0 for tau in taus)
        if which == "small":
            # Two bytes each on disk: below 3 MB.
            assert sum(p.numel() for p in network.parameters()) < 1.5e6


@pytest.mark.parametrize("name", SPIKING)
def test_sizes_out_of_range_are_refused(name: str) -> None:
    field = "mlp" if name == "s-transformer" else "width"
    with pytest.raises(BadInput, match=f"{field} 0 must lie between 1 and"):
        architectures.build(name, {field: 0})
    with pytest.raises(BadInput, match="ticks 100 must lie between"):
        architectures.build(name, {"ticks": 100})


def test_an_unknown_attention_is_refused() -> None:
    with pytest.raises(BadInput, match="attention 'quadratic' must be one of linear, windowed"):
        architectures.build("s-transformer", {"attention": "quadratic"})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("s-rnn", {"tau": []}, "tau has no values"),
        ("s-rnn", {"tau": ["a"]}, "tau has the entry 'a'; numbers are wanted"),
        ("s-rnn", {"recurrent_delays": [True]}, "recurrent_delays has the entry True"),
        ("s-cnn", {"dilations": [1.5]}, r"dilations has the entry 1.5; numbers are wanted, as in \[1, 2, 4, 8\]"),
        ("s-lstm", {"v_threshold": 1e300}, "v_threshold 1e\\+300 is above 1e\\+06"),
        ("s-lstm", {"tau": float("inf")}, "tau inf is above"),
    ],
)
def test_nonsense_in_a_list_or_a_constant_is_refused(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        architectures.build(name, settings)


def test_first_weights_follow_threshold_fan_in_parallel_synapses_loops_and_tau() -> None:
    """input -> a (twice), a -> b, b -> a a token later: a loop of two; b -> readout."""
    size, period = 300, 6
    populations = [
        Population("input", tokens.N_AXONS, "input"),
        Population("a", size, tau=(2.0,) * 150 + (8.0,) * 150, v_threshold=0.8),
        Population("b", size, tau=2.0, v_threshold=0.5),
        Population("readout", tokens.N_AXONS, "li"),
    ]
    synapses = [
        Synapse("input", "a"),
        Synapse("input", "a", period),
        Synapse("a", "b"),
        Synapse("b", "a", period),
        Synapse("b", "readout"),
    ]
    network = Network(populations, synapses, Timing(2, period))
    torch.manual_seed(0)
    draw_weights(network, from_input=1.5, forward=3.0, loop=0.5, by_tau=True)
    spread = {name: weight.detach().std().item() for name, weight in network.weights.items()}
    assert spread["b_to_readout"] == pytest.approx(1 / size**0.5, rel=0.02)
    slow, fast = network.weights["input_to_a"][150:], network.weights["input_to_a"][:150]
    assert fast.std().item() == pytest.approx(1.5 * 0.8 / (7 * 2) ** 0.5, rel=0.02)
    assert slow.std().item() == pytest.approx(2 * fast.std().item(), rel=0.02)
    # a and b are a loop, so the synapses between them are both weak.
    assert spread["a_to_b"] == pytest.approx(0.5 * 0.5 / size**0.5, rel=0.02)
    assert network.weights["b_to_a_after_6"][:150].std().item() == pytest.approx(0.5 * 0.8 / size**0.5, rel=0.02)

    open_loop = Network(populations, [s for s in synapses if s.source != "b" or s.target != "a"], Timing(2, period))
    draw_weights(open_loop, forward=3.0)
    assert open_loop.weights["a_to_b"].std().item() == pytest.approx(3.0 * 0.5 / size**0.5, rel=0.02)
    assert open_loop.weights["input_to_a"][150:].std().item() == pytest.approx(1.2 * 0.8 / 14**0.5, rel=0.02)


def test_weights_are_drawn_in_the_order_asked_for() -> None:
    """The S-LSTM's come by name, whatever order its synapses stand in: the same seed gives the same model as ever."""
    settings = architectures.preset("s-lstm", "tiny")["network"]
    torch.manual_seed(3)
    network = architectures.build("s-lstm", settings)
    assert isinstance(network, Network)
    trained = sorted(s.name for s in network.synapses if s.wires is None)
    torch.manual_seed(3)
    first = torch.randn_like(network.weights[trained[0]])
    drawn = network.weights[trained[0]].detach()
    torch.testing.assert_close(drawn / drawn.std(), first / first.std())
