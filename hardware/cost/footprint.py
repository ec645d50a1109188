"""What a mapped network takes of the chip's memory."""

from __future__ import annotations

from dataclasses import dataclass

from muspike.hardware.chip import Chip
from muspike.hardware.mapping.partition import Use


@dataclass(frozen=True)
class ChipMemory:
    """The synaptic memory of the cores that a network takes.

    Attributes:
        cores, chips: how many it takes.
        neurons: neurons on cores, relays included.
        used_bits: what the lists of synapses take.
        available_bits: what these cores have; None: the maker has not published it.
    """

    cores: int
    chips: int
    neurons: int
    used_bits: int
    available_bits: int | None

    @classmethod
    def of(cls, use: Use, chip: Chip) -> ChipMemory:
        """The memory that a placement takes."""
        limit = chip.limits.synaptic_memory_bits_per_core.value
        return cls(
            cores=len(use.cores),
            chips=use.chips,
            neurons=use.neurons,
            used_bits=round(sum(8 * core.synaptic_memory_bytes for core in use.cores)),
            available_bits=None if limit is None else int(limit) * len(use.cores),
        )
