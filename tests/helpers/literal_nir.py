"""A NIR graph taken literally, node by node and tick by tick: slow, without a matrix or a shape of muspike's own.

Convolutions and pools are torch's. A neuron hears what its own spikes come back as without a Delay one tick later.
Understands the graphs of `random_nir`: loops lead from a population to itself.
"""

from __future__ import annotations

import functools
from typing import Any

import nir
import numpy as np
import torch
from torch.nn import functional as F


class Literal:
    """The values of all nodes for given spikes, by input `[ticks, batch, size]`."""

    def __init__(self, graph: nir.NIRGraph, spikes: dict[str, Any], dt_s: float) -> None:
        self.nodes: dict[str, Any] = {}
        self.sources: dict[str, list[str]] = {}
        self.dt_s, self.spikes = dt_s, spikes
        self.ticks, self.batch = next(iter(spikes.values())).shape[:2]
        self._add(graph, "")
        self.states: dict[tuple[str, int], Any] = {}
        self.silent: dict[str, Any] = {}  # what neurons give before the first tick
        self.value = functools.cache(self._value)

    def _add(self, graph: nir.NIRGraph, prefix: str) -> None:
        inner = {f"{prefix}{key}": node for key, node in graph.nodes.items()}
        self.nodes |= {name: node for name, node in inner.items() if not isinstance(node, nir.NIRGraph)}
        ends: dict[tuple[str, type], str] = {}
        for name, node in inner.items():
            if isinstance(node, nir.NIRGraph):
                self._add(node, f"{name}.")
                ends |= {(name, type(n)): f"{name}.{k}" for k, n in node.nodes.items()}
        for a, b in dict.fromkeys(graph.edges):
            source, target = f"{prefix}{a}", f"{prefix}{b}"
            source, target = ends.get((source, nir.Output), source), ends.get((target, nir.Input), target)
            self.sources.setdefault(target, []).append(source)

    def run(self, name: str) -> Any:
        """What comes out of a node, `[ticks, batch, size]`."""
        return np.stack([self.value(name, t).reshape(self.batch, -1).numpy() for t in range(self.ticks)])

    def _value(self, name: str, t: int) -> Any:
        """What comes out of a node in a tick."""
        node = self.nodes[name]
        if isinstance(node, nir.Input) and name not in self.sources:
            return torch.from_numpy(self.spikes[name][t].astype(float)).reshape(
                self.batch, *map(int, node.input_type["input"])
            )
        if isinstance(node, nir.Delay):
            late = np.round(np.asarray(node.delay) / self.dt_s).astype(int)
            out = torch.zeros(self.batch, *late.shape, dtype=torch.float64)
            for ticks in np.unique(late[late <= t]):
                here = torch.from_numpy(late == ticks)
                heard = sum(self.value(s, t - int(ticks)) for s in self.sources[name])
                out[:, here] = heard.reshape(out.shape)[:, here]
            return out
        if t < 0 and type(node) not in _CONNECTIONS:
            return self.silent[name]
        if t > 0:
            self.value(name, t - 1)  # neurons go on from there
        back = {s: self._comes_back(s, name, node) for s in self.sources[name]}
        heard = [self.value(s, t) for s in back if not back[s]]
        self.silent.setdefault(name, torch.zeros_like(heard[0]))
        heard += [self.value(s, t - 1) for s in back if back[s]]
        x = sum(v.reshape(heard[0].shape) for v in heard)
        return _connection(node, x) if type(node) in _CONNECTIONS else self._neuron(name, node, x, t)

    def _comes_back(self, source: str, target: str, node: Any) -> int:
        """1 where an edge into a neuron closes a loop without a Delay, else 0."""
        if type(node) in _CONNECTIONS:
            return 0
        while type(self.nodes[source]) in _CONNECTIONS and len(self.sources.get(source, ())) == 1:
            (source,) = self.sources[source]
        return int(source == target)

    def _neuron(self, name: str, node: Any, x: Any, t: int) -> Any:
        """Forward Euler; the docstrings of nir's neurons."""
        field = {key: torch.as_tensor(np.asarray(v, float)) for key, v in vars(node).items() if key in _PARAMETERS}
        dt, zero = self.dt_s, torch.zeros_like(x)
        i, v = self.states.get((name, t - 1), (zero, zero))
        if isinstance(node, nir.Threshold):
            return (x.reshape(x.shape[0], *field["threshold"].shape) > field["threshold"]).double()
        if field["r"].ndim:
            i, v, x = (y.reshape(x.shape[0], *field["r"].shape) for y in (i, v, x))
        if "w_in" in field:
            i = i + dt / field["tau_syn"] * (field["w_in"] * x - i)
            x = i
        tau = field.get("tau", field.get("tau_mem"))
        v = v + field["r"] * x if tau is None else v + dt / tau * (field["v_leak"] + field["r"] * x - v)
        out = v
        if "v_threshold" in field:
            out = (v > field["v_threshold"]).double()
            v = torch.where(out > 0, 0.0, v)
        self.states[name, t] = i, v
        return out


_PARAMETERS = ("r", "tau", "tau_mem", "tau_syn", "w_in", "v_leak", "v_threshold", "threshold")
_CONNECTIONS = (
    nir.Linear, nir.Affine, nir.Scale, nir.Flatten, nir.Conv1d, nir.Conv2d, nir.SumPool2d, nir.AvgPool2d, nir.Input,
    nir.Output,
)  # fmt: skip


def _connection(node: Any, x: Any) -> Any:
    if isinstance(node, nir.Input | nir.Output):
        return x
    if isinstance(node, nir.Flatten):
        return x.reshape(x.shape[0], -1)
    if isinstance(node, nir.Scale):
        return x.reshape(x.shape[0], *node.scale.shape) * torch.from_numpy(node.scale)
    if isinstance(node, nir.Linear | nir.Affine):
        bias = torch.from_numpy(node.bias) if isinstance(node, nir.Affine) else 0
        return x.reshape(x.shape[0], -1) @ torch.from_numpy(node.weight).double().T + bias
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        convolve = F.conv2d if isinstance(node, nir.Conv2d) else F.conv1d
        weight, bias = torch.from_numpy(node.weight).double(), torch.from_numpy(node.bias)
        return convolve(x, weight, bias, node.stride, node.padding, node.dilation, node.groups)
    kernel, stride, padding = (tuple(map(int, v)) for v in (node.kernel_size, node.stride, node.padding))
    divisor = 1 if isinstance(node, nir.SumPool2d) else None
    return F.avg_pool2d(x, kernel, stride, padding, divisor_override=divisor)
