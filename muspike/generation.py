"""Composing: the host samples the next compound word from the network's logits and feeds it back to the network.

The host knows the grammar of compound words and masks every word that cannot follow, so every piece decodes. It lets a
piece end only where a chord is complete. The network is any `network.Runner`: in torch, or on a chip.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from muspike import midi, sounding, tokens
from muspike.arguments import mapping, refuse, whole
from muspike.errors import BadInput
from muspike.files import check_target, write_whole
from muspike.host import Runner, labels_of
from muspike.labels import Rows
from muspike.melody import Accompaniment, Melody
from muspike.midi import Score
from muspike.progress import Bar, bar
from muspike.ranges import BIAS, LENGTH, PIECES, SEED, TEMPERATURE, TOP_P, at_least, check, demand, setting
from muspike.tables import several
from muspike.tokens import Words

Logits = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)

NO_LABELS: Mapping[str, str] = {}
# Words of the shortest piece: BAR, BEAT, NOTE, END.
SHORTEST = 4


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the host chooses the next word.

    Temperature and top-p are those of all features but the kind of the word. Its values come with the chances that the
    network gives them: the end of a piece is rare everywhere, and would be among the likeliest values almost nowhere.
    The biases are added to the logits of END and of pitches in parallel motion, before anything else; 0 leaves the
    network's own chances. That of END rises with the words of the piece, so a piece is rarely short and rarely cut.
    `unisons` and `chord` keep a piece from staying on one chord for ever.

    Attributes:
        temperature: divides the logits.
        top_p: share of a feature's probability that is kept: the likeliest values that together reach it.
        unisons: the most notes of one pitch at an onset.
        chord: the most notes at an onset.
        end_bias: is added to the logit of END, the n-th word of at most `length` having `end_bias * n / length`.
        parallels_bias: is added to the logits of the pitches with which a voice would move in parallel fifths or
            octaves with one above it (the group `parallel_motion` of `muspike.sounding`).

    Raises:
        BadInput: a number is outside its range.
    """

    temperature: float = setting(0.9, TEMPERATURE)
    top_p: float = setting(0.8, TOP_P)
    unisons: int = setting(2, at_least(1))
    chord: int = setting(8, at_least(1))
    end_bias: float = setting(5.0, BIAS)
    parallels_bias: float = setting(-2.0, BIAS)

    def __post_init__(self) -> None:
        check(self, "sampling")


UNCHANGED = Sampling(temperature=1.0, top_p=1.0, end_bias=0.0, parallels_bias=0.0)
"""Values come with the chances that the network gives them."""


class Chooser(Protocol):
    """A function that chooses the values of a feature."""

    def __call__(self, n: int, feature: int, logits: Logits, allowed: Mask) -> npt.NDArray[np.int64]:
        """Choose a feature's value in word n of each piece, `[batch]`.

        Args:
            n: number of the word, from 0.
            feature: index of the feature in `tokens.FEATURES`.
            logits: of the feature's values, `[batch, values]`.
            allowed: the values that may be chosen, `[batch, values]`.
        """


