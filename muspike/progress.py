"""How far a piece of work is, on stderr: a bar on a terminal, and whole lines from time to time elsewhere.

A log gets a line at each tenth of the work, or after ten minutes, but never two in half a minute. So work that is soon
done says nothing in a log.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
_LEAST_S, _MOST_S = 30.0, 600.0


class Bar:
    """The progress of `total` units of work. `form` says how it is shown: "bar", "lines" or "no".

    Attributes:
        done: how many units are done.
    """

    def __init__(self, total: int, unit: str, done: int, what: str, form: str, stays: bool) -> None:
        self.total, self.unit, self.done, self.what = total, unit, done, what
        self._lines = form == "lines"
        self._bar: Any = None
        if form == "bar":
            self._bar = tqdm(total=total, initial=done, unit=unit, desc=what or None, leave=stays)
        self._note = ""
        self._started = self._told_s = time.monotonic()
        self._first = self._told = done

    def advance(self, units: int = 1) -> None:
        """Count so many more units as done."""
        self.done += units
        if self._bar is not None:
            self._bar.update(units)
        elif self._lines:
            self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        quiet_s = now - self._told_s
        if quiet_s < _LEAST_S or (quiet_s < _MOST_S and self.done - self._told < self.total / 10):
            return
        self._told_s, self._told = now, self.done
        left_s = (now - self._started) * (self.total - self.done) / max(1, self.done - self._first)
        what, note = (f"{self.what}: " if self.what else ""), (f"; {self._note}" if self._note else "")
        self.write(f"{what}{self.done:,} of {self.total:,} {self.unit}s, {interval(left_s)} left{note}")

    def note(self, text: str) -> None:
        """Show a text behind the progress from now on."""
        self._note = text
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def write(self, line: str) -> None:
        """Print a line on stderr, above the bar."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            with contextlib.suppress(OSError):  # a log that takes no more does not end the work
                print(line, file=sys.stderr, flush=True)

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """The items. Each is a unit, which is done when the next one is asked for."""
        for item in items:
            yield item
            self.advance()

    def close(self) -> None:
        """End the display."""
        if self._bar is not None:
            self._bar.close()


@contextlib.contextmanager
def bar(
    total: int, unit: str, *, done: int = 0, what: str = "", shown: bool = True, stays: bool = False
) -> Iterator[Bar]:
    """Show the progress of the work in the `with` block on stderr.

    Args:
        total: units of the whole work.
        unit: a unit, in the singular.
        done: units that are done already.
        what: the work, in words.
        shown: false: nothing is shown.
        stays: whether the bar stays on the terminal at the end.
    """
    terminal = sys.stderr is not None and sys.stderr.isatty()
    made = Bar(total, unit, done, what, ("bar" if terminal else "lines") if shown else "no", stays)
    try:
        yield made
    finally:
        made.close()


def interval(seconds: float) -> str:
    """A length of time, as hours, minutes and seconds."""
    return str(tqdm.format_interval(seconds))
