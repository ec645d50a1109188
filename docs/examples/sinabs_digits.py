"""scikit-learn's digits in sinabs, trained on one core in seconds, then as the integers of a Loihi 1.

`python sinabs_digits.py` trains, converts, maps and tells. `muspike simulate sinabs_digits.py:build` calls `build`.
Needs: pip install sinabs scikit-learn
"""

import sinabs
import sinabs.activation as sa
import sinabs.layers as sl
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

TICKS = 20


def network():
    """Two layers of neurons, on `[batch, ticks, 64]`."""
    once = {"spike_fn": sa.SingleSpike, "reset_fn": sa.MembraneReset()}  # the defaults fire and subtract several times
    return nn.Sequential(
        nn.Linear(64, 64),
        sl.LIF(tau_mem=10.0, norm_input=False, **once),
        nn.Linear(64, 10),
        sl.LIF(tau_mem=10.0, norm_input=False, **once),
    )


def data():
    """Images as spikes `[batch, ticks, 64]` at the rate of each pixel, and classes: to train on, and to test on."""
    torch.manual_seed(0)
    images, classes = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, classes, test_size=0.2, random_state=0)
    images, tests, classes, answers = (torch.tensor(part) for part in parts)
    spikes = [(torch.rand(len(of), TICKS, 64) < of[:, None]).float() for of in (images, tests)]
    return spikes[0], classes, spikes[1], answers


def trained(spikes, classes):
    """The network after ten passes over the data."""
    torch.manual_seed(0)
    net = network()
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(10):
        for part in torch.randperm(len(classes)).split(64):
            loss = nn.functional.cross_entropy(net(spikes[part]).mean(1) * 10, classes[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            sinabs.reset_states(net)
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
    run = simulate(compile_graph(found.graph, "loihi1"), {"input": found.spikes})
    print("\n".join(classify(run, answers.numpy()).lines()))
