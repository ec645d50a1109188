"""The excerpts of a study: of equal length, one of each piece, of similar duration."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from muspike import midi, tokens
from muspike.bench.audio import seconds_at
from muspike.bench.study.sound import SHORTEST_S
from muspike.errors import BadInput
from muspike.midi import Score
from muspike.tables import several
from muspike.tokens import BAR_BEAT, BarBeat, Words

START: Final = "start"
ANYWHERE: Final = "anywhere"
From = Literal["start", "anywhere"]
"""Where an excerpt begins: with the piece, or at a bar that is drawn."""

LONGEST_S = 90.0
"""The longest excerpt. Listeners hear some dozens."""

SIMILAR = 0.25
"""Excerpts are drawn from those whose duration differs by at most so much, as a share, from what is usual."""

LOOKED_AT = 10
"""So many times the wanted excerpts are looked for in a source, because a corpus may have a hundred thousand pieces."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Length:
    """The length of excerpts. One of the two is None.

    Attributes:
        words: so many compound words, as `muspike evaluate` cuts them.
        bars: so many bars; a pickup is a bar of its own.
    """

    words: int | None = 128
    bars: int | None = None

    def __str__(self) -> str:
        return f"{self.words:,} words" if self.words is not None else several(self.bars or 0, "bar")

    @property
    def option(self) -> str:
        """The option that asks for it."""
        return "--words" if self.words is not None else "--bars"

    def of(self, words: Words) -> int:
        """How many words or bars a piece has."""
        return len(words) if self.words is not None else int((words[:, BAR_BEAT] == BarBeat.BAR).sum())

    def cut(self, words: Words, begin: From, random: np.random.Generator) -> Words | None:
        """An excerpt of a piece; None if the piece is too short."""
        kinds = words[:, BAR_BEAT]
        bars = np.flatnonzero(kinds == BarBeat.BAR)
        over = np.flatnonzero(kinds == BarBeat.END)
        ends = np.concatenate([bars[1:], over[:1] if len(over) else [len(words)]])
        if self.words is not None:
            starts = [(int(bar), int(bar) + self.words) for bar in bars if bar + self.words <= len(words)]
        else:
            assert self.bars is not None
            starts = [(int(bars[n]), int(ends[n + self.bars - 1])) for n in range(len(bars) - self.bars + 1)]
        # An excerpt does not begin with an empty bar.
        starts = [(bar, end) for bar, end in starts if bar + 1 < end and kinds[bar + 1] == BarBeat.BEAT]
        if begin == START:
            starts = starts[:1] if starts and starts[0][0] == 0 else []
        if not starts:
            return None
        bar, end = starts[int(random.integers(len(starts)))]
        return words[bar:end]


@dataclass(frozen=True)
class Excerpt:
    """A part of a piece.

    Attributes:
        source: the name of its source.
        origin: the name of the file, or of the piece of a corpus.
        words: its compound words, `[tokens, 7]`.
        score: the same as notes, without annotated chords, so that chords are found in all sources alike.
        seconds: from its first beat to the end of its last note.
    """

    source: str
    origin: str
    words: Words
    score: Score
    seconds: float


@dataclass(frozen=True)
class Found:
    """What a source offers.

    Attributes:
        excerpts: usable ones, in a drawn order.
        lengths: of the pieces that were read, in words or bars.
        left_out: why others were not usable: sentences that name the file.
    """

    excerpts: list[Excerpt]
    lengths: list[int]
    left_out: list[str]


