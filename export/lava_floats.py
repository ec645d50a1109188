"""A network in floats as Lava's `floating_pt` models compute it, in one `.npz` file.

Lava's neuron in floats, with the input a of a step:

    u = u (1 - du) + a
    v = v (1 - dv) + u + bias;  s = v > vth;  v = 0 where s

It is ours with u in units of the membrane: du = 1 / tau_syn, dv = 1 / tau, and weights times both gains. Lava computes
it in float64. In Lava, as on a chip, every synapse takes a tick. So the levels are those of a chip (`retime`), and a
population's spikes are `level` ticks later than in the network. There is no longest delay, so there are no relays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput, one_line
from muspike.export.presentation import Presentation
from muspike.export.recording import Spikes
from muspike.export.subject import Subject
from muspike.files import check_file, write_whole
from muspike.hardware import weights as w
from muspike.hardware.graph import Kind, Population, Synapses
from muspike.hardware.mapping.retime import levels_of, once_resets
from muspike.hardware.npz import UNREADABLE, read_archive
from muspike.hardware.weights import Conv, Sparse

FORMAT, VERSION = "muspike floats", 1
LARGEST_BYTES = 2**30


@dataclass(frozen=True)
class LavaPopulation:
    """What is known of a population in the file, beside its numbers.

    Attributes:
        name, kind, size: as in the network.
        level: by how many ticks its spikes are later than in the network.
    """

    name: str
    kind: Kind
    size: int
    level: int


@dataclass(frozen=True, eq=False)
class FloatNetwork:
    """A network in floats for Lava.

    Attributes:
        populations: in order.
        presentation: how words go in and logits come out; None: the network reads no words.
        header: what the file's header says.
        arrays: the file's arrays, by name.
    """

    populations: Sequence[LavaPopulation]
    presentation: Presentation | None
    header: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]

    @classmethod
    def of(cls, subject: Subject) -> FloatNetwork:
        """The network of a subject.

        Raises:
            BadInput: it does not spike, holds only a chip's integers, or has a loop that is shorter than its synapses.
        """
        graph = subject.graph
        levels = levels_of(graph.populations, graph.synapses)
        resets = once_resets((p.name for p in graph.populations if p.bias.any()), graph.synapses, levels)
        populations = tuple(LavaPopulation(p.name, p.kind, p.size, levels[p.name]) for p in graph.populations)
        by_name = {p.name: p for p in graph.populations}
        arrays = {name: np.concatenate(parts) for name, parts in _neurons(graph.populations).items()}
        synapses = []
        for i, s in enumerate(graph.synapses):
            about, numbers = _synapses(s, by_name[s.target])
            about["delay"] = s.delay + levels[s.target] - levels[s.source]
            synapses.append(about)
            arrays |= {f"{name}_{i}": array for name, array in numbers.items()}
        described = [
            {"name": p.name, "kind": p.kind, "size": p.size, "level": p.level}
            | {"reset_interval": resets.get(p.name, (0, 0))[0], "reset_offset": resets.get(p.name, (0, 0))[1]}
            for p in populations
        ]
        presentation = subject.presentation
        header = {
            "format": FORMAT,
            "version": VERSION,
            "dt_s": graph.dt_s,
            "populations": described,
            "synapses": synapses,
            "presentation": None if presentation is None else presentation.to_json(),
        }
        return cls(populations, presentation, header, arrays)

    def save(self, path: Path) -> None:
        """Write the file. It needs only NumPy to be read."""
        text = np.frombuffer(json.dumps(self.header, allow_nan=False).encode(), np.uint8)
        with write_whole(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, header=text, **self.arrays)

    @classmethod
    def load(cls, path: Path) -> FloatNetwork:
        """Read a file that `save` wrote.

        Raises:
            BadInput: it cannot be read, or is no such file.
        """
        check_file(path, LARGEST_BYTES)
        try:
            arrays = read_archive(path, LARGEST_BYTES)
            header = json.loads(arrays.pop("header").tobytes())
            if (header["format"], header["version"]) != (FORMAT, VERSION):
                raise BadInput(f"is {header['format']!r:.40} version {header['version']!r:.10}; expected {FORMAT!r} 1")
            populations = tuple(
                LavaPopulation(str(p["name"]), p["kind"], int(p["size"]), int(p["level"]))
                for p in header["populations"]
            )
            told = header["presentation"]
            return cls(populations, None if told is None else Presentation.read(told), header, arrays)
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from error
        except UNREADABLE as error:
            raise BadInput(f"{path}: damaged, or not a {FORMAT} (.npz): {one_line(error)}") from error

    @property
    def names(self) -> list[str]:
        """The populations' names, in order."""
        return [p.name for p in self.populations]

    def padded(self, inputs: Spikes) -> Spikes:
        """The inputs `[ticks, batch, size]`, with so many silent ticks after them that the deepest population ends."""
        most = max(p.level for p in self.populations)
        return np.concatenate([inputs, np.zeros((most, *inputs.shape[1:]), inputs.dtype)])


def _neurons(populations: Sequence[Population]) -> dict[str, list[npt.NDArray[np.float64]]]:
    return {
        "du": [1 / p.tau_syn for p in populations],
        "dv": [p.leak for p in populations],
        "v_threshold": [p.v_threshold for p in populations],
        "bias_mant": [p.bias * p.gain for p in populations],
    }


def _synapses(s: Synapses, target: Population) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """What the header says of synapses, and their arrays, with both gains of the target in the weights."""
    weight = w.rows_scaled(w.astype(s.weight, np.float64), target.gain / target.tau_syn)
    about: dict[str, Any] = {"name": s.name, "source": s.source, "target": s.target, "shape": list(weight.shape)}
    numbers = {"weight": np.ascontiguousarray(w.values(weight))}
    if isinstance(weight, Sparse):
        return about | {"form": "sparse"}, numbers | {"starts": weight.starts, "targets": weight.targets}
    if not isinstance(weight, Conv):
        return about | {"form": "dense"}, numbers
    names = ("input_shape", "output_shape", "stride", "padding", "dilation")
    geometry = {name: list(getattr(weight, name)) for name in names} | {"groups": weight.groups}
    return about | {"form": "conv", "geometry": geometry}, numbers
