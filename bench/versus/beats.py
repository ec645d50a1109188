"""What `muspike.beat` finds: in POP909 against its annotations, in real tempo curves, in EMOPIA, in Lakh.

    python bench/versus/beats.py DATA [--asap FOLDER] [--match FILE...]

DATA has the folders pop909/POP909, emopia/midis, lakh/clean_midi and jsb/music21_midi; what is missing is skipped.
ASAP is a checkout of the ASAP data set (MIDI files of performances beside *_annotations.txt). A match file (as of the
Vienna 4x22 corpus) holds a performance and its score. The annotations are the truth only; nothing is found with them.

- on-beat notes: of the notes that lie on an annotated beat (to the nearest sixteenth), those whose position in words is
  a multiple of 4.
- bars right: files in which the bars of the words and the annotated ones, as far as there are notes, agree with an F
  measure of at least 0.9. Two bar lines agree if they are at most half a sixteenth apart. Annotated bars have four
  beats (third column of beat_midi.txt), and three in the songs whose third column counts in six (second column).
- beats: the F measure of mir_eval (70 ms; its first five seconds are left out).
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike import midi, tokens
from muspike.beat import on_annotated_beats, on_beat, tracking
from muspike.beat.retime import seconds, ticks
from muspike.errors import BadInput

try:
    import mir_eval
except ImportError:
    sys.exit("bench/versus/beats.py needs mir_eval: pip install mir_eval")

Array = npt.NDArray[Any]


def usual(lengths: Array) -> int:
    return int(np.bincount(lengths).argmax())


def bar_lines(score: midi.Score) -> tuple[Array, Array]:
    """First sixteenths of the bars of the words, and of the notes, before bars are dropped."""
    words = tokens.encode(score)
    is_bar = words[:, tokens.BAR_BEAT] == tokens.BarBeat.BAR
    lengths = words[is_bar, tokens.POSITION].astype(np.int64)
    lines = np.cumsum(lengths) - lengths
    first = np.flatnonzero(words[:, tokens.BAR_BEAT] == tokens.BarBeat.BEAT)[0]
    starts, _, _ = tokens._laid_on_grid(score, score.pitched_notes)
    return lines + starts[0] - words[first, tokens.POSITION], starts


def on_beat_notes(score: midi.Score, among: Array) -> int:
    """How many of the notes `among` (indices in the order of the score) have a position that is a multiple of 4."""
    lines, starts = bar_lines(score)
    bar = lines[np.searchsorted(lines, starts, side="right") - 1]
    return int(((starts - bar)[among] % 4 == 0).sum())


def bars_f(score: midi.Score, annotated: Array, every: int = 32) -> float:
    """F measure of the bar lines of the words against `annotated` ones, in sixteenths of the score.

    Within bars, there is a line after every `every` sixteenths as well.
    """
    lines, starts = bar_lines(score)
    after = np.append(lines[1:], starts[-1] + 1)
    lines = np.concatenate([np.arange(line, max(line + 1, end), every) for line, end in zip(lines, after, strict=True)])
    annotated = annotated[(annotated >= starts[0] - 0.5) & (annotated <= starts[-1] + 0.5)]
    if not len(annotated):
        return 0.0
    hits = int((np.abs(annotated[:, None] - lines).min(axis=1) <= 0.5).sum())
    return 2 * hits / (len(annotated) + len(lines))


def moved_lines(before: midi.Score, after: midi.Score, lines: Array) -> Array:
    """Where ticks of one score lie in the retimed one, in sixteenths; notes keep their order, so they carry the map."""
    old, new = before.notes["onset"].astype(float), after.notes["onset"].astype(float)
    slope = np.median(np.diff(new)[np.diff(old) > 0] / np.diff(old)[np.diff(old) > 0])
    nearest = np.clip(np.searchsorted(old, lines), 0, len(old) - 1)
    return (new[nearest] + slope * (lines - old[nearest])) * 4 / after.ticks_per_beat


def pop909(folder: Path) -> None:
    shares: dict[str, list[tuple[int, int]]] = {"as written": [], "on_beat": [], "annotated": []}
    bars: dict[str, list[float]] = {name: [] for name in shares}
    methods, metres, took = Counter[str](), Counter[str](), Counter[str]()
    errors, audio, halves = [], [], []
    songs = sorted(path for path in folder.iterdir() if path.is_dir())
    for song in songs:
        score = midi.read(song / f"{song.name}.mid")
        table = np.loadtxt(song / "beat_midi.txt")
        beats = ticks(score, table[:, 0])
        in_six = usual(np.diff(np.flatnonzero(table[:, 2]))) == 6
        down = table[:, 1 if in_six else 2] == 1
        begun = time.perf_counter()
        found = on_beat(score)
        took[found.method] += time.perf_counter() - begun
        methods[found.method] += 1
        metres[f"{3 if in_six else 4} annotated, {found.beats_per_bar or 'as written'} found"] += 1
        errors.append((found.error_before, found.error))
        onsets = score.notes["onset"].astype(float)
        i = np.clip(np.searchsorted(beats, onsets + score.ticks_per_beat / 8, side="right") - 1, 0, len(beats) - 2)
        parts = np.rint(4 * (onsets - beats[i]) / (beats[i + 1] - beats[i]))
        among = np.flatnonzero(parts % 4 == 0)
        annotated = on_annotated_beats(score, list(zip(beats.tolist(), down.tolist(), strict=True)))
        for name, after in (("as written", score), ("on_beat", found.score), ("annotated", annotated)):
            shares[name].append((on_beat_notes(after, among), len(among)))
            bars[name].append(bars_f(after, moved_lines(score, after, beats[down])))
        if not in_six:
            halves.append(bars_f(found.score, moved_lines(score, found.score, beats[table[:, 1] == 1]), every=8))
        heard = np.loadtxt(song / "beat_audio.txt")
        audio.append(
            2 * sum(np.abs(heard[heard[:, 1] == 1, 0] - at).min() <= 0.15 for at in table[down, 0])
            / (down.sum() + (heard[:, 1] == 1).sum())
        )  # fmt: skip
    print(f"POP909, {len(songs)} files: {dict(methods)}")
    print("  ms per file: " + ", ".join(f"{name} {1e3 * took[name] / methods[name]:.2f}" for name in methods))
    print(f"  metre: {dict(metres)}")
    before, after_ = np.mean(errors, axis=0)
    print(f"  mean distance to the nearest sixteenth: {before:.3f} as written, {after_:.3f} afterwards")
    for name in shares:
        on, of = np.sum(shares[name], axis=0)
        by_file = np.mean([a >= 0.95 * b for a, b in shares[name]])
        f = np.array(bars[name])
        print(
            f"  {name:10}  on-beat notes {100 * on / of:5.1f} % (95 % of them in {100 * by_file:.1f} % of the files)"
            f"  bars right in {int((f >= 0.9).sum())} files ({100 * (f >= 0.9).mean():.1f} %), mean F {f.mean():.3f};"
            f" held out: {100 * (f[1::2] >= 0.9).mean():.1f} %, mean F {f[1::2].mean():.3f}"
        )
    right = np.mean(np.array(halves) >= 0.9)
    print(f"  half bars right (second column; bars of four beats): {100 * right:.1f} %, mean F {np.mean(halves):.3f}")
    constant = [constant_bars(np.loadtxt(song / "beat_midi.txt")) for song in songs]
    print(f"  bars right if each song had its best regular bars: {100 * np.mean(np.array(constant) >= 0.9):.1f} %")
    print(f"  bars right by the annotation made from the audio (150 ms): {100 * np.mean(np.array(audio) >= 0.9):.1f} %")


def constant_bars(table: Array) -> float:
    """The best F measure of annotated downbeats with bars of constant length."""
    in_six = usual(np.diff(np.flatnonzero(table[:, 2]))) == 6
    down, length = np.flatnonzero(table[:, 1 if in_six else 2]), 3 if in_six else 4
    return max(
        2 * len(np.intersect1d(down, grid)) / (len(down) + len(grid))
        for grid in (np.arange(phase, len(table), length) for phase in range(length))
    )


def tracked_f(score: midi.Score, truth_s: Array) -> tuple[float, float, float]:
    """F measure of the tracked beats; the same for the best of them, half and double of them; milliseconds."""
    begun = time.perf_counter()
    begins = seconds(score, score.notes["onset"])
    lasts = seconds(score, score.notes["onset"].astype(np.int64) + score.notes["duration"]) - begins
    weights = tracking.salience(begins, lasts, score.notes["pitch"].astype(np.int64), score.notes["velocity"])
    beats = tracking.track(begins, weights)
    took = 1e3 * (time.perf_counter() - begun)
    double = np.sort(np.concatenate([beats, (beats[1:] + beats[:-1]) / 2]))
    truth = mir_eval.beat.trim_beats(truth_s)
    scores = [
        float(mir_eval.beat.f_measure(truth, mir_eval.beat.trim_beats(found)))
        for found in (beats, double, beats[::2], beats[1::2])
    ]
    return scores[0], max(scores), took


def with_curve(folder: Path) -> Iterator[tuple[midi.Score, Array]]:
    """POP909's notes played with the tempo curve of its audio, where both annotations count the same beats."""
    for song in sorted(path for path in folder.iterdir() if path.is_dir()):
        score = midi.read(song / f"{song.name}.mid")
        beats = np.loadtxt(song / "beat_midi.txt")[:, 0]
        heard = np.loadtxt(song / "beat_audio.txt")[:, 0]
        if abs(np.median(np.diff(heard)) / np.median(np.diff(beats)) - 1) > 0.05:
            continue
        nearest = np.abs(heard[:, None] - beats).argmin(axis=0)
        if np.median(np.abs(heard[nearest] - beats)) > 0.1:
            continue
        inside = (beats >= heard[0] - 0.2) & (beats <= heard[-1] + 0.2)
        beats, nearest = beats[inside], nearest[inside]
        beats, nearest = beats[np.append(True, np.diff(nearest) > 0)], nearest[np.append(True, np.diff(nearest) > 0)]
        played = heard[nearest]
        at = np.interp(seconds(score, score.notes["onset"]), beats, played, left=-1, right=-1)
        ends = np.interp(seconds(score, score.notes["onset"] + score.notes["duration"]), beats, played)
        notes = score.notes[at >= 0].copy()
        notes["onset"] = np.rint(960 * at[at >= 0])  # 480 ticks per beat at 120 bpm
        notes["duration"] = np.maximum(1, np.rint(960 * ends[at >= 0]) - notes["onset"])
        if len(notes) > 100:
            yield midi.Score(480, notes, tracks=score.tracks, name=song.name), played