def named_sources(text: str) -> dict[str, str]:
    """The sources of `NAME=FOLDER,NAME=FOLDER`; instead of a folder, the name of a corpus.

    Raises:
        BadInput: it has another form, fewer than two sources, or a name twice.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, _, place = part.partition("=")
        if not _NAME.fullmatch(name.strip()) or not place:
            raise BadInput(f"--pieces {part!r}: expected NAME=FOLDER, the name of letters, digits, dots and hyphens")
        if name.strip() in found:
            raise BadInput(f"--pieces: the source {name.strip()} is there twice; each is there once")
        found[name.strip()] = place
    if len(found) < 2:
        raise BadInput(f"--pieces {text}: has one source, expected two or more, such as human=FOLDER,s-rnn=FOLDER")
    return found


def pieces_of(place: str, seed: Sequence[int]) -> tuple[int, Iterator[tuple[str, Callable[[], Words]]]]:
    """The pieces of a folder, or of the test split of a corpus: their number, and, in a drawn order, name and reader.

    Raises:
        BadInput: there is no such folder or corpus, or it holds no MIDI files.
    """
    from muspike import corpora

    random = np.random.default_rng(list(seed))
    if place in corpora.CORPORA:
        split = corpora.load(place).split("test")
        order = random.permutation(len(split)).tolist()
        return len(order), ((split[n].name, lambda n=n: split[n].words) for n in order)
    if not os.path.lexists(place):
        raise BadInput(f"{place}: there is no such folder, and no such corpus; known are {', '.join(corpora.CORPORA)}")
    from muspike.metrics.files import midi_files

    folder = Path(place)
    if not folder.is_dir():
        raise BadInput(f"{place}: is a file, expected a folder of MIDI files")
    files = midi_files([folder])
    if files == [folder]:
        raise BadInput(f"{place}: holds no MIDI files (.mid or .midi)")
    # A name need not be UTF-8, and study.json is.
    names = [os.fsencode(file.name).decode("utf-8", "backslashreplace") for file in files]
    return len(files), ((names[n], lambda n=n: _read(files[n])) for n in random.permutation(len(files)))


def find(
    source: str,
    place: str,
    length: Length,
    wanted: int,
    begin: From,
    seed: Sequence[int],
    progress: Callable[[], object] | None = None,
    seen: dict[bytes, str] | None = None,
) -> Found:
    """Look for excerpts in a source, in a drawn order, until `LOOKED_AT` times as many as wanted are found.

    Args:
        source: the name of the source.
        place: a folder or a corpus.
        length: of the excerpts.
        wanted: how many are needed.
        begin: where they begin.
        seed: of the order, and of the bars at which excerpts begin.
        progress: is called after each piece.
        seen: the notes of excerpts that are there already, and what errors call these; those that are found here are
            added.

    Raises:
        BadInput: as for `pieces_of`.
    """
    found = Found([], [], [])
    random = np.random.default_rng([*seed, 1])
    seen = {} if seen is None else seen
    _, pieces = pieces_of(place, seed)
    for origin, read in pieces:
        if progress:
            progress()
        try:
            words = read()
        except BadInput as error:
            found.left_out.append(str(error))
            continue
        found.lengths.append(length.of(words))
        cut = length.cut(words, begin, random)
        if cut is None:
            continue
        score = dataclasses.replace(tokens.decode(cut), chords=None)
        ends = score.notes["onset"] + score.notes["duration"]
        seconds = float(seconds_at(score, ends).max(initial=0.0))
        if not SHORTEST_S <= seconds <= LONGEST_S:
            found.left_out.append(
                f"{origin}: its excerpt takes {seconds:.1f} s, expected {SHORTEST_S:.0f} to {LONGEST_S:.0f} s"
            )
        elif (other := seen.get(notes := cut[:, BAR_BEAT:].tobytes())) is not None:
            found.left_out.append(f"{source}: {origin}: its excerpt has the notes of another one, {other}")
        else:
            seen[notes] = f"{source}: {origin}"
            found.excerpts.append(Excerpt(source, origin, cut, score, seconds))
        if len(found.excerpts) >= LOOKED_AT * wanted:
            break
    return found


def refuse_too_few(source: str, place: str, found: Found, length: Length, wanted: int) -> None:
    """Refuse a source that has too few excerpts, and say which length would do.

    Raises:
        BadInput: it has.
    """
    if len(found.excerpts) >= wanted:
        return
    pieces = len(found.lengths)
    long_enough = sorted(found.lengths, reverse=True)[wanted - 1 : wanted]
    usable = several(len(found.excerpts), "usable excerpt")
    what = f"{source} ({place}): {usable} of {length} from {several(pieces, 'piece')}, expected {wanted}"
    if long_enough and long_enough[0] < length_of(length):
        raise BadInput(
            f"{what}, because all sources have excerpts of equal length; "
            f"with {length.option} {long_enough[0]} it has them"
        )
    why = f"; {found.left_out[0]}" if found.left_out else ""
    raise BadInput(f"{what}: more pieces, or fewer --excerpts{why}")


def length_of(length: Length) -> int:
    """The number of words or bars."""
    number = length.words if length.words is not None else length.bars
    assert number is not None
    return number


def choose(
    found: Mapping[str, Sequence[Excerpt]], number: int, seed: int
) -> tuple[dict[str, list[Excerpt]], dict[str, list[Excerpt]]]:
    """Choose so many excerpts of each source, with similar durations; and those that are left.

    The usual duration is the median over the sources of their median durations. Excerpts are drawn among those that
    differ from it by at most `SIMILAR`; if a source has too few of them, the nearest others come in.

    Args:
        found: excerpts by source, at least `number` of each.
        number: how many of each are chosen.
        seed: of the drawing.
    """
    usual = float(np.median([np.median([one.seconds for one in excerpts]) for excerpts in found.values()]))
    random = np.random.default_rng(seed)
    chosen, left = {}, {}
    for source, excerpts in found.items():
        off = np.array([abs(np.log(one.seconds / usual)) for one in excerpts])
        near = max(number, int((off <= np.log1p(SIMILAR)).sum()))
        drawn = random.permutation(np.argsort(off, kind="stable")[:near])[:number].tolist()
        chosen[source] = [excerpts[n] for n in drawn]
        left[source] = [one for n, one in enumerate(excerpts) if n not in drawn]
    return chosen, left


def _read(file: Path) -> Words:
    score = midi.read(file)
    try:
        return tokens.encode(score, [])
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from error
