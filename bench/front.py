"""The Pareto front of points with two figures, of both of which less is better."""

from __future__ import annotations

from collections.abc import Sequence


def on_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The numbers of the points that no other one beats: none is as good in both figures and better in one."""
    return [n for n, (a, b) in enumerate(points) if not any(x <= a and y <= b and (x, y) != (a, b) for x, y in points)]