def asap(folder: Path) -> Iterator[tuple[midi.Score, Array]]:
    for file in sorted(folder.rglob("*_annotations.txt")):
        performance = file.with_name(file.name.replace("_annotations.txt", ".mid"))
        if performance.name != "midi_score.mid" and performance.exists():
            rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
            yield midi.read(performance), np.array([float(row[0]) for row in rows])


def match(file: Path) -> tuple[midi.Score, Array]:
    """The performance of a match file, and when its beats are played: the mean of the notes written on them."""
    text = file.read_text(encoding="utf-8")
    units, rate = (int(found[1]) for found in (
        re.search(r"midiClockUnits,(\d+)", text), re.search(r"midiClockRate,(\d+)", text)) if found)  # fmt: skip
    notes, on_beats = [], dict[float, list[float]]()
    pattern = r"snote\([^,]*,\[.*?\],[^,]*,\d+:\d+,([^,]*),[^,]*,([-\d.]+),[-\d.]+,.*?\)-note\([^,]*,(.*?)\)\."
    for found in re.finditer(pattern, text):
        spelled = re.fullmatch(r"\[([A-Ga-g]),([n#bx]*)\],(-?\d+),(\d+),(\d+),\d+,(\d+)", found[3].replace(" ", ""))
        if spelled is None:
            continue
        step = "CxDxEFxGxAxB".index(spelled[1].upper())
        pitch = (
            step + spelled[2].count("#") + 2 * spelled[2].count("x") - spelled[2].count("b") + 12 * int(spelled[3]) + 12
        )
        onset, offset, velocity = (int(spelled[i]) for i in (4, 5, 6))
        notes.append((onset, max(1, offset - onset), pitch, velocity, 0))
        if float(found[2]).is_integer() and found[1] == "0":
            on_beats.setdefault(float(found[2]), []).append(onset)
    bpm = 60e6 / rate
    score = midi.Score(units, midi.table(notes, midi.NOTE), midi.table([(0, bpm)], midi.TEMPO), name=file.stem)
    return score, seconds(score, np.array([np.mean(on_beats[beat]) for beat in sorted(on_beats)]))


