"""What a network is run on when it is measured, and what a figure of that run is per."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from muspike import corpora, tokens
from muspike.arguments import instance, whole
from muspike.errors import BadInput
from muspike.export.presentation import Presentation
from muspike.export.recording import Spikes
from muspike.export.subject import Subject
from muspike.hardware.program import Program
from muspike.hardware.running.report import graded_inputs
from muspike.hardware.running.simulate import input_shapes
from muspike.hardware.running.spikes import InputSpikes
from muspike.host import completed
from muspike.tables import several
from muspike.tokens import Words

Per = Literal["note", "sample", "tick"]

# Excerpts must have equal length, because most metrics grow with it.
EXCERPT = 128
PIECES = 16


@dataclass(frozen=True, eq=False)
class Workload:
    """What a network is run on, and what a figure of the run is per.

    Attributes:
        what: what it is, in words.
        spikes: of all inputs side by side, uint8 `[ticks, batch, size]`; uint16 if an input is graded. Size 0: the
            network has no inputs.
        words: the words that the spikes present, `[words, batch, 7 + draws]`; None: the spikes present no words.
        per: what a figure is per. "note": the input is music. "sample": each sequence of the batch is one. "tick": the
            input has no unit of its own, because it is drawn at random, or there is none.
        shares: how many notes, samples or ticks the whole run has, over all sequences.
        period: ticks from the start of a word to the start of the next one; None: there are no words.

    Raises:
        BadInput: there is no tick, no sequence, or nothing that a figure can be per.
    """

    what: str
    spikes: Spikes
    words: Words | None
    per: Per
    shares: int
    period: int | None = None

    def __post_init__(self) -> None:
        if self.per not in get_args(Per):
            raise BadInput(f"workload: per is {self.per!r}, not one of {', '.join(get_args(Per))}")
        if not self.ticks or not self.batch:
            raise BadInput(f"{self.what}: {self.ticks} ticks of {self.batch} sequences; at least one of each is needed")
        if self.shares < 1:
            raise BadInput(f"{self.what}: has no {self.per}; at least one is needed to give a figure per {self.per}")

    @property
    def ticks(self) -> int:
        """The length of every sequence."""
        return int(self.spikes.shape[0])

    @property
    def batch(self) -> int:
        """The number of sequences."""
        return int(self.spikes.shape[1])

    @property
    def tokens(self) -> int | None:
        """The number of words, over all sequences; None: there are none."""
        return None if self.words is None else int(self.words.shape[0] * self.words.shape[1])


def workload_of(
    subject: Subject,
    given: InputSpikes | None = None,
    *,
    per: Per = "sample",
    pieces: int = PIECES,
    corpus: str | None = None,
    graded: bool = False,
) -> Workload:
    """What to measure a network on: spikes that are given, or else the music of a corpus.

    A network that reads words, and is given no spikes, reads the first `EXCERPT` words of each test piece that is long
    enough, after PAD, as it does in `bench`.

    Args:
        subject: the network.
        given: spikes for each of its inputs, by name; None: it reads music.
        per: what figures are per if spikes are given: "sample", if each sequence is one, or "tick".
        pieces: the most pieces to read.
        corpus: the corpus whose test pieces are read; None: the one that the model was trained on.
        graded: whether the inputs of a graph take counts of events. A program says it itself.

    Raises:
        BadInput: no spikes are given to a network that reads no words; the music that a network was trained on is not
            known or not at hand; no test piece is long enough; or an input is missing or of another shape.
    """
    instance("workload_of: subject", subject, Subject, "a Subject, such as Subject.of gives")
    if given is not None:
        return _spikes_given(subject, given, per, graded)
    pieces = whole("workload_of: pieces", pieces, 1)
    if subject.twin is not None:
        return _read_by_twin(corpora.load(corpus or _trained_on(subject)), pieces)
    presentation = subject.presentation
    if presentation is None:
        raise BadInput(f"{subject.name}: reads no words; give it spikes (--input SPIKES, or --random RATE)")
    return read_music(presentation, corpora.load(corpus or _trained_on(subject)), pieces)


def read_music(presentation: Presentation, corpus: corpora.Corpus, pieces: int) -> Workload:
    """The first `EXCERPT` words of at most so many test pieces of a corpus, read after PAD.

    Raises:
        BadInput: no test piece is long enough, or there is no note.
    """
    heard = excerpts_of(corpus, "test")[:, :pieces]
    words = completed(read_after_pad(heard), presentation)
    return Workload(
        what=_said(heard, corpus),
        spikes=presentation.spikes(words),
        words=words,
        per="note",
        shares=notes_in(heard),
        period=presentation.period,
    )


def _read_by_twin(corpus: corpora.Corpus, pieces: int) -> Workload:
    """The same words for a network that does not spike. It has no ticks: a tick of the workload is a word."""
    heard = excerpts_of(corpus, "test")[:, :pieces]
    return Workload(
        what=_said(heard, corpus),
        spikes=np.zeros((*heard.shape[:2], 0), np.uint8),
        words=read_after_pad(heard),
        per="note",
        shares=notes_in(heard),
        period=1,
    )


def _said(heard: Words, corpus: corpora.Corpus) -> str:
    return f"the first {EXCERPT} words of {several(heard.shape[1], 'test piece')} of {corpus.name}"


def _trained_on(subject: Subject) -> str:
    """The corpus that a model was trained on, if its test pieces are at hand."""
    remedy = "name a corpus (--data; `muspike data list` shows them), or give spikes (--input SPIKES)"
    if subject.model is None:
        raise BadInput(f"{subject.name}: does not say on which music it was trained; {remedy}")
    name = str(subject.model.training["corpus"])
    if name not in corpora.CORPORA and name not in dict(corpora.built()):
        raise BadInput(f"{subject.name}: was trained on {name!r}, whose test pieces are not at hand; {remedy}")
    return name


def _spikes_given(subject: Subject, given: InputSpikes, per: Per, graded: bool) -> Workload:
    network = subject.given if isinstance(subject.given, Program) else subject.graph
    shapes = input_shapes(network)
    counting: Collection[str] = graded_inputs(network) if isinstance(network, Program) else shapes if graded else ()
    arrays: list[Spikes] = []
    for name, shape in shapes.items():
        counts = (given.counts or {}).get(name) if name in counting else None
        spikes = given.spikes.get(name) if counts is None else counts
        wanted = (given.ticks, given.batch, int(np.prod(shape)))
        if spikes is None or spikes.shape != wanted:
            found = "none" if spikes is None else f"an array {list(spikes.shape)}"
            raise BadInput(f"{subject.name}: input {name!r} is given {found}; expected spikes {list(wanted)}")
        arrays.append(spikes)
    side_by_side = np.concatenate(arrays, axis=2) if arrays else np.zeros((given.ticks, given.batch, 0), np.uint8)
    return Workload(
        what=f"{several(given.batch, 'sequence')} of {several(given.ticks, 'tick')}",
        spikes=side_by_side,
        words=None,
        per=per,
        shares=given.batch if per == "sample" else given.batch * given.ticks,
    )


def excerpts_of(corpus: corpora.Corpus, split: str) -> Words:
    """The first `EXCERPT` words of each piece of a split that is long enough, `[EXCERPT, pieces, 7]`.

    Raises:
        BadInput: no piece is long enough.
    """
    pieces = corpus.evaluated(split)
    if not (long_enough := [words[:EXCERPT] for words in pieces if len(words) >= EXCERPT]):
        raise BadInput(f"corpus {corpus.name}: no piece of its {split} split has {EXCERPT} compound words")
    return np.stack(long_enough, axis=1)


def read_after_pad(words: Words) -> Words:
    """The words that are read to predict `words`: PAD, then each word except the last, as in training."""
    return np.concatenate([np.zeros_like(words[:1]), words[:-1]])


def notes_in(words: Words) -> int:
    """The number of NOTE words in `words` `[..., 7]`."""
    return int((words[..., tokens.BAR_BEAT] == tokens.BarBeat.NOTE).sum())
