"""scikit-learn's digits in SpikingJelly, trained on one core in seconds, then as the integers of a Loihi 2.

`python spikingjelly_digits.py` trains, converts, maps and tells. `muspike simulate spikingjelly_digits.py:build` calls
`build`.
Needs: pip install spikingjelly scikit-learn
"""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

TICKS = 20


def network():
    """Convolution, batch norm, pool, and two layers of neurons, in multi-step mode."""
    net = nn.Sequential(
        layer.Conv2d(1, 8, 3, padding=1, bias=False),
        layer.BatchNorm2d(8),
        neuron.LIFNode(tau=2.0),  # v_reset=0.0, the default, resets as a chip does; v_reset=None does not
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(128, 10),
        neuron.LIFNode(tau=2.0),
    )
    functional.set_step_mode(net, "m")
    return net


def data():
    """Images as spikes `[ticks, batch, 1, 8, 8]` at the rate of each pixel, and classes: to train and to test on."""
    torch.manual_seed(0)
    images, classes = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, classes, test_size=0.2, random_state=0)
    images, tests, classes, answers = (torch.tensor(part) for part in parts)
    spikes = [(torch.rand(TICKS, *of.shape) < of).float().unflatten(-1, (1, 8, 8)) for of in (images, tests)]
    return spikes[0], classes, spikes[1], answers


def trained(spikes, classes):
    """The network after ten passes over the data."""
    torch.manual_seed(0)
    net = network()
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(10):
        for part in torch.randperm(len(classes)).split(64):
            loss = nn.functional.cross_entropy(net(spikes[:, part]).mean(0) * 10, classes[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            functional.reset_net(net)
    return net


def build():
    """The trained network and the test images, for `muspike map` and `muspike simulate`."""
    spikes, classes, tests, _ = data()
    return trained(spikes, classes), tests


if __name__ == "__main__":
    from muspike.export.from_torch.convert import convert
    from muspike.hardware import classify, compile_graph, simulate

    spikes, classes, tests, answers = data()
    net = trained(spikes, classes)
    found = convert(net, tests, labels=answers)
    print("\n".join(found.told))
    run = simulate(compile_graph(found.graph, "loihi2"), {"input": found.spikes})
    print("\n".join(classify(run, answers.numpy()).lines()))
