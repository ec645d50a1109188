"""Several programs as one, because Lava takes seconds to start and to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from muspike.hardware.program import Program


def joined(programs: Sequence[Program]) -> Program:
    """One program of several that do not touch; the names of the i-th begin with `i/`. Where they lie is forgotten."""
    populations = [
        replace(p, name=f"{i}/{p.name}", core=np.minimum(p.core, 0))
        for i, program in enumerate(programs)
        for p in program.populations
    ]
    synapses = [
        replace(s, name=f"{i}/{s.name}", source=f"{i}/{s.source}", target=f"{i}/{s.target}")
        for i, program in enumerate(programs)
        for s in program.synapses
    ]
    return Program("loihi1", programs[0].dt_s, populations, synapses, np.zeros((1, 2), int))
