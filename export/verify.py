"""The proof of an export: the written file is read back, run by other code, and compared spike for spike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from muspike.hardware.running.agreement import Exactness
from muspike.tables import text_table

# Two executions in float64 add in different orders, so their logits may differ by this much.
_LOGIT_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Proof:
    """What was written, what ran it, and how every population compares.

    Attributes:
        file: the file that was written.
        reference: the execution that the file is compared with.
        against: the code that ran the file.
        rows: the comparison of each population.
        worst_logit: the largest difference of a logit; None: logits were not compared.
    """

    file: str
    reference: str
    against: str
    rows: Sequence[Exactness]
    worst_logit: float | None = None

    @property
    def holds(self) -> bool:
        """Whether nothing differs, and at least one spike was compared."""
        equal = all(row.exact for row in self.rows)
        close = self.worst_logit is None or self.worst_logit <= _LOGIT_TOLERANCE
        return equal and close and any(row.spikes for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """All fields, and whether the proof holds, as a JSON-able dict."""
        rows = [row.to_dict() for row in self.rows]
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "rows"}
        return {**fields, "populations_in_all_sequences": rows, "holds": self.holds}

    def table(self) -> str:
        """The proof as a table for people."""
        lines = [f"{self.file}: {self.reference} against {self.against}"]
        rows = [[r.population, f"{r.neuron_ticks:,}", f"{r.spikes:,}", f"{r.differences:,}"] for r in self.rows]
        lines += text_table(["population", "neuron-ticks", "spikes", "differences"], rows)
        if self.worst_logit is not None:
            lines.append(f"largest difference of a logit: {self.worst_logit:.1e} (at most {_LOGIT_TOLERANCE:.0e})")
        lines.append("equal" if self.holds else "NOT EQUAL")
        return "\n".join(lines)
