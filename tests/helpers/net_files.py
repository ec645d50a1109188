"""`.net` files as lava-dl's SLAYER writes them: layers as dicts, and a NumPy meaning of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Layer = dict[str, Any]


def write_net(path: Path, layers: Sequence[Mapping[str, Any]]) -> Path:
    """Write layers: a group for each, the type as an array of one string, as SLAYER does."""
    with h5py.File(path, "w") as file:
        file["simulation/Ts"] = 1
        for number, layer in enumerate(layers):
            group = file.create_group(f"layer/{number}")
            for field, value in layer.items():
                if field == "neuron":
                    for name, number_or_text in value.items():
                        group[f"neuron/{name}"] = number_or_text
                else:
                    group[field] = np.array([value], "S10") if field == "type" else value
    return path


def neuron(**more: Any) -> dict[str, Any]:
    """LIF neurons with every field that SLAYER writes."""
    fields = {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 60, "refDelay": 1, "gradedSpike": False}
    return fields | more


def even(rng: np.random.Generator, *shape: int, most: int = 60) -> Array:
    """Weights as SLAYER's quantisation leaves them: even, float32."""
    return np.asarray(2 * rng.integers(-most // 2, most // 2 + 1, shape), np.float32)


def decayed(x: Array, decay: Array) -> Array:
    return np.asarray(np.sign(x) * ((np.abs(x) * (4096 - decay)) >> 12))


def fired(a_in: Array, fields: Mapping[str, Any], bias: Array) -> Array:
    """The spikes of neurons on what arrives, `[ticks, size]`, as the file's numbers say, in Python's integers."""
    u = v = np.zeros(a_in.shape[1], np.int64)
    spikes = []
    for x in a_in.astype(np.int64):
        u = decayed(u, np.asarray(fields["iDecay"], np.int64)) + (x << 6)
        v = decayed(v, np.asarray(fields["vDecay"], np.int64)) + u + (bias.astype(np.int64) << 6)
        spikes.append(v > fields["vThMant"] << 6)
        v = np.where(spikes[-1], 0, v)
    return np.array(spikes).astype(np.uint8)


def late(spikes: Array, ticks: int) -> Array:
    """Spikes that arrive so many ticks later."""
    return np.concatenate([np.zeros_like(spikes[:ticks]), spikes[: max(len(spikes) - ticks, 0)]])
