"""A Loihi 1 with other limits."""

from __future__ import annotations

import dataclasses

from muspike.hardware.chip import Chip, Limit, load_chip


def chip(**limits: int | None) -> Chip:
    known = load_chip("loihi1")
    made = {name: Limit(value, "test") for name, value in limits.items()}
    return dataclasses.replace(known, limits=dataclasses.replace(known.limits, **made))