def generate(
    runner: Runner,
    pieces: int,
    length: int,
    seed: int,
    sampling: Sampling = Sampling(),
    batch: int = 16,
    progress: bool = False,
    ended: bool = True,
    prompt: Words | None = None,
    melody: Words | None = None,
    labels: Mapping[str, str] = NO_LABELS,
) -> list[Words]:
    """Compose pieces of at most `length` compound words, each `[words, 7]`.

    A piece ends where the network ends it with END: after a chord in which at least as many pitches sound as usually in
    this piece. When `length` comes near, it ends after the next such chord instead; `ended_by_itself` tells which.

    With a `prompt`, the network reads these words first, and each piece begins with them. What it composes begins with
    a new bar. With a `melody`, each piece is the melody with other notes below it (`melody.Accompaniment`). With
    `labels`, the network hears them with every word; it hears no value of a label that is not given.

    >>> from muspike import generate, load_model
    >>> from muspike.tokens import BarBeat
    >>> piece, = generate(load_model("s-rnn").network.runner(), pieces=1, length=16, seed=0)
    >>> len(piece) <= 16, int(piece[-1, 2]) == BarBeat.END
    (True, True)

    Args:
        runner: a network on torch (`Network.runner`), or on a chip (`muspike.export.loihi.ChipRunner`).
        pieces: number of pieces.
        length: the most words of a piece.
        seed: piece i depends on (seed, i) alone.
        sampling: how a value is chosen from logits.
        batch: the most pieces that run side by side.
        progress: show the progress on stderr (`progress.bar`).
        ended: false cuts all pieces at exactly `length` words, as excerpts: none has an END.
        prompt: the words of whole bars that each piece begins with, `[words, 7]`; what follows an END is left out.
            `first_bars` takes them from a piece. They count in `length`.
        melody: the words of a melody, `[words, 7]`, one NOTE at each onset, as `melody.melody_of` gives them.
        labels: values by name, such as `{"emotion": "Q1"}`, for a network that knows labels (`Labels`).

    Raises:
        BadInput: a number is outside its range (`ranges`). The shortest piece has 4 words. Or `prompt` or `melody` is
            no piece, leaves no room in `length`, or both are given. Or the network does not know a label or its value.
    """
    if isinstance(runner, type) or not all(hasattr(runner, part) for part in ("reset", "step", "noise")):
        has = "model.network.runner()" if hasattr(runner, "network") else "network.runner()"
        raise refuse("generate: runner", runner, f"a runner, such as {has} or muspike.export.loihi.ChipRunner(program)")
    row = labels_of(runner).row(mapping("generate: labels", labels, "a dict, values by name"), "generate")
    with _checked(pieces, length, seed, batch, progress, ended, prompt, melody) as checked:
        return list(_composed(runner, pieces, length, seed, sampling, batch, ended, row, *checked))


def generate_files(
    runner: Runner,
    folder: str | Path,
    pieces: int,
    length: int,
    seed: int,
    sampling: Sampling = Sampling(),
    batch: int = 16,
    progress: bool = False,
    told: Callable[[Words], object] = lambda _: None,
    prompt: Words | None = None,
    melody: Words | None = None,
    mp3: Callable[[Score], bytes] | None = None,
    labels: Mapping[str, str] = NO_LABELS,
) -> list[Path]:
    """Compose pieces as `generate` does, and write each into `folder` as soon as its batch is composed.

    The files are those of `write_pieces`. With `mp3`, such as `muspike.bench.audio.mp3`, the sound of each piece lies
    beside it, as `piece-000.mp3`. If the work is stopped, the pieces that are written stay. `told` is called with each
    piece that is written.

    Raises:
        BadInput: as for `generate` and `write_pieces`.
        KeyboardInterrupt: the work was stopped. The message says how many pieces are written.
    """
    files = piece_files(Path(folder), pieces)
    row = labels_of(runner).row(labels, "generate")
    written = 0
    try:
        with _checked(pieces, length, seed, batch, progress, True, prompt, melody) as checked:
            composed = _composed(runner, pieces, length, seed, sampling, batch, True, row, *checked)
            for file, words in zip(files, composed, strict=True):
                if not written:
                    _clear(files)
                score = tokens.decode(words)
                sound = None if mp3 is None else mp3(score)
                midi.write(score, file)
                if sound is not None:
                    with write_whole(_sound_of(file)) as temporary:
                        temporary.write_bytes(sound)
                told(words)
                written += 1
    except KeyboardInterrupt as stop:
        raise type(stop)(f"stopped: {written} of {pieces} pieces are in {folder}") from None
    return files


