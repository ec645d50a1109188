"""The steps of a listener through the pages, and which page belongs to each."""

from __future__ import annotations

from muspike.bench.study.study import Study

ABOUT, VOLUME, HEADPHONES, READY, TRIALS, DONE = "about", "volume", "headphones", "ready", "trials", "done"
"""Background questions; volume check; headphone screening; what comes now; the trials; thanks."""


def after_volume(study: Study) -> str:
    """The step after the volume check."""
    return HEADPHONES if study.screening else READY


def page_of(step: str, answered: int) -> str:
    """The path of the page for a listener at `step` who has answered so many trials."""
    return f"/trial/{answered + 1}" if step == TRIALS else "/thanks" if step == DONE else f"/{step}"
