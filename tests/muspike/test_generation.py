"""Composing: valid pieces of the asked length, whoever computes the logits."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike import architectures, metrics, midi, sounding, tokens
from muspike.cli import music
from muspike.cli.options import Commands
from muspike.errors import BadInput
from muspike.generation import (
    SHORTEST,
    UNCHANGED,
    Logits,
    Mask,
    Sampling,
    compose,
    ended_by_itself,
    first_bars,
    generate,
    generate_files,
    sample,
    write_pieces,
)
from muspike.host import Noise as NoiseAxons
from muspike.network import Network, TorchRunner
from muspike.tokens import BarBeat, Words
from noise_corpus import Noise


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(4, 60), scale=st.sampled_from([0.1, 3.0, 30.0]))
def test_any_logits_give_pieces_that_decode_and_end_within_the_length(seed: int, length: int, scale: float) -> None:
    for words in generate(Noise(seed, scale), 3, length, seed):
        assert words.shape[1] == 7 and 4 <= len(words) <= length
        kinds = words[:, tokens.BAR_BEAT]
        assert kinds[0] == tokens.BarBeat.BAR and kinds[-1] == tokens.BarBeat.END
        assert (kinds[:-1] != tokens.BarBeat.END).all()
        assert len(tokens.decode(words).notes) >= 1


class Stuck(Noise):
    """Wants the same note at the same onset, always: what a network can fall into."""

    def __init__(self) -> None:
        super().__init__(0, 0.1)

    def step(self, words: Words) -> Logits:
        logits = super().step(words)
        logits[:, tokens.OFFSETS[tokens.BAR_BEAT] + tokens.BarBeat.NOTE] += 20
        logits[:, tokens.OFFSETS[tokens.PITCH] + 61] += 20
        return logits


class Chorale(Noise):
    """Wants chords of four notes a beat apart; what it wants after a note can be changed.

    Attributes:
        wants: the kind that it wants most after so many notes of a chord, from chord `since` on.
    """

    def __init__(self, wants: dict[int, BarBeat], since: int = 0) -> None:
        super().__init__(0, 0.1)
        self.wants, self.since = wants, since

    def reset(self, batch: int) -> None:
        super().reset(batch)
        self.notes, self.chords = np.zeros(batch, int), np.zeros(batch, int)

    def step(self, words: Words) -> Logits:
        is_note = words[:, tokens.BAR_BEAT] == BarBeat.NOTE
        self.chords += (self.notes > 0) & ~is_note
        self.notes = np.where(is_note, self.notes + 1, 0)
        logits = super().step(words)
        for b, notes in enumerate(self.notes.tolist()):
            kind = BarBeat.NOTE if notes < 4 and words[b, tokens.BAR_BEAT] != BarBeat.BAR else BarBeat.BEAT
            if self.chords[b] >= self.since:
                kind = self.wants.get(notes, kind)
            if kind == BarBeat.BEAT and is_note[b] and words[b, tokens.POSITION] >= 12:
                kind = BarBeat.BAR
            logits[b, tokens.OFFSETS[tokens.BAR_BEAT] + kind] += 30
            # The second choice, where the first must not come.
            logits[b, tokens.OFFSETS[tokens.BAR_BEAT] + (BarBeat.NOTE if notes < 4 else BarBeat.BAR)] += 15
            # A bar has 16 sixteenths; a beat comes four after the one before.
            position = 4 * (int(words[b, tokens.POSITION]) // 4 + 1) if is_note[b] else 0
            logits[b, tokens.OFFSETS[tokens.POSITION] + 16] += 20
            logits[b, tokens.OFFSETS[tokens.POSITION] + position] += 30
            logits[b, tokens.OFFSETS[tokens.PITCH] + 80 - 5 * notes] += 30
            logits[b, tokens.OFFSETS[tokens.DURATION] + 4] += 30
        return logits


def last_chord(words: Words) -> int:
    """Number of NOTEs of the last chord."""
    beats = np.flatnonzero(words[:, tokens.BAR_BEAT] == BarBeat.BEAT)
    return int((words[beats[-1] :, tokens.BAR_BEAT] == BarBeat.NOTE).sum())


def test_a_piece_ends_where_the_network_ends_it() -> None:
    for words in generate(Chorale({4: BarBeat.END}, since=6), 3, 512, seed=0):
        assert words[-1, tokens.BAR_BEAT] == BarBeat.END and last_chord(words) == 4
        assert (words[:, tokens.BAR_BEAT] == BarBeat.BEAT).sum() == 7
        assert ended_by_itself(words, 512)


def test_a_piece_does_not_end_inside_a_chord_or_on_a_lone_note() -> None:
    for notes in (1, 2, 3):
        for words in generate(Chorale({notes: BarBeat.END, 4: BarBeat.END}, since=6), 3, 512, seed=0):
            assert last_chord(words) == 4 and len(words) < 60


@pytest.mark.parametrize("length", range(60, 76))
def test_at_the_limit_a_piece_ends_with_a_complete_chord(length: int) -> None:
    for wants in ({}, {1: BarBeat.BEAT}, {2: BarBeat.BAR}):
        for words in generate(Chorale(wants, since=10), 2, length, seed=0):
            assert length - 22 <= len(words) <= length and not ended_by_itself(words, length)
            assert words[-1, tokens.BAR_BEAT] == BarBeat.END
            assert last_chord(words) >= 4


def test_pieces_end_each_on_its_own() -> None:
    """A batch goes on until its last piece has ended; the others are not longer for that."""
    pieces = generate(Noise(3, 3.0), 16, 200, seed=1)
    assert len({len(words) for words in pieces}) > 4
    for words in pieces:
        assert (words[:-1, tokens.BAR_BEAT] != BarBeat.END).all() and words[-1, tokens.BAR_BEAT] == BarBeat.END


@pytest.mark.parametrize("ended", [True, False])
def test_no_onset_is_crowded_and_none_lasts_for_ever(ended: bool) -> None:
    for words in generate(Stuck(), 4, 400, seed=0, ended=ended):
        onset = np.cumsum(words[:, tokens.BAR_BEAT] == tokens.BarBeat.BEAT)
        notes = words[:, tokens.BAR_BEAT] == tokens.BarBeat.NOTE
        pairs = Counter(zip(onset[notes].tolist(), words[notes, tokens.PITCH].tolist(), strict=True))
        # Below the lowest pitch there is nothing to go on to: it alone may come again.
        assert max(count for (_, pitch), count in pairs.items() if pitch > 1) == 2
        assert np.bincount(onset[notes]).max() == 8


def network_runner() -> TorchRunner:
    import torch

    torch.manual_seed(3)
    network = architectures.build("s-rnn", architectures.preset("s-rnn", "tiny")["network"])
    assert isinstance(network, Network)
    return TorchRunner(network)


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    files = []
    for folder in ("a", "b", "c"):
        pieces = generate(network_runner(), 5, 24, seed=7 if folder < "c" else 8, batch=2)
        files.append([f.read_bytes() for f in write_pieces(pieces, tmp_path / folder)])
    assert files[0] == files[1]
    assert files[0] != files[2]
    assert [f.name for f in sorted((tmp_path / "a").iterdir())] == [f"piece-{i:03}.mid" for i in range(5)]
    assert len(midi.read(tmp_path / "a" / "piece-000.mid").notes) >= 1


def test_a_piece_does_not_depend_on_how_many_are_asked_for() -> None:
    few, many = generate(network_runner(), 2, 20, seed=1), generate(network_runner(), 6, 20, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(few, many, strict=False))


def test_sample_follows_the_distribution_the_mask_and_top_p() -> None:
    chances = np.array([0.5, 0.3, 0.15, 0.05])
    draws = (np.arange(1000) + 0.5) / 1000
    logits = np.broadcast_to(np.log(chances), (1000, 4)).astype(np.float32)
    everything = np.ones((1000, 4), bool)

    def counts(allowed: np.ndarray[tuple[int, int], np.dtype[np.bool_]], sampling: Sampling) -> list[int]:
        return [int(n) for n in np.bincount(sample(logits, allowed, draws, sampling), minlength=4)]

    assert counts(everything, Sampling(temperature=1.0, top_p=1.0)) == [500, 300, 150, 50]
    assert counts(everything, Sampling(temperature=1.0, top_p=0.75)) == [625, 375, 0, 0]
    without_first = everything & (np.arange(4) > 0)
    assert counts(without_first, Sampling(temperature=1.0, top_p=1.0)) == [0, 600, 300, 100]
    # Temperature 1/2 squares the chances: 0.25, 0.09, 0.0225, 0.0025 of 0.365.
    cold = counts(everything, Sampling(temperature=0.5, top_p=1.0))
    assert cold == pytest.approx(1000 * chances**2 / (chances**2).sum(), abs=1)


class Restless(Noise):
    """After each note it wants the next beat, and with a chance of a tenth the end."""

    def __init__(self) -> None:
        super().__init__(0, 0.0)

    def step(self, words: Words) -> Logits:
        logits = super().step(words)
        kinds = tokens.OFFSETS[tokens.BAR_BEAT]
        logits[:, kinds : kinds + len(BarBeat)] = -30
        logits[:, kinds + BarBeat.END] = np.log(0.1)
        logits[:, kinds + BarBeat.BEAT] = logits[:, kinds + BarBeat.NOTE] = np.log(0.45)
        return logits


def test_top_p_and_temperature_do_not_keep_a_piece_from_ending() -> None:
    for sampling in (UNCHANGED, Sampling(temperature=0.2, top_p=0.1, end_bias=0.0)):
        pieces = generate(Restless(), 40, 400, 0, sampling)
        assert all(ended_by_itself(words, 400) for words in pieces)
        assert len({len(words) for words in pieces}) > 10


def test_a_bias_makes_the_end_likelier_or_rarer_as_the_piece_goes_on() -> None:
    pieces = {
        bias: generate(Restless(), 100, 30, 0, replace(Sampling(), end_bias=bias)) for bias in (0.0, 20.0, -100.0)
    }
    lengths = {bias: np.array([len(words) for words in found]) for bias, found in pieces.items()}
    assert lengths[20.0].mean() < 0.6 * lengths[0.0].mean()
    assert (lengths[20.0] > SHORTEST).mean() > 0.4  # the whole bias from the beginning would end them all there
    assert not any(ended_by_itself(words, 30) for words in pieces[-100.0])  # the limit alone ends them


class Wanderer(Chorale):
    """Wants chords of four voices, each of which moves freely within an octave."""

    def __init__(self) -> None:
        super().__init__({})

    def step(self, words: Words) -> Logits:
        self.latest = super().step(words)
        pitches = self.latest[:, tokens.OFFSETS[tokens.PITCH] :][:, : tokens.SIZES[tokens.PITCH]]
        pitches[:] = self.random.standard_normal(pitches.shape)
        for b, notes in enumerate(self.notes.tolist()):
            pitches[b, 85 - 12 * notes : 97 - 12 * notes] += 30
        return self.latest


def test_the_command_samples_as_the_function_does() -> None:
    parser = argparse.ArgumentParser()
    music.add(Commands(parser))
    given = vars(parser.parse_args(["generate", "s-rnn", "-o", "pieces"]))
    told = {name: value for name, value in asdict(Sampling()).items() if name in given}
    assert len(told) == 4 and {name: given[name] for name in told} == told


def recorded(sampling: Sampling) -> tuple[Words, list[tuple[int, int, Logits]]]:
    """Three pieces that a network composes by its own logits, and the logits that each choice is made from."""
    seen: list[tuple[int, int, Logits]] = []
    runner = Wanderer()

    def choose(n: int, feature: int, logits: Logits, allowed: Mask) -> Any:
        seen.append((n, feature, logits.copy()))
        own = runner.latest[:, tokens.OFFSETS[feature] :][:, : tokens.SIZES[feature]]
        return np.where(allowed, own, -np.inf).argmax(1)

    return compose(runner, np.zeros((200, 3, 0), np.int16), choose, sampling, ended=False), seen


def test_biases_are_added_to_the_end_and_to_the_pitches_in_parallel_motion_alone() -> None:
    words, plain = recorded(UNCHANGED)
    same, biased = recorded(replace(UNCHANGED, end_bias=1.5, parallels_bias=-4.0))
    np.testing.assert_array_equal(same, words)
    parallels = sounding.Hearing(("parallel_motion",)).hear(words, sounding.silence(3))
    added = 0
    for (n, feature, before), (_, _, after) in zip(plain, biased, strict=True):
        wanted = before.copy()
        if feature == tokens.BAR_BEAT:
            wanted[:, BarBeat.END] += 1.5 * n / 200
        elif feature == tokens.PITCH and n:
            for piece in range(3):
                for pitch in parallels[n - 1, piece][parallels[n - 1, piece] != sounding.NONE]:
                    wanted[piece, pitch + 1] -= 4.0
                    added += 1
        np.testing.assert_array_equal(after, wanted)
    assert added > 20


def test_a_strong_bias_against_parallels_leaves_none() -> None:
    def rate(bias: float) -> float:
        pieces = generate(Wanderer(), 8, 300, 0, replace(UNCHANGED, parallels_bias=bias))
        found = metrics.evaluate_set([tokens.decode(words) for words in pieces], ["parallel_rate"])
        return float(np.nanmean(found["parallel_rate"]))

    assert rate(-100.0) == 0
    assert rate(0.0) > 0.04


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ({"length": 3}, "length 3 must be from 4 to 100000"),
        ({"length": 8.5}, "length 8.5 must be a whole number and be from 4"),
        ({"pieces": -1}, "pieces -1 must be from 1 to 100000"),
        ({"seed": 2**40}, "seed 1099511627776 must be from 0 to 4294967295"),
        ({"batch": -1}, "batch -1 must be from 1"),
    ],
)
def test_numbers_out_of_range_are_refused(number: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=f"^generate: {words}"):
        generate(Noise(0, 1.0), **({"pieces": 1, "length": 8, "seed": 0} | number))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ({"temperature": 1e308}, r"temperature 1e\+308 must be from 0.001 to 1000"),
        ({"temperature": 0}, "temperature 0 must be from 0.001 to 1000"),
        ({"temperature": math.nan}, "temperature nan must be from"),
        ({"top_p": 0}, "top_p 0 must be above 0 and at most 1"),
        ({"end_bias": 101}, "end_bias 101 must be from -100.0 to 100.0"),
        ({"parallels_bias": math.nan}, "parallels_bias nan must be from -100.0 to 100.0"),
        ({"unisons": 0}, "unisons 0 must be at least 1"),
        ({"chord": 1.5}, "chord 1.5 must be a whole number and be at least 1"),
    ],
)
def test_sampling_out_of_range_is_refused(number: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=f"^sampling: {words}"):
        Sampling(**number)


def test_each_batch_is_written_when_it_is_composed(tmp_path: Path) -> None:
    whole = write_pieces(generate(Noise(0, 1.0), 5, 20, seed=3, batch=2), tmp_path / "whole")
    files = generate_files(Noise(0, 1.0), tmp_path / "files", 5, 20, seed=3, batch=2)
    assert [f.name for f in files] == [f.name for f in whole]
    assert [f.read_bytes() for f in files] == [f.read_bytes() for f in whole]

    class Stopped(Noise):
        """Ends in the third batch."""

        resets = 0

        def reset(self, batch: int) -> None:
            self.resets += 1
            if self.resets == 3:
                raise KeyboardInterrupt
            super().reset(batch)

    with pytest.raises(KeyboardInterrupt, match=f"stopped: 4 of 5 pieces are in {tmp_path / 'files'}"):
        generate_files(Stopped(0, 1.0), tmp_path / "files", 5, 20, seed=4, batch=2)
    # No old piece stands between the new ones.
    assert sorted(f.name for f in (tmp_path / "files").iterdir()) == [f.name for f in whole[:4]]
    assert (tmp_path / "files" / "piece-003.mid").read_bytes() != whole[3].read_bytes()


def test_a_piece_that_cannot_be_replaced_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "piece-001.mid").symlink_to("/dev/null")
    with pytest.raises(BadInput, match=r"piece-001\.mid: is a pipe, a device"):
        generate_files(Noise(0, 1.0), tmp_path, 2, 20, seed=3)
    assert [f.name for f in tmp_path.iterdir()] == ["piece-001.mid"]


class Hearing(Noise):
    """Keeps what it is given."""

    def __init__(self, draws: int, values: int) -> None:
        super().__init__(0, 1.0)
        self.noise, self.heard = NoiseAxons(draws, values), list[Words]()

    def step(self, words: Words) -> Logits:
        self.heard.append(words)
        return super().step(words)


def test_noise_is_drawn_from_the_piece_alone_and_moves_no_word_that_does_not_hear_it() -> None:
    plain, noisy = Hearing(0, 0), Hearing(3, 5)
    few = generate(plain, 2, 30, seed=4, ended=False)
    same = generate(noisy, 2, 30, seed=4, ended=False)
    assert all(np.array_equal(a, b) for a, b in zip(few, same, strict=True))
    heard = np.stack(noisy.heard)
    assert np.stack(plain.heard).shape == (30, 2, 7) and heard.shape == (30, 2, 10) and heard.dtype == np.int16
    draws = heard[..., 7:]
    assert np.array_equal(np.unique(draws), np.arange(5)) and not np.array_equal(draws[:, 0], draws[:, 1])
    # In other company, and for longer.
    many = Hearing(3, 5)
    generate(many, 3, 40, seed=4, batch=1, ended=False)
    alone = np.stack(many.heard).reshape(3, 40, 10)[:2, :30].swapaxes(0, 1)
    assert np.array_equal(alone[..., 7:], draws)
    assert not np.array_equal(noisy.noise.drawn(5, [0, 1], 30), draws)
    assert np.array_equal(noisy.noise.behind(np.stack(few, axis=1), seed=4)[..., 7:], draws)


def test_every_value_of_noise_is_as_likely() -> None:
    counts = np.bincount(NoiseAxons(4, 8).drawn(0, range(20), 200).ravel(), minlength=8)
    assert counts.sum() == 16000 and (np.abs(counts - 2000) < 200).all()


@pytest.mark.parametrize(("draws", "values"), [(2, 0), (-1, 4), (1, 2**15 + 1)])
def test_noise_without_axons_is_refused(draws: int, values: int) -> None:
    with pytest.raises(BadInput, match=f"noise: {draws} draws of one of {values} values"):
        NoiseAxons(draws, values)


# --- going on from a prompt ------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), more=st.integers(4, 60), scale=st.sampled_from([0.1, 3.0, 30.0]))
def test_a_piece_begins_with_its_prompt_and_goes_on_with_a_new_bar(seed: int, more: int, scale: float) -> None:
    (source,) = generate(Noise(seed, scale), 1, 40, seed)
    prompt = source[:-1]
    for words in generate(Noise(seed + 1, scale), 3, len(prompt) + more, seed, prompt=source):
        assert np.array_equal(words[: len(prompt)], prompt) and words.dtype == np.int16
        assert words[len(prompt), tokens.BAR_BEAT] == BarBeat.BAR and words[-1, tokens.BAR_BEAT] == BarBeat.END
        assert len(prompt) + 4 <= len(words) <= len(prompt) + more
        tokens.decode(words)


def test_the_network_reads_the_prompt_and_then_what_it_composes() -> None:
    (prompt,) = generate(Noise(0, 1.0), 1, 20, seed=1, ended=False)
    prompt = first_bars(prompt)
    noisy = Hearing(2, 3)
    pieces = generate(noisy, 2, len(prompt) + 10, seed=4, ended=False, prompt=prompt)
    heard = np.stack(noisy.heard)  # before the first word, the network hears none
    assert not heard[0, :, :7].any() and np.array_equal(heard[1:, :, :7], np.stack(pieces, axis=1)[:-1])
    assert np.array_equal(heard[..., 7:], noisy.noise.drawn(4, range(2), len(heard)))


def test_a_prompt_decides_how_a_piece_goes_on_and_the_seed_too() -> None:
    prompts = [first_bars(generate(network_runner(), 1, 24, seed)[0]) for seed in (1, 2)]
    prompts[1] = prompts[0].copy()
    prompts[1][prompts[1][:, tokens.PITCH] > 0, tokens.PITCH] -= 1
    (one,), (same,), (other_prompt,), (other_seed,) = (
        generate(network_runner(), 1, 80, seed, prompt=prompt)
        for prompt, seed in ((prompts[0], 7), (prompts[0], 7), (prompts[1], 7), (prompts[0], 8))
    )
    begun = len(prompts[0])
    assert np.array_equal(one, same)
    assert not np.array_equal(one[begun:], other_prompt[begun:]) and not np.array_equal(one, other_seed)


def test_the_first_bars_of_a_piece() -> None:
    (piece,) = generate(Chorale({}), 1, 120, seed=3)
    bars = np.flatnonzero(piece[:, tokens.BAR_BEAT] == BarBeat.BAR)
    assert len(bars) > 2
    assert np.array_equal(first_bars(piece, 2), piece[: bars[2]])
    assert np.array_equal(first_bars(piece, len(bars)), piece[:-1])
    assert np.array_equal(first_bars(piece), piece[:-1])
    with pytest.raises(BadInput, match=f"^song: has {len(bars)} bars; a prompt of {len(bars) + 1} needs more"):
        first_bars(piece, len(bars) + 1, "song")
    with pytest.raises(BadInput, match="bars is 0"):
        first_bars(piece, 0)


def test_a_prompt_that_leaves_no_room_or_is_none_is_refused() -> None:
    (prompt,) = generate(Noise(0, 1.0), 1, 20, seed=1)
    words = len(prompt) - 1
    with pytest.raises(BadInput, match=f"prompt has {words} words; length {words + 3} must be at least {words + 4}"):
        generate(Noise(0, 1.0), 1, words + 3, 0, prompt=prompt)
    with pytest.raises(BadInput, match="a piece starts with BAR"):
        generate(Noise(0, 1.0), 1, 60, 0, prompt=prompt[1:])
    in_chord = np.vstack([prompt[:-1], [[*prompt[-2, :2], BarBeat.BAR, 4, 0, 4, 0]], prompt[1:2]]).astype(np.int16)
    in_chord[-1, tokens.POSITION] = 0
    with pytest.raises(BadInput, match=f"prompt ends with token {words + 1}, a BEAT"):
        generate(Noise(0, 1.0), 1, 60, 0, prompt=in_chord)
    with pytest.raises(BadInput, match="prompt has no notes"):
        generate(Noise(0, 1.0), 1, 60, 0, prompt=prompt[:1])


def test_the_sound_of_a_piece_lies_beside_it_and_goes_with_it(tmp_path: Path) -> None:
    def notes(score: midi.Score) -> bytes:
        return f"{len(score.notes)} notes".encode()

    files = generate_files(Noise(0, 1.0), tmp_path, 2, 20, seed=3, mp3=notes)
    for file in files:
        assert file.with_suffix(".mp3").read_bytes() == notes(midi.read(file))
    generate_files(Noise(0, 1.0), tmp_path, 2, 20, seed=4)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["piece-000.mid", "piece-001.mid"]
