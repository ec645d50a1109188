"""Exports that are compared whether or not anything fires, which an export itself demands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from muspike.export.subject import Subject
from muspike.export.targets import TARGETS
from muspike.export.verify import Proof, compare


def tried(to: str, subject: Subject, path: Path, **options: Any) -> Proof:
    """Write a subject to a file of a target, run it on 8 words, and compare."""
    target = TARGETS[to]
    chosen = target.chosen(options)
    target.exporter.write(subject, path, chosen)
    judgement = target.exporter.judgement(subject, chosen)
    stimulus = subject.stimulus(8, judgement.batch)
    expected = target.exporter.expect(subject, stimulus, chosen)
    return compare(str(path), judgement, expected, target.exporter.run(path, stimulus.spikes, chosen))


def equal(proof: Proof) -> bool:
    """Whether nothing differs."""
    return all(row.exact for row in proof.rows) and (proof.worst_answer or 0) <= proof.tolerance
