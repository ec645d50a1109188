"""Run NeuroBench on networks of `neurobench_networks.py` and print its figures as JSON. It imports nothing of muspike.

python neurobench_worker.py NAME ...
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import ActivationSparsity, MembraneUpdates, SynapticOperations
from neurobench.models import SNNTorchModel
from torch.utils.data import DataLoader, TensorDataset

import neurobench_networks as networks

METRICS = [[ParameterCount, Footprint, ConnectionSparsity], [ActivationSparsity, SynapticOperations, MembraneUpdates]]


def measured(name: str) -> dict[str, Any]:
    """The figures of one network, per sequence where they are of a run."""
    module, sample = networks.ALL[name]()
    samples = sample.swapaxes(0, 1)  # [batch, ticks, ...]
    data = TensorDataset(samples, samples[:, :1])
    model = SNNTorchModel(module)
    benchmark = Benchmark(model, DataLoader(data, batch_size=len(data)), [], [], METRICS)
    found = benchmark.run(quiet=True)
    found["FootprintAfterTheRun"] = Footprint()(model)
    return {key: value.item() if hasattr(value, "item") else value for key, value in found.items()}


if __name__ == "__main__":
    if sys.argv[1:] == ["--versions"]:
        print(json.dumps({name: version(name) for name in ("neurobench", "snntorch", "torch")}))
    else:
        print(json.dumps({name: measured(name) for name in sys.argv[1:]}))