def _clear(files: Sequence[Path]) -> None:
    """Remove the pieces of an earlier call, so that old and new ones are never mixed, whenever the work is stopped.

    Their sound is removed too.
    """
    for file in [*files, *(_sound_of(file) for file in files)]:
        if not file.is_symlink():
            file.unlink(missing_ok=True)


def _sound_of(file: Path) -> Path:
    """The file with the sound of the piece in `file`."""
    return file.with_suffix(".mp3")


def first_bars(words: Words, bars: int | None = None, name: str = "piece") -> Words:
    """The first bars of a piece `[tokens, 7]`, without its END, as a prompt for `generate`.

    A pickup is a bar of its own.

    >>> from muspike import generate, load_model, tokens
    >>> from muspike.generation import first_bars
    >>> piece, = generate(load_model("s-rnn").network.runner(), pieces=1, length=64, seed=0)
    >>> begun = first_bars(piece, 1)
    >>> (begun[:, 2] == tokens.BarBeat.BAR).sum() == 1, len(begun) < len(piece)
    (True, True)

    Args:
        words: the piece.
        bars: how many; None: all of them.
        name: what the piece is called in errors.

    Raises:
        BadInput: the piece has fewer bars.
    """
    kind = tokens.checked(words, name)[:, tokens.BAR_BEAT]
    over = np.flatnonzero(np.isin(kind, (tokens.BarBeat.END, tokens.BarBeat.PAD)))
    words = words[: over[0]] if len(over) else words
    starts = np.flatnonzero(words[:, tokens.BAR_BEAT] == tokens.BarBeat.BAR)
    if bars is None or bars == len(starts):
        return words
    if not 1 <= whole(f"{name}: bars", bars, 1) <= len(starts):
        raise BadInput(f"{name}: has {several(len(starts), 'bar')}; a prompt of {bars} needs more")
    return words[: starts[bars]]


def _given(prompt: Words | None, melody: Words | None, length: int, ended: bool) -> tuple[Words | None, Melody | None]:
    """The prompt without END, and the melody, if they are right."""
    if prompt is not None and melody is not None:
        raise BadInput("generate: prompt and melody are both given; expected one of them at most")
    if melody is not None:
        if not ended:
            raise BadInput("generate: ended is False and a melody is given; a piece with a melody ends with it")
        lead = Melody.of(melody)
        lead.demand_room(length)
        return None, lead
    if prompt is None:
        return None, None
    if not len(tokens.decode(prompt, "prompt").notes):
        raise BadInput("generate: prompt has no notes; at least one is needed")
    prompt = first_bars(prompt)
    if prompt[-1, tokens.BAR_BEAT] == tokens.BarBeat.BEAT:
        raise BadInput(f"generate: prompt ends with token {len(prompt) - 1}, a BEAT; at least one NOTE must follow it")
    least = len(prompt) + (SHORTEST if ended else 1)
    if length < least:
        raise BadInput(f"generate: the prompt has {len(prompt)} words; length {length} must be at least {least}")
    return prompt, None


@contextlib.contextmanager
def _checked(
    pieces: int,
    length: int,
    seed: int,
    batch: int,
    progress: bool,
    ended: bool,
    prompt: Words | None,
    melody: Words | None,
) -> Iterator[tuple[Bar, Words | None, Melody | None]]:
    """Check what `generate` is given, and show the progress. Yields the bar, the prompt without END, and the melody."""
    demand(pieces, PIECES, "generate: pieces")
    demand(length, LENGTH, "generate: length")
    demand(seed, SEED, "generate: seed")
    demand(batch, PIECES, "generate: batch")
    begun, led = _given(prompt, melody, length, ended)
    with bar(pieces * (length if led is None else led.least_words), "word", shown=progress) as shown:
        yield shown, begun, led


