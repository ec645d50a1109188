"""scikit-learn's digits in Norse, trained on one core in seconds, then as the integers of a Loihi 2.

`python norse_digits.py` trains, converts, maps and tells. `muspike simulate norse_digits.py:build` calls `build`.
Needs: pip install norse scikit-learn
"""

import norse.torch as norse
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

TICKS = 20


def network():
    """Two layers of neurons with synaptic currents, and a readout; each takes all ticks at once."""
    return norse.SequentialState(
        nn.Linear(64, 64),
        norse.LIF(norse.LIFParameters(v_th=torch.as_tensor(0.5))),
        nn.Linear(64, 10),
        norse.LI(),
    )


def data():
    """Images as spikes `[ticks, batch, 64]` at the rate of each pixel, and classes: to train on, and to test on."""
    torch.manual_seed(0)
    images, classes = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, classes, test_size=0.2, random_state=0)
    images, tests, classes, answers = (torch.tensor(part) for part in parts)
    spikes = [(torch.rand(TICKS, *of.shape) < of).float() for of in (images, tests)]
    return spikes[0], classes, spikes[1], answers


def trained(spikes, classes):
    """The network after ten passes over the data."""
    torch.manual_seed(0)
    net = network()
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(10):
        for part in torch.randperm(len(classes)).split(64):
            loss = nn.functional.cross_entropy(net(spikes[:, part])[0].mean(0), classes[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
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
