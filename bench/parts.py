"""What was measured of one model, as one file: so that a stopped report goes on, and that a cluster can measure parts.

A part is an `.npz` of plain arrays and one JSON text. Its name tells the model and a digest of everything that the
figures depend on, so a part of another model, corpus, seed or chip is never taken for this one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput, one_line
from muspike.files import check_file, write_whole
from muspike.hardware.npz import UNREADABLE, read_archive
from muspike.tokens import Words

FORMAT = "muspike bench part 1"
LARGEST_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class Part:
    """What was measured of one model.

    Attributes:
        result: the model's entry of `bench.json`.
        words: a piece that it composed on the chip, `[words, 7]`.
        spikes: uint8 `[ticks, size]` of each population while it read one piece.
        period: ticks per word in `spikes`.
        first_token: the first word of `spikes` that is drawn.
        relays: the neurons of each population of relays.
        samples: by metric, `generated` and `reference`: a value per piece.
    """

    result: dict[str, Any]
    words: Words
    spikes: Mapping[str, npt.NDArray[np.uint8]]
    period: int
    first_token: int
    relays: Mapping[str, int]
    samples: Mapping[str, Mapping[str, npt.NDArray[np.float64]]]

    def save(self, path: Path) -> None:
        """Write the part, whole or not at all."""
        names, metrics = list(self.spikes), list(self.samples)
        told = {
            "format": FORMAT,
            "result": self.result,
            "period": self.period,
            "first_token": self.first_token,
            "relays": dict(self.relays),
            "spikes": names,
            "metrics": metrics,
        }
        arrays: dict[str, npt.NDArray[Any]] = {"words": self.words}
        arrays |= {f"spikes.{i}": self.spikes[name] for i, name in enumerate(names)}
        for i, name in enumerate(metrics):
            arrays |= {f"{of}.{i}": np.asarray(self.samples[name][of], np.float64) for of in ("generated", "reference")}
        about = np.frombuffer(json.dumps(told | {"digest": _digest(told, arrays)}).encode(), np.uint8)
        arrays["about"] = about
        with write_whole(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # of none of its options has a name here

    @classmethod
    def load(cls, path: Path) -> Part:
        """Read a part. Nothing in it is executed.

        Raises:
            BadInput: it cannot be read, or is no part.
        """
        check_file(path, LARGEST_BYTES)
        try:
            arrays = read_archive(path, 4 * LARGEST_BYTES)
            told = json.loads(arrays.pop("about").tobytes())
            if told["format"] != FORMAT:
                raise BadInput(f"{path}: is a part of another form, {told['format']!r}; delete it")
            if told.pop("digest") != _digest(told, arrays):
                raise BadInput(f"{path}: was changed after it was written; delete it")
            return cls(
                result=told["result"],
                words=arrays["words"],
                spikes={name: arrays[f"spikes.{i}"] for i, name in enumerate(told["spikes"])},
                period=told["period"],
                first_token=told["first_token"],
                relays=told["relays"],
                samples={
                    name: {of: arrays[f"{of}.{i}"] for of in ("generated", "reference")}
                    for i, name in enumerate(told["metrics"])
                },
            )
        except UNREADABLE as error:
            raise BadInput(f"{path}: damaged, or no part of a report: {one_line(error)}; delete it") from error


def _digest(told: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """The sha256 of everything in a part."""
    found = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        found.update(f"\n{name} {array.dtype} {list(array.shape)} ".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def part_path(folder: Path, name: str, depends_on: Mapping[str, Any]) -> Path:
    """Where the part of the model called `name` is, which depends on these JSON-able settings."""
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "model"
    return folder / "parts" / f"{readable}-{digest}.npz"
