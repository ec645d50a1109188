"""The proof of an export: the written file is read back, run by other code, and compared spike for spike.

What is expected is kept in a file beside the exported one (`Expected`). So the proof can be made again later, and
elsewhere, from the two files alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from muspike.errors import BadInput, one_line
from muspike.export.recording import Array, Recording
from muspike.files import check_file, write_whole
from muspike.hardware.npz import UNREADABLE, read_archive
from muspike.hardware.running.agreement import Exactness, exactness
from muspike.tables import text_table

FORMAT, VERSION = "muspike expected", 1
LARGEST_BYTES = 2**30
MOST_TOLERATED = 0.05  # by any target, of an answer
_PARTS = ("spikes", "answers", "membrane", "current")


@dataclasses.dataclass(frozen=True)
class Judgement:
    """How the files of a target are judged.

    Attributes:
        reference: what a file is held against, in words.
        against: what runs the file, in words.
        tolerance: the largest difference of an answer (a logit, or a membrane that the host reads).
        batch: sequences that are compared side by side.
    """

    reference: str
    against: str
    tolerance: float = 1e-9  # executions in float64 add in different orders
    batch: int = 4


@dataclasses.dataclass(frozen=True)
class Proof:
    """What was written, what ran it, and how every population compares.

    Attributes:
        file: the file that was written.
        reference: the execution that the file is compared with.
        against: the code that ran the file.
        rows: the comparison of each population.
        tolerance: the largest difference of an answer that is allowed.
        worst_answer: the largest difference of an answer: a logit, or the membrane of a readout; None: none was
            compared.
        spiking: whether the network spikes.
        receipt: what the file gives up against the network, and what that saves, by name; empty: nothing.
    """

    file: str
    reference: str
    against: str
    rows: Sequence[Exactness]
    tolerance: float
    worst_answer: float | None = None
    spiking: bool = True
    receipt: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether nothing differs, and at least one spike was compared, or one answer of a network without spikes."""
        equal = all(row.exact for row in self.rows)
        close = self.worst_answer is None or self.worst_answer <= self.tolerance
        compared = any(row.spikes for row in self.rows) if self.spiking else self.worst_answer is not None
        return equal and close and compared

    def to_dict(self) -> dict[str, Any]:
        """All fields, and whether the proof holds, as a JSON-able dict."""
        rows = [row.to_dict() for row in self.rows]
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "rows"}
        return {**fields, "populations_in_all_sequences": rows, "holds": self.holds}

    def table(self) -> str:
        """The proof as a table for people."""
        lines = [f"{self.file}: {self.against}, against {self.reference}"]
        cells = [[r.population, f"{r.neuron_ticks:,}", f"{r.spikes:,}", f"{r.differences:,}"] for r in self.rows]
        if cells:
            lines += text_table(["population", "neuron-ticks", "spikes", "differences"], cells)
        if self.worst_answer is not None:
            lines.append(f"largest difference of an answer: {self.worst_answer:.1e} (at most {self.tolerance:.0e})")
        lines += [f"{name.replace('_', ' ')}: {_told(value)}" for name, value in self.receipt.items()]
        lines += [self.why] if self.why else []
        lines.append("equal" if self.holds else "NOT EQUAL")
        return "\n".join(lines)

    @property
    def why(self) -> str:
        """Why the proof does not hold, in a few words; empty if it holds."""
        if differing := [(row.first_tick, row.population) for row in self.rows if row.first_tick is not None]:
            tick, population = min(differing)
            return f"first difference: {population}, tick {tick}"
        if self.spiking and not any(row.spikes for row in self.rows):
            return "nothing fired, so nothing is proved; try more words (--tokens)"
        if not self.holds:
            return (
                f"an answer differs by {self.worst_answer}" if self.worst_answer is not None else "nothing was compared"
            )
        return ""


