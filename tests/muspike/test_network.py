"""The fast execution of a network against its plain one, tick by tick; and the S-RNN."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from muspike import architectures
from muspike.errors import BadInput
from muspike.host import Timing
from muspike.network import Network, Population, Synapse, TorchRunner, or_gate
from muspike.tokens import N_AXONS, SIZES


def random_words(tokens: int, batch: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(0, size, (tokens, batch), generator=generator) for size in SIZES], -1)


def on_a_grid(network: Network) -> Network:
    """Weights on a coarse binary grid: every sum is exact, so that the order of summing cannot matter."""
    with torch.no_grad():
        for weight in network.weights.values():
            weight.copy_((weight * 64).round() / 64)
    return network


def s_rnn(**settings: object) -> Network:
    torch.manual_seed(0)
    network = architectures.build("s-rnn", {"width": 24, "layers": 2, "ticks": 3, **settings})
    assert isinstance(network, Network)
    return on_a_grid(network)


def mixed() -> Network:
    """Skips, forward delays within and across periods, two kinds of recurrence, several time constants."""
    torch.manual_seed(1)
    taus = tuple(2.0 ** (i % 4) for i in range(20))
    network = Network(
        [
            Population("input", N_AXONS, "input"),
            Population("a", 20, tau=taus),
            Population("b", 20, tau=taus, v_threshold=tuple(0.3 + 0.1 * (i % 3) for i in range(20))),
            Population("c", 20),
            Population("readout", N_AXONS, "li", tau=4.0),
        ],
        [
            Synapse("input", "a"),
            Synapse("a", "a", 7),
            Synapse("a", "a", 14),
            Synapse("a", "b", 7),
            Synapse("input", "b"),
            Synapse("a", "c", 2),
            Synapse("b", "c"),
            Synapse("c", "c", 1),
            Synapse("input", "c", 14),
            Synapse("input", "b", part=(450, N_AXONS)),
            Synapse("input", "c", 3, part=(0, 30)),
            Synapse("a", "c", 7, part=(5, 12)),
            Synapse("b", "readout", part=(0, 7)),
            Synapse("input", "readout", part=(3, 40)),
            Synapse("a", "readout"),
            Synapse("c", "readout", 1),
            Synapse("input", "readout"),
            Synapse("input", "readout", 9),
        ],
        Timing(3, 7),
    )
    with torch.no_grad():
        for weight in network.weights.values():
            weight.copy_(torch.randn_like(weight) * 0.4)
    return on_a_grid(network)


NETWORKS: dict[str, Callable[[], Network]] = {
    "one-tick recurrence": s_rnn,
    "one-period recurrence": lambda: s_rnn(recurrent_delays=["1 period"], tau=[2.0, 8.0, 32.0], skip=True),
    "both": lambda: s_rnn(recurrent_delays=[1, 3, "2 periods"], skip=True, tau_readout=8.0),
    "mixed": mixed,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_all_tokens_at_once_equals_tick_by_tick(name: str) -> None:
    network = NETWORKS[name]().eval()
    words = random_words(9, 2)
    layers = [p.name for p in network.populations.values() if p.kind == "lif"]
    with torch.no_grad():
        logits, spikes = network(words, record=layers)
        state = network.at_rest(2)
        for n, axons in enumerate(network.axons(words)):
            presented = torch.zeros(2, N_AXONS).scatter_(1, axons, 1.0)
            for t in range(network.timing.period):
                state = network.tick(presented if t < network.timing.ticks else torch.zeros_like(presented), state)
                for layer in layers:
                    slots = spikes[layer].shape[1]
                    expected = spikes[layer][n, t] if t < slots else torch.zeros_like(state[layer])
                    assert torch.equal(network.firing(state, layer), expected), (layer, n, t)
                if t == network.timing.ticks - 1:
                    torch.testing.assert_close(state[network.readout] + network.bias, logits[n], rtol=1e-5, atol=1e-5)
    for layer in layers:
        assert 0.01 < spikes[layer].mean() < 0.9, f"{layer} hardly tests anything"


def test_off_the_grid_the_two_differ_by_rounding_alone() -> None:
    """With any weights the order of a sum decides the last bits; a spike at its threshold may flip, hardly any does."""
    torch.manual_seed(5)
    network = architectures.build("s-rnn", {"width": 64, "recurrent_delays": ["1 period", 1], "skip": True}).eval()
    assert isinstance(network, Network)
    words = random_words(40, 4)
    with torch.no_grad():
        logits, _ = network(words)
    runner = TorchRunner(network)
    runner.reset(4)
    steps = torch.stack([torch.from_numpy(runner.step(w.numpy().astype(np.int16))) for w in words])
    assert ((steps - logits).abs() < 1e-4).float().mean() > 0.99


def test_runner_gives_the_logits_of_teacher_forcing() -> None:
    network = NETWORKS["both"]().eval()
    words = random_words(6, 3)
    with torch.no_grad():
        logits, _ = network(words)
    runner = TorchRunner(network)
    runner.reset(3)
    for n in range(6):
        step = runner.step(words[n].numpy().astype(np.int16))
        torch.testing.assert_close(torch.from_numpy(step), logits[n], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_later_word_changes_nothing_before_it(name: str) -> None:
    network = NETWORKS[name]().eval()
    words = random_words(8, 2)
    changed = words.clone()
    changed[5:] = random_words(3, 2, seed=9)
    with torch.no_grad():
        before, after = network(words)[0], network(changed)[0]
    assert torch.equal(before[:5], after[:5])
    assert not torch.equal(before[5:], after[5:])


def test_every_weight_gets_a_gradient() -> None:
    network = mixed().train()
    rates: dict[str, torch.Tensor] = {}
    logits, _ = network(random_words(5, 2), regularise=rates, dropout=0.2)
    (logits.square().mean() + sum(rates.values())).backward()
    assert set(rates) == {"a", "b", "c"}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Timing(5, 4), "ticks 5 must lie between 1 and the period, 4"),
        (lambda: Population("a", 3, tau=(1.0, 2.0)), "population a: 2 values of tau for 3 neurons"),
        (lambda: Population("a", 3, tau=0.5), "tau 0.5 is not at least one tick"),
        (lambda: architectures.build("s-rnn", {"recurrent_delays": ["bar"]}), "'bar' must be"),
        (lambda: architectures.build("s-rnn", {"widht": 3}), "unknown key 'widht'"),
        (lambda: architectures.build("s-rnn", {"width": "3"}), "must be of type int"),
        (lambda: architectures.build("s-xyz", {}), "known are s-cnn, "),
        (
            lambda: Network(
                [Population("i", N_AXONS, "input"), Population("a", 2), Population("r", N_AXONS, "li")],
                [Synapse("i", "a"), Synapse("a", "a"), Synapse("a", "r")],
                Timing(2, 4),
            ),
            "a loop needs a delay",
        ),
        (lambda: Population("a", 3, v_threshold=-0.1), "v_threshold -0.1 is not at least 0"),
        (lambda: architectures.build("s-rnn", {"width": 10**9}), "width 1000000000 must lie between 1 and 8192"),
        (
            lambda: Network(
                [Population("i", N_AXONS, "input"), Population("a", 2), Population("r", N_AXONS, "li")],
                [Synapse("i", "r"), Synapse("r", "a")],
                Timing(2, 4),
            ),
            "its source is a readout",
        ),
        (
            lambda: Network(
                [Population("i", N_AXONS, "input"), Population("a", 2), Population("r", N_AXONS, "li")],
                [Synapse("i", "r"), Synapse("a", "a", 1)],
                Timing(2, 4),
            ),
            "population a: nothing else reaches it",
        ),
        (
            lambda: Network(
                [Population("i", N_AXONS, "input"), Population("r", N_AXONS, "li")], [Synapse("i", "x")], Timing(2, 4)
            ),
            "there is no population x",
        ),
    ],
)
def test_what_does_not_fit_is_named(build: Callable[[], object], message: str) -> None:
    with pytest.raises(BadInput, match=message.replace("(", r"\(")):
        build()


def test_a_wire_onto_itself_is_trained_as_it_ticks() -> None:
    timing = Timing(2, 5)
    populations = [Population("input", N_AXONS, "input"), or_gate("memory", N_AXONS), Population("out", N_AXONS, "li")]
    synapses = [
        Synapse("input", "memory", wires=1.0),
        Synapse("memory", "memory", 5, wires=1.0),
        Synapse("memory", "out", wires=1.0),
    ]
    network = Network(populations, synapses, timing)
    words = torch.randint(0, 5, (4, 2, 7))
    logits, spikes = network(words, ["memory"])
    assert spikes["memory"][3].sum() > spikes["memory"][0].sum(), "it remembers"
    state = network.at_rest(2)
    for n, word in enumerate(words):
        for t, state in enumerate(network.period(word, state)):  # noqa: B020
            if t < 2:
                assert torch.equal(network.firing(state, "memory"), spikes["memory"][n, t])
            if t == 1:
                torch.testing.assert_close(state["out"], logits[n] - network.bias)


def test_what_has_no_spikes_cannot_be_recorded() -> None:
    network = architectures.build("s-lstm", {"width": 8, "ticks": 1})
    assert isinstance(network, Network)
    words = torch.randint(0, 5, (3, 2, 7))
    with pytest.raises(BadInput, match="record: memory9 has no spikes"):
        network(words, ["memory9"])
    with pytest.raises(BadInput, match="record: write1 has no spikes of its own here; without_composites"):
        network(words, ["write1"])
    assert network.without_composites()(words, ["write1"])[1]["write1"].shape == (3, 1, 2, 8)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ((0, N_AXONS + 1), r"synapse input_0_467_to_a: part \(0, 467\) reaches beyond the 466 neurons of input"),
        ((3, 3), r"synapse input_to_a: part is \(3, 3\); expected the first neuron, and the one after the last"),
    ],
)
def test_a_part_that_is_none_is_refused(part: tuple[int, int], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        Network(
            [Population("input", N_AXONS, "input"), Population("a", 2), Population("readout", N_AXONS, "li")],
            [Synapse("input", "a", part=part), Synapse("a", "readout")],
            Timing(3, 7),
        )


def test_a_group_that_is_not_heard_cannot_be_direct() -> None:
    with pytest.raises(BadInput, match=r"direct: 'bars' must be one of what the network hears, named once"):
        s_rnn(hears=["before"], direct=["bars"])
