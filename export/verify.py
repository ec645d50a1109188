"""The proof of an export: what was written is read back, run by other code, and compared spike for spike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from muspike.hardware.running.agreement import Exactness
from muspike.tables import text_table

# Logits of two executions in float64 that add up in another order.
_LOGIT_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Proof:
    """What was written, what ran it, and how every population compares; `worst_logit` where logits were compared."""

    file: str
    reference: str
    against: str
    rows: Sequence[Exactness]
    worst_logit: float | None = None

    @property
    def holds(self) -> bool:
        """Nothing differs, and something was there to differ."""
        equal = all(row.exact for row in self.rows)
        close = self.worst_logit is None or self.worst_logit <= _LOGIT_TOLERANCE
        return equal and close and any(row.spikes for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """All fields, and whether it holds."""
        rows = [
            {"population": r.population, "compared": r.neuron_ticks, "spikes": r.spikes, "differences": r.differences}
            for r in self.rows
        ]
        return {**dataclasses.asdict(self), "rows": rows, "holds": self.holds}

    def table(self) -> str:
        """For people."""
        lines = [f"{self.file}: {self.reference} against {self.against}"]
        rows = [[r.population, f"{r.neuron_ticks:,}", f"{r.spikes:,}", f"{r.differences:,}"] for r in self.rows]
        lines += text_table(["population", "neuron-ticks", "spikes", "differences"], rows)
        if self.worst_logit is not None:
            lines.append(f"largest difference of a logit: {self.worst_logit:.1e} (at most {_LOGIT_TOLERANCE:.0e})")
        lines.append("equal" if self.holds else "NOT EQUAL")
        return "\n".join(lines)
