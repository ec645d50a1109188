"""Bring a score onto its beat before it is encoded: find the grid, the beat and the bars in its notes."""

from muspike.beat.annotated import on_annotated_beats
from muspike.beat.find import Found, on_beat

__all__ = ["Found", "on_annotated_beats", "on_beat"]