def _composed(
    runner: Runner,
    pieces: int,
    length: int,
    seed: int,
    sampling: Sampling,
    batch: int,
    ended: bool,
    row: Rows,
    shown: Bar,
    prompt: Words | None,
    melody: Melody | None,
) -> Iterator[Words]:
    for first in range(0, pieces, batch):
        group = range(first, min(first + batch, pieces))
        shape = length, len(tokens.FEATURES)
        draws = np.stack([np.random.default_rng([seed, piece]).random(shape) for piece in group], axis=1)

        def choose(n: int, feature: int, logits: Logits, allowed: Mask) -> npt.NDArray[np.int64]:
            how = UNCHANGED if feature == tokens.BAR_BEAT else sampling
            return sample(logits, allowed, draws[n, :, feature], how)  # noqa: B023

        noise = runner.noise.drawn(seed, group, length)
        beside = np.concatenate([np.broadcast_to(row, (length, len(group), row.shape[1])), noise], axis=2)
        words = compose(runner, beside, choose, sampling, ended, shown.advance, prompt, melody)
        for b in range(len(group)):
            yield words[words[:, b, tokens.BAR_BEAT] != tokens.BarBeat.PAD, b]


def compose(
    runner: Runner,
    beside: Words,
    choose: Chooser,
    sampling: Sampling = Sampling(),
    ended: bool = True,
    advanced: Callable[[int], object] = lambda _: None,
    prompt: Words | None = None,
    melody: Melody | None = None,
) -> Words:
    """Compose one batch of pieces, int16 `[length, batch, 7]`. PAD follows a piece's END.

    Args:
        runner: the network.
        beside: the labels and the noise that the network reads beside each word, `[length, batch, labels + draws]`. It
            sets the length and the batch.
        choose: chooses the values.
        sampling: its limits `unisons` and `chord` and its biases are used here.
        ended: as in `generate`.
        advanced: called with the number of new words after each step; with a melody, only its own words count.
        prompt: words of whole bars that each piece begins with, `[words, 7]`, shorter than `length`.
        melody: the melody of each piece; it has room in `length`.
    """
    length, batch, _ = beside.shape
    runner.reset(batch)
    state, texture = tokens.State.start(batch, sampling.unisons), _Texture(batch)
    begun = 0 if prompt is None else len(prompt)
    led = None if melody is None else Accompaniment(melody, batch)
    words = np.zeros((length, batch, len(tokens.FEATURES)), np.int16)
    latest = np.zeros((batch, len(tokens.FEATURES)), np.int16)
    for n in range(length):
        logits = runner.step(np.concatenate([latest, beside[n]], axis=1))
        logits = _biased(logits, sampling.end_bias * n / length, texture.parallels, sampling.parallels_bias)
        if prompt is not None and n < begun:
            words[n] = latest = state.complete(np.repeat(prompt[n : n + 1], batch, axis=0))
            texture.hear(latest)
            advanced(batch)
            continue
        kinds = state.allowed_bar_beat()
        kinds[texture.notes >= sampling.chord, tokens.BarBeat.NOTE] = False
        kinds[texture.thin if ended else slice(None), tokens.BarBeat.END] = False
        if begun and n == begun:
            kinds &= np.arange(len(tokens.BarBeat)) == tokens.BarBeat.BAR
        if led is not None:
            kinds &= led.kinds(state, length - n)
        sampled = np.zeros((batch, len(tokens.FEATURES)), np.int64)
        f = tokens.BAR_BEAT
        sampled[:, f] = choose(n, f, _feature(logits, f), kinds)
        if led is not None:
            sampled[:, f] = led.kind(sampled[:, f], kinds, texture.thin)
        elif ended and not (begun and n == begun):
            sampled[:, f] = _closing(sampled[:, f], kinds, state.bar_beat, texture.thin, length - n, sampling.chord)
        allowed = state.allowed(sampled[:, f])
        for f in range(len(tokens.FEATURES)):
            if f != tokens.BAR_BEAT:
                may = _feature(allowed, f)
                if f == tokens.DURATION:
                    may = may & state.allowed_duration(sampled)
                if led is not None:
                    may = may & led.allowed(f, sampled)
                sampled[:, f] = choose(n, f, _feature(logits, f), may)
                if led is not None:
                    sampled[:, f] = led.forced(f, sampled)
        if led is not None:
            sampled[:, tokens.TEMPO_] = led.tempo(sampled)
        words[n] = latest = state.complete(sampled)
        texture.hear(latest)
        if led is not None:
            advanced(led.advance(latest))
        else:
            advanced(batch * (length - n if state.ended.all() else 1))
        if state.ended.all():
            break
    return words