def _told(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def compare(file: str, judgement: Judgement, expected: Recording, found: Recording) -> Proof:
    """Compare what a file did with what is expected of it.

    Raises:
        BadInput: the file lacks a population or an answer, or one has another shape.
    """
    for what in ("membrane", "current"):
        if missing := getattr(expected, what).keys() - getattr(found, what).keys():
            raise BadInput(f"{file}: gives no {what} of {min(missing)}")
    states = [(found.membrane, expected.membrane), (found.current, expected.current)]
    # A readout does not spike. It has a row of its own if its u and v were recorded.
    silent = [{name: np.zeros_like(v, np.uint8) for name, v in of.membrane.items()} for of in (found, expected)]
    rows = exactness({**silent[0], **found.spikes}, {**silent[1], **expected.spikes}, states)
    worst = None
    for name, wanted in expected.answers.items():
        if name not in found.answers or found.answers[name].shape != wanted.shape:
            raise BadInput(f"{file}: gives no {name} of shape {list(wanted.shape)}")
        difference = float(np.abs(found.answers[name] - wanted).max(initial=0.0))
        worst = max(worst or 0.0, float("inf") if np.isnan(difference) else difference)
    return Proof(
        file, judgement.reference, judgement.against, rows, judgement.tolerance, worst, bool(expected.spikes or rows)
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Expected:
    """What is expected of an exported file, kept beside it.

    Attributes:
        target: the name of the target.
        options: the target's options.
        judgement: how the file is judged.
        sha256: of the file and of the files that belong to it, by name.
        inputs: input spikes, uint8 `[ticks, batch, size]`.
        recording: what the reference did on them.
    """

    target: str
    options: Mapping[str, Any]
    judgement: Judgement
    sha256: Mapping[str, str]
    inputs: Array
    recording: Recording

    def save(self, path: Path) -> None:
        """Write the file. Spikes are packed, eight neurons to a byte."""
        arrays: dict[str, Array] = {"inputs": self.inputs}
        names: dict[str, list[str]] = {}
        shapes: dict[str, list[int]] = {"inputs": list(self.inputs.shape)}
        for part in _PARTS:
            found: Mapping[str, Array] = getattr(self.recording, part)
            names[part] = list(found)
            for number, array in enumerate(found.values()):
                key = f"{part}_{number}"
                shapes[key] = list(array.shape)
                arrays[key] = array
        spiking = [key for key in arrays if key == "inputs" or key.startswith("spikes_")]
        packed = [key for key in spiking if arrays[key].max(initial=0) <= 1]
        arrays |= {key: np.packbits(arrays[key], axis=-1) for key in packed}
        header = {
            "format": FORMAT,
            "version": VERSION,
            "target": self.target,
            "options": dict(self.options),
            "judgement": dataclasses.asdict(self.judgement),
            "sha256": dict(self.sha256),
            "names": names,
            "shapes": shapes,
            "packed": packed,
        }
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        with write_whole(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Expected:
        """Read the file.

        Raises:
            BadInput: it cannot be read, or is no such file.
        """
        check_file(path, LARGEST_BYTES)
        try:
            arrays = read_archive(path, LARGEST_BYTES)
            header = json.loads(arrays["header"].tobytes())
            if header["format"] != FORMAT or header["version"] != VERSION:
                raise BadInput(
                    f"{path}: is {header['format']!r:.40} version {header['version']!r:.10}; expected {FORMAT!r} "
                    f"version {VERSION}"
                )
            for key, shape in header["shapes"].items():
                held = [*shape[:-1], -(-shape[-1] // 8)] if key in header["packed"] else shape
                if list(arrays[key].shape) != held or min(shape[:2]) < 1 or arrays[key].dtype.kind not in "uif":
                    what = f"{arrays[key].dtype} {list(arrays[key].shape)}"
                    raise BadInput(f"{path}: {key} is {what}, which does not fit the shape {shape!r:.60}")
            for key in header["packed"]:
                arrays[key] = np.unpackbits(arrays[key], axis=-1, count=header["shapes"][key][-1])
            parts = {
                part: {name: arrays[f"{part}_{number}"] for number, name in enumerate(header["names"][part])}
                for part in _PARTS
            }
            if strange := [name for name in header["sha256"] if Path(name).name != name]:
                raise BadInput(f"{path}: names {strange[0]!r:.60}; expected files of its own folder")
            judgement = Judgement(**header["judgement"])
            if not 0 <= judgement.tolerance <= MOST_TOLERATED:
                raise BadInput(f"{path}: tolerates {judgement.tolerance!r:.20}; expected 0 to {MOST_TOLERATED}")
            about = str(header["target"]), dict(header["options"]), judgement, dict(header["sha256"])
            found = cls(*about, arrays["inputs"], Recording(**parts))
        except BadInput as error:
            raise BadInput(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
        except UNREADABLE as error:
            raise BadInput(
                f"{path}: is not what an export writes beside its file, or is damaged: {one_line(error)}"
            ) from error
        return found


def expected_path(path: Path) -> Path:
    """The file of what is expected of the exported file `path`."""
    return path.with_name(path.name + ".expected.npz")


def digests(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """The sha256 of files in a folder, by name.

    Raises:
        BadInput: one is missing or cannot be read.
    """
    found = {}
    for name in names:
        check_file(folder / name)
        found[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return found
