"""A torch module's graph, written to a file, read and run: beside what the module itself gives."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from muspike.export.from_torch.convert import Converted, convert
from muspike.hardware import interpreter
from muspike.hardware.reader.file import read_nir
from muspike.hardware.reader.from_nir import from_nir

TICKS, BATCH = 30, 3


def spikes(*shape: int, rate: float = 0.4, seed: int = 3, batch_first: bool = False) -> torch.Tensor:
    """Random spikes `[ticks, batch, *shape]`, or `[batch, ticks, *shape]`."""
    lead = (BATCH, TICKS) if batch_first else (TICKS, BATCH)
    return (torch.rand(*lead, *shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def lively(module: nn.Module, factor: float = 1.0, seed: int = 0) -> nn.Module:
    """The module with random weights of zero mean, large enough that its neurons fire."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d):
            inputs = part.weight[0].numel()
            with torch.no_grad():
                part.weight.copy_(torch.randn(part.weight.shape, generator=generator) * factor * 2 / inputs**0.5)
                if part.bias is not None:
                    part.bias.copy_(torch.randn(part.bias.shape, generator=generator) * 0.2)
    return module


def through_a_file(found: Converted, folder: Path) -> npt.NDArray[Any]:
    """What the one output of a graph gives on the sample, `[ticks, batch, size]`, once it was written and read."""
    nir.write(folder / "module.nir", found.graph)
    read = from_nir(read_nir(folder / "module.nir"))
    (output,) = read.outputs
    assert found.spikes is not None
    fired, membranes = interpreter.run(read, {"input": found.spikes}, graded=("input",))
    return fired[output] if output in fired else membranes[output]


def held(module: nn.Module, sample: torch.Tensor, theirs: torch.Tensor, folder: Path, **options: Any) -> Converted:
    """Convert a module, and hold the graph's file to `theirs`, what the module itself gave, `[ticks, batch, ...]`.

    Every layer has fired, and not always.
    """
    before = copy.deepcopy({name: value.clone() for name, value in module.state_dict().items()})
    found = convert(module, sample, **options)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} was changed"
    ours = through_a_file(found, folder)
    wanted = theirs.detach().double().numpy().reshape(ours.shape)
    if set(np.unique(wanted)) <= {0.0, 1.0}:
        assert 0.01 < ours.mean() < 0.95
        np.testing.assert_array_equal(ours, wanted)
    else:
        np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-5)
    assert found.proof and not [row for row in found.remarks if "never fired" in row]
    return found


def nodes(found: Converted) -> dict[str, str]:
    """The kinds of a graph's nodes by name."""
    return {name: type(node).__name__ for name, node in found.graph.nodes.items()}