def _biased(logits: Logits, end_bias: float, parallels: npt.NDArray[np.int64], parallels_bias: float) -> Logits:
    """The logits `[batch, N_AXONS]` with the biases, given the pitches in parallel motion, `[batch, pitches]`."""
    if not (end_bias or parallels_bias):
        return logits
    logits = logits.copy()
    logits[:, tokens.OFFSETS[tokens.BAR_BEAT] + tokens.BarBeat.END] += end_bias
    rows, columns = np.nonzero(parallels != sounding.NONE)
    logits[rows, tokens.OFFSETS[tokens.PITCH] + 1 + parallels[rows, columns]] += parallels_bias
    return logits


_HEARD = sounding.Hearing(("parallel_motion", "now"))
_PARALLELS = sounding.GROUPS["parallel_motion"][1]  # columns


class _Texture:
    """How many pitches sound in a batch of pieces, now and usually.

    Attributes:
        notes: number of NOTEs at this onset so far, `[batch]`.
        parallels: pitches with which the next NOTE would move in parallel fifths or octaves, `[batch, pitches]`.
            Columns without one hold `sounding.NONE`.
    """

    def __init__(self, batch: int) -> None:
        self.notes = np.zeros(batch, np.int64)
        self.parallels = np.full((batch, _PARALLELS), sounding.NONE, np.int64)
        self._heard = sounding.silence(batch)
        self._pitches = np.zeros(batch, np.int64)  # that sound now
        self._onsets = np.zeros((batch, sounding.MOST + 1), np.int64)  # onsets at which so many pitches sounded

    @property
    def thin(self) -> npt.NDArray[np.bool_]:
        """Whether fewer pitches sound than at half of the onsets before, `[batch]`."""
        usual: npt.NDArray[np.int64] = (2 * self._onsets.cumsum(1) < self._onsets.sum(1)[:, None]).sum(1)
        return self._pitches < usual

    def hear(self, words: Words) -> None:
        """Go on to the words `[batch, 7]`."""
        kind = words[:, tokens.BAR_BEAT]
        is_note = kind == tokens.BarBeat.NOTE
        over = np.flatnonzero((self.notes > 0) & ~is_note)
        self._onsets[over, self._pitches[over]] += 1
        self.notes = np.where(is_note, self.notes + 1, 0)
        self.parallels, now = np.split(_HEARD.hear(words[None], self._heard)[0], [_PARALLELS], axis=1)
        self._pitches = (now != sounding.NONE).sum(1)


def _closing(
    chosen: npt.NDArray[np.int64],
    kinds: Mask,
    before: npt.NDArray[np.int64],
    thin: npt.NDArray[np.bool_],
    left: int,
    chord: int,
) -> npt.NDArray[np.int64]:
    """The kinds of word that come instead of those `chosen`, `[batch]`, when few words are left.

    A piece ends with the first complete chord that the network is done with in the last `_closing_words`. Where no
    further chord has room, it ends in any case, a thin chord once it is filled.

    Args:
        chosen: the kinds that the network wants.
        kinds: those that may come, `[batch, 5]`.
        before: the kinds of the words before.
        thin: whether the chord is incomplete.
        left: words that are missing, END included.
        chord: the most NOTEs of a chord.
    """
    bar, beat, note, end = (int(kind) for kind in list(tokens.BarBeat)[1:])
    after_note, goes_on = before == note, (chosen == bar) | (chosen == beat)
    no_room = left < np.where(chosen == bar, 3, 2) + chord
    stops = after_note & goes_on & (no_room | (~thin & (left < _closing_words(chord))))
    closed = np.where(stops, np.where(thin & kinds[:, note], note, end), chosen)
    closed = np.where((before == bar) & (chosen == bar) & no_room & kinds[:, beat], beat, closed)
    return np.where(after_note & (left == 1), end, closed)


