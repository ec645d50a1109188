"""What sounds: held against the notes of the decoded piece, and heard alike by every way of running a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike import architectures, generate, sounding, tokens
from muspike.metrics import METRICS
from muspike.midi import NOTE, Score, table
from muspike.network import Network
from muspike.tokens import BarBeat, Words
from pieces import random_piece

ALL = sounding.Hearing(tuple(sounding.GROUPS))
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "s-rnn": {"width": 20, "layers": 1, "ticks": 2},
    "s-gan": {"width": 20, "layers": 1, "ticks": 2, "noise_draws": 2, "noise_values": 3},
    "s-cnn": {"width": 12, "dilations": [1, 2], "taps": 2, "ticks": 2},
    "s-lstm": {"width": 8, "layers": 1, "ticks": 2},
    "s-transformer": {"blocks": 1, "heads": 2, "rows": 3, "values": 4, "mlp": 8, "ticks": 2},
    "ann-rnn": {"width": 16, "layers": 1},
    "ann-gan": {"width": 16, "layers": 1, "noise_draws": 2, "noise_values": 3},
    "ann-lstm": {"width": 16, "layers": 1},
    "ann-cnn": {"width": 16, "layers": 2},
    "ann-transformer": {"width": 16, "layers": 1, "heads": 2, "hidden": 16, "window": 16},
}


def heard(words: Words) -> list[tuple[set[int], set[int], int | None]]:
    """For each word what sounded before, what sounds now, and where in the bar the first note ends."""
    axons = ALL.hear(words[:, None], sounding.silence(1))[:, 0]
    rows = []
    for row in axons:
        spikes = row[row != sounding.NONE]
        assert len(set(spikes.tolist())) == len(spikes)
        before, now, end = (
            {int(axon) - first for axon in spikes if first <= axon < last}
            for first, last in ((0, 128), (128, 256), (256, 288))
        )
        assert len(end) <= 1
        rows.append((before, now, end.pop() + 1 if end else None))
    return rows


def from_notes(words: Words) -> list[tuple[set[int], set[int], int | None]]:
    """The same, in plain words: from the notes that each prefix of the piece has."""
    rows, notes, start, length, onset, before = [], list[tuple[int, int]](), 0, 0, 0, set[int]()
    for word in words:
        kind = word[tokens.BAR_BEAT]
        if kind == BarBeat.BAR:
            start, length = start + length, int(word[tokens.POSITION])
            onset = start
        if kind == BarBeat.BEAT:
            onset = start + int(word[tokens.POSITION])
        if kind in (BarBeat.BAR, BarBeat.BEAT):
            before = {pitch for pitch, end in notes if end >= onset}
        if kind == BarBeat.NOTE:
            notes.append((int(word[tokens.PITCH]) - 1, onset + min(32, int(word[tokens.DURATION]))))
        ends = [end for _, end in notes if end > onset]
        # A pitch that is struck again sounds until the later end.
        last = {pitch: max(end for other, end in notes if other == pitch) for pitch, _ in notes}
        first_end = min((last[pitch] for pitch, end in notes if end > onset), default=None)
        now = {pitch for pitch, end in notes if end > onset}
        rows.append((before, now, min(32, first_end - start) if ends and first_end is not None else None))
    return rows


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_is_heard_is_what_the_notes_say(seed: int) -> None:
    words = random_piece(np.random.default_rng(seed), 60)
    assert heard(words) == from_notes(words)


def test_a_chord_and_a_held_voice() -> None:
    words = np.array(
        [
            [0, 0, BarBeat.BAR, 16, 0, 4, 0],
            [1, 1, BarBeat.BEAT, 0, 0, 0, 0],
            [1, 1, BarBeat.NOTE, 0, 73, 4, 40],
            [1, 1, BarBeat.NOTE, 0, 61, 16, 40],
            [1, 1, BarBeat.BEAT, 4, 0, 0, 0],
            [1, 1, BarBeat.NOTE, 4, 75, 8, 40],
            [1, 1, BarBeat.BAR, 16, 0, 4, 0],
            [1, 1, BarBeat.END, 0, 0, 0, 0],
        ],
        np.int16,
    )
    assert heard(words) == [
        (set(), set(), None),
        (set(), set(), None),
        (set(), {72}, 4),
        (set(), {72, 60}, 4),
        ({72, 60}, {60}, 16),
        ({72, 60}, {60, 74}, 12),
        ({60}, set(), None),
        ({60}, set(), None),
    ]


def test_only_the_highest_pitches_are_heard_of_a_cluster() -> None:
    rows = [[0, 0, 1, 16, 0, 4, 0], [1, 1, 2, 0, 0, 0, 0], *([1, 1, 3, 0, 100 - i, 4, 40] for i in range(30))]
    _, now, _ = heard(np.array(rows, np.int16))[-1]
    assert now == set(range(99, 99 - sounding.MOST, -1))


def test_words_heard_in_parts_are_heard_as_in_one() -> None:
    pieces = np.stack([random_piece(np.random.default_rng(seed), 40)[:40] for seed in range(3)], axis=1)
    state = sounding.silence(3)
    parts = np.concatenate([ALL.hear(part, state) for part in np.split(pieces, [1, 7, 8, 30])])
    assert np.array_equal(parts, ALL.hear(pieces, sounding.silence(3)))


def test_groups_are_heard_alone_and_in_any_order() -> None:
    words = random_piece(np.random.default_rng(5), 40)[:, None]
    whole = ALL.hear(words, sounding.silence(1))
    some = sounding.Hearing(("next_end", "before"))
    assert (some.axons, ALL.axons) == (32 + 128, 4 * 128 + 32 + 8)
    found = some.hear(words, sounding.silence(1), first=1000)
    ends, before = whole[..., 32:33], whole[..., :16]
    assert np.array_equal(found[..., :1], np.where(ends < 0, -1, ends - 256 + 1000))
    assert np.array_equal(found[..., 1:], np.where(before < 0, -1, before + 1032))
    assert not sounding.DEAF and sounding.DEAF.hear(words, sounding.silence(1)).shape == (len(words), 1, 0)


@pytest.mark.parametrize(
    ("before", "now", "wanted"),
    [
        ((72, 65, 60, 53), (74,), {67, 62, 55}),  # a fifth, an octave and an octave and a fifth below
        ((72, 64, 60), (72,), set()),  # no motion
        ((72, 68, 64), (74,), set()),  # other intervals
        ((72, 67, 60), (71, 65), {59, 58}),  # an octave below the first, a fifth below the second
        ((72, 60, 53), (72, 62), {55}),  # the second voice moves, the first is held
        ((67, 60), (67,), set()),
        ((7, 0), (4,), set()),  # below all pitches
    ],
)
def test_parallels(before: tuple[int, ...], now: tuple[int, ...], wanted: set[int]) -> None:
    """Chords of the pitches before and now; the group holds the pitches that would complete a parallel."""
    words = [[0, 0, 1, 16, 0, 4, 0], [1, 1, 2, 0, 0, 0, 0], *([1, 1, 3, 0, pitch + 1, 4, 40] for pitch in before)]
    words += [[1, 1, 2, 4, 0, 0, 0], *([1, 1, 3, 4, pitch + 1, 4, 40] for pitch in now)]
    row = sounding.Hearing(("parallel",)).hear(np.array(words, np.int16)[:, None], sounding.silence(1))[-1, 0]
    assert set(row[row != sounding.NONE].tolist()) == wanted
    assert row[: len(wanted)].tolist() == sorted(wanted, reverse=True)
    # These are the pitches that the metric objects to.
    for pitch in range(max(0, min(before) - 12), min(now)):
        if len(now) + 1 == len(before):
            rows = [(0, 480, p, 80, 0) for p in before] + [(480, 480, p, 80, 0) for p in (*now, pitch)]
            rate = METRICS["parallel_rate"].function(Score(480, table(rows, NOTE)))
            assert (rate == 1) == (pitch in wanted or already(before, now))


def chords(*voices: list[tuple[int, int]]) -> Words:
    """Words of voices, each of notes: the pitch and the sixteenths that it lasts."""
    rows = [[0, 0, BarBeat.BAR, 16, 0, 4, 0]]
    notes = [
        (sum(length for _, length in voice[:n]), pitch, length)
        for voice in voices
        for n, (pitch, length) in enumerate(voice)
    ]
    for onset in sorted({onset for onset, *_ in notes}):
        rows.append([1, 1, BarBeat.BEAT, onset, 0, 0, 0])
        struck = sorted(((pitch, length) for at, pitch, length in notes if at == onset), reverse=True)
        rows += [[1, 1, BarBeat.NOTE, onset, pitch + 1, length, 40] for pitch, length in struck]
    return np.array(rows, np.int16)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_a_note_that_is_heard_as_a_parallel_motion_is_one_to_the_metric(data: st.DataObject) -> None:
    """Voices that do not cross; some are held over the second onset."""
    size = data.draw(st.integers(2, 4))
    chord = st.lists(st.integers(50, 74), min_size=size, max_size=size, unique=True).map(
        lambda pitches: sorted(pitches, reverse=True)
    )
    before, now, held = data.draw(chord), data.draw(chord), data.draw(st.lists(st.booleans(), min_size=size))
    now = [pitch if stays else other for pitch, other, stays in zip(before, now, held, strict=False)] + now[len(held) :]
    if sorted(set(now), reverse=True) != now:
        return
    words = chords(
        *(
            [(one, 8)] if stays else [(one, 4), (other, 4)]
            for one, other, stays in zip(before, now, (held + [False] * size)[:size], strict=True)
        )
    )
    axons = sounding.Hearing(("parallel_motion",)).hear(words[:, None], sounding.silence(1))[:, 0]
    hits = [
        word[tokens.PITCH] - 1 in axons[n - 1]
        for n, word in enumerate(words)
        if word[tokens.BAR_BEAT] == BarBeat.NOTE and word[tokens.POSITION] == 4
    ]
    rate = METRICS["parallel_rate"].function(tokens.decode(words))
    assert any(hits) == (rate == 1)


def test_doublings_of_the_number_of_bars_are_heard() -> None:
    bar = [[0, 0, BarBeat.BAR, 16, 0, 4, 0], [1, 1, BarBeat.BEAT, 0, 0, 0, 0], [1, 1, BarBeat.NOTE, 0, 73, 4, 40]]
    words = np.array([[0] * 7, *bar * 300], np.int16)
    axons = sounding.Hearing(("bars",)).hear(words[:, None], sounding.silence(1))[:, 0, 0]
    assert axons.tolist() == [sounding.NONE, *(min((n // 3 + 1).bit_length() - 1, 7) for n in range(900))]


def test_an_excerpt_is_heard_as_in_its_piece() -> None:
    pieces = [random_piece(np.random.default_rng(seed), 60)[:60] for seed in range(3)]
    starts = [0, 17, 40]
    state = sounding.heard_before(pieces, starts)
    for b, (piece, start) in enumerate(zip(pieces, starts, strict=True)):
        whole = ALL.hear(piece[:, None], sounding.silence(1))[start:]
        assert np.array_equal(ALL.hear(piece[start:, None], state[b : b + 1]), whole)


def already(before: tuple[int, ...], now: tuple[int, ...]) -> bool:
    """Whether the voices that are there move in parallels among themselves."""
    rows = [(480 * i, 480, p, 80, 0) for i, chord in enumerate((before[: len(now)], now)) for p in chord]
    return bool(METRICS["parallel_rate"].function(Score(480, table(rows, NOTE))) == 1)


def built(name: str) -> Any:
    torch.manual_seed(0)
    return architectures.build(name, {**ARCHITECTURES[name], "hears": list(sounding.GROUPS)}).eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_composing_hears_what_training_hears(name: str) -> None:
    network = built(name)
    words = np.stack([random_piece(np.random.default_rng(seed), 24)[:24] for seed in range(3)], axis=1)
    given = network.noise.behind(words)
    runner = network.runner()
    runner.reset(3)
    stepped = np.stack([runner.step(row) for row in given])
    with torch.no_grad():
        at_once = network(torch.from_numpy(given))[0].numpy()
    np.testing.assert_allclose(stepped, at_once, atol=2e-5)
    without: Any = architectures.build(name, ARCHITECTURES[name])
    size, mine = (
        of.embedding.num_embeddings if name.startswith("ann") else of.populations["input"].size
        for of in (without, network)
    )
    assert mine == size + ALL.axons


@pytest.mark.parametrize("name", ["s-rnn", "s-cnn", "ann-lstm"])
def test_what_sounds_changes_the_answer(name: str) -> None:
    """A note that ends before the onset or after it: the words that follow are the same."""
    network = built(name)
    with torch.no_grad():  # so that small networks spike
        for weights in network.parameters():
            weights *= 3
    logits = []
    for duration in (1, 16):
        words = [[0, 0, 1, 16, 0, 4, 0], [1, 1, 2, 0, 0, 0, 0], [1, 1, 3, 0, 61, duration, 40]]
        words += [[1, 1, 2, 8, 0, 0, 0], *[[1, 1, 3, 8, 80, 4, 40]] * 12]
        with torch.no_grad():
            logits.append(network(torch.tensor(words, dtype=torch.int16)[:, None])[0][-1, 0])
    assert (logits[0] - logits[1]).abs().max() > 1e-4


def test_the_gradient_reaches_only_the_axons_that_spiked() -> None:
    network = built("s-rnn").train()
    assert isinstance(network, Network)
    words = torch.from_numpy(np.stack([random_piece(np.random.default_rng(1), 20)[:20]], axis=1))
    axons = network.axons(words)
    network(words)[0].square().sum().backward()
    grad = network.weights["input_to_layer1"].grad
    assert grad is not None
    hit = torch.unique(axons[axons >= 0])
    assert (axons[:-1] >= tokens.N_AXONS).any()
    assert grad[:, hit].abs().sum(0).count_nonzero() >= len(hit) - 10  # the last word's axons reach nothing
    silent = torch.ones(grad.shape[1], dtype=torch.bool)
    silent[hit] = False
    assert not grad[:, silent].any()


def test_pieces_composed_by_a_network_that_hears_decode() -> None:
    for words in generate(built("s-rnn").runner(), pieces=3, length=40, seed=1):
        assert len(tokens.decode(words).notes)