def beats(title: str, performances: Iterator[tuple[midi.Score, Array]]) -> None:
    found = np.array([tracked_f(score, truth) for score, truth in performances])
    if len(found):
        print(
            f"{title}: {len(found)} performances; F of beats {found[:, 0].mean():.3f},"
            f" median {np.median(found[:, 0]):.3f}, at the best of tempo, half and double {found[:, 1].mean():.3f};"
            f" {found[:, 2].mean():.1f} ms each"
        )


def without_truth(title: str, folder: Path) -> None:
    found, took = [], []
    for file in sorted(folder.rglob("*.mid")):
        try:
            score = midi.read(file)
        except BadInput:
            continue
        begun = time.perf_counter()
        found.append(on_beat(score))
        took.append(1e3 * (time.perf_counter() - begun))
    print(f"{title}, {len(found)} files:")
    for method in ("as written", "phase", "tracked"):
        own = [i for i, one in enumerate(found) if one.method == method]
        if own:
            before, after = (np.array([getattr(found[i], name) for i in own]) for name in ("error_before", "error"))
            sure = np.mean([found[i].confidence >= 0.5 for i in own])
            print(
                f"  {method:10} {len(own):5} files  distance to the nearest sixteenth {before.mean():.3f} before,"
                f" {after.mean():.3f} after; confidence of at least 0.5 in {100 * sure:.0f} %;"
                f" {np.mean([took[i] for i in own]):.2f} ms per file"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--asap", type=Path, help="a checkout of the ASAP data set")
    parser.add_argument("--match", type=Path, nargs="*", default=[], help="match files")
    arguments = parser.parse_args()
    warm = midi.Score(480, midi.table([(137 * k, 100, 60, 80, 0) for k in range(64)], midi.NOTE))
    on_beat(warm), tracked_f(warm, np.arange(64) / 2)
    songs = arguments.data / "pop909" / "POP909"
    if songs.exists():
        pop909(songs)
        # The settings of tracking were chosen on every sixth performance.
        others = (performance for number, performance in enumerate(with_curve(songs)) if number % 6)
        beats("POP909 played with the tempo curve of its audio", others)
    for title, folder in (("EMOPIA", "emopia/midis"), ("Lakh", "lakh/clean_midi"), ("chorales", "jsb/music21_midi")):
        if (arguments.data / folder).exists():
            without_truth(title, arguments.data / folder)
    if arguments.match:
        beats("match files", (match(file) for file in arguments.match))
    if arguments.asap:
        beats("ASAP", asap(arguments.asap))


if __name__ == "__main__":
    main()