def _closing_words(chord: int) -> int:
    """In so many last words a piece ends as soon as it can: room for two bars with a chord of `chord` notes each."""
    return 2 * (chord + 3)


def ended_by_itself(words: Words, length: int, sampling: Sampling = Sampling()) -> bool:
    """Whether the network ended a piece `[words, 7]` of `generate`, before the limit `length` came near.

    >>> import numpy as np
    >>> from muspike.generation import ended_by_itself
    >>> ended_by_itself(np.zeros((100, 7), np.int16), 512), ended_by_itself(np.zeros((500, 7), np.int16), 512)
    (True, False)
    """
    return len(words) <= length - _closing_words(sampling.chord) + 1


def _feature(values: npt.NDArray[T], feature: int) -> npt.NDArray[T]:
    start = tokens.OFFSETS[feature]
    return values[:, start : start + tokens.SIZES[feature]]


def sample(logits: Logits, allowed: Mask, draws: npt.NDArray[np.float64], sampling: Sampling) -> npt.NDArray[np.int64]:
    """Sample one value per row, int64 `[batch]`.

    Args:
        logits: `[batch, values]`.
        allowed: the values that may be sampled, `[batch, values]`.
        draws: uniform random numbers from 0 to 1, `[batch]`, which decide the values.
        sampling: its `temperature` and `top_p` are used.
    """
    scaled = np.where(allowed, logits.astype(np.float64) / sampling.temperature, -np.inf)
    chances = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    order = np.argsort(-chances, axis=1, kind="stable")
    ranked = np.take_along_axis(chances, order, axis=1)
    before = np.cumsum(ranked, axis=1) - ranked
    ranked[before >= sampling.top_p] = 0.0
    total = np.cumsum(ranked, axis=1)
    rank = (total <= draws[:, None] * total[:, -1:]).sum(axis=1)
    return np.asarray(np.take_along_axis(order, rank[:, None], axis=1)[:, 0], np.int64)


def write_pieces(pieces: Sequence[Words], folder: str | Path) -> list[Path]:
    """Write pieces as `piece-000.mid`, `piece-001.mid`, ... into `folder` and return the paths of the files.

    >>> from pathlib import Path
    >>> from muspike import generate, load_model, write_pieces
    >>> pieces = generate(load_model("s-rnn").network.runner(), pieces=2, length=16, seed=0)
    >>> [file.name for file in write_pieces(pieces, Path("pieces"))]
    ['piece-000.mid', 'piece-001.mid']

    Raises:
        BadInput: `folder` holds more pieces of an earlier call than these would replace. Old and new pieces would be
            mixed.
    """
    files = piece_files(Path(folder), len(pieces))
    for words, file in zip(pieces, files, strict=True):
        midi.write(tokens.decode(words), file)
    return files


def piece_files(folder: Path, count: int) -> list[Path]:
    """The paths of the files that `write_pieces` would write for `count` pieces.

    Raises:
        BadInput: as for `write_pieces`; or a file is there that cannot be replaced.
    """
    files = [folder / f"piece-{number:03}.mid" for number in range(count)]
    others = sorted(set(folder.glob("piece-*.mid")) - set(files))
    if others:
        raise BadInput(
            f"{folder}: holds {len(others)} pieces that {count} new ones would not replace, from {others[0].name} on; "
            "choose another folder, or remove them"
        )
    for file in [*files, *(_sound_of(file) for file in files)]:
        if os.path.lexists(file):
            check_target(file)
    return files
