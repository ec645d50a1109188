"""`evaluate`: judge a set of pieces beside a reference set."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import os
import runpy
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muspike.cli.formats import HTML, add_format, form_of, put
from muspike.cli.options import Commands, add_seed, path, refuse_unused, whole
from muspike.cli.output import note, say, waiting
from muspike.errors import BadInput, MuspikeError, one_line
from muspike.files import check_file, owned_folder, write_whole
from muspike.ranges import LENGTH
from muspike.ranges import whole as whole_range

if TYPE_CHECKING:
    from muspike.metrics.comparison import Comparison
    from muspike.metrics.files import MeasuredFiles, Open
    from muspike.metrics.grid import Grid
    from muspike.midi import Score

DRAWS = whole_range(10, 100_000)
_LEAST = 3
_LEAST_FOR_FLOOR = 6


def add(commands: Commands) -> None:
    """Add the command."""
    sub = commands.add(
        "evaluate",
        _evaluate,
        "Judge a set of pieces beside a reference set: each metric's mean, overlapping area and divergence with their "
        "intervals, and the floor, which real pieces have among themselves; Frechet distances; and how much is copied. "
        "A file that cannot be measured is named, and the others are measured. Status 2: fewer than three pieces of a "
        "set could be.",
        "muspike evaluate pieces --reference jsb --length 128 -o evaluation.html",
    )
    sub.add_argument("files", nargs="+", metavar="FILE", type=path, help="the pieces: MIDI files, or folders of them")
    sub.add_argument(
        "--reference",
        required=True,
        metavar="CORPUS",
        help="the pieces to compare with: the test split of a corpus, such as jsb or one that data list names, or a "
        "folder of MIDI files",
    )
    sub.add_argument(
        "--training",
        metavar="CORPUS",
        help="the pieces that may have been copied, in whole: a corpus's training split, or a folder (default: the "
        "training split of the reference; of a folder, the reference itself)",
    )
    sub.add_argument(
        "--length",
        type=whole(LENGTH),
        default=128,
        help="the words of each excerpt; shorter pieces are not measured (default: 128)",
    )
    sub.add_argument(
        "--draws", type=whole(DRAWS), default=200, help="draws of pieces for intervals and floors (default: 200)"
    )
    add_seed(sub, "the same seed draws the same pieces")
    sub.add_argument(
        "--metrics", type=path, metavar="FILE.py", help="a Python file to execute, which adds metrics (metrics.add)"
    )
    sub.add_argument(
        "--embedding",
        type=path,
        metavar="FILE.py",
        help="a Python file whose function embed(score) gives a piece's vector, for the Frechet Music Distance",
    )
    sub.add_argument("--pictures", type=path, metavar="FOLDER", help="write a picture per group of metrics there (SVG)")
    add_format(sub, "the result")


def _evaluate(args: argparse.Namespace) -> int:
    form = form_of(args)
    if args.pictures is None:
        with _registry_kept():
            return _judged(args, form, None)
    if form == HTML:
        refuse_unused(args, "with --format html, whose page holds them", "pictures")
    with owned_folder(args.pictures) as folder, _registry_kept():
        return _judged(args, form, folder)


@contextlib.contextmanager
def _registry_kept() -> Iterator[None]:
    """Take back in the end what a file of the user's adds: it holds for one command, not for the process."""
    from muspike import metrics

    tables = (metrics.METRICS, metrics.HISTOGRAMS)
    before = [dict(table) for table in tables]
    try:
        yield
    finally:
        for table, content in zip(tables, before, strict=True):
            table.clear()
            table.update(content)


def _judged(args: argparse.Namespace, form: str, folder: Path | None) -> int:
    with waiting("loading the metrics"):
        from muspike import corpora, metrics
        from muspike.metrics.comparison import compare_sets
        from muspike.metrics.copying import copied_in_both
        from muspike.metrics.frechet import embedded
        from muspike.progress import bar

    known_before = {*metrics.METRICS, *metrics.HISTOGRAMS}
    own = {file: _executed(file) for file in dict.fromkeys((args.metrics, args.embedding)) if file is not None}
    for table, dimensions in ((metrics.METRICS, 0), (metrics.HISTOGRAMS, None)):
        for name in table.keys() - known_before:
            guarded = _guarded(args.metrics or args.embedding, f"metric {name}", table[name].function, dimensions)
            table[name] = dataclasses.replace(table[name], function=guarded)
    embed = None if args.embedding is None else own[args.embedding].get("embed")
    if args.embedding is not None and not callable(embed):
        raise BadInput(f"{args.embedding}: has no function embed; embed(score) must give the vector of a piece")
    if embed is not None:
        embed = _guarded(args.embedding, "embed", embed, 1)

    generated = _files(args.files, args.length, "pieces")
    if _few(generated, "the pieces", args.length):  # reading a reference can take long
        return BadInput.exit_status
    methods: dict[str, str] = {}
    known = _named(args.reference, "test", methods)
    reference = _measured(known, args.length, "reference")
    if _few(reference, args.reference, args.length):
        return BadInput.exit_status
    # A folder that is the reference is searched itself, and what was measured comes first.
    alone = args.training is None and os.path.lexists(args.reference) and args.reference not in corpora.CORPORA
    if alone:
        number = {name: place for place, name in enumerate(reference.files)}
        training = sorted(known, key=lambda piece: number.get(piece[0], len(number)))
    else:
        training = _named(args.training or args.reference, "train", {})
    searched: list[str] = []
    with bar(len(training), "piece", what="looking for copies") as shown:
        both = copied_in_both(
            [*reference.grids, *generated.grids],
            _whole(training, searched, reference.failed if alone else (), shown.advance),
            excerpts=len(reference.grids) if alone else 0,
        )
    at = len(reference.grids)
    copies = {what: (all_[at:], all_[:at]) for what, all_ in zip(("melody", "texture"), both, strict=True)}
    vectors = None
    if embed is not None:
        vectors = tuple(embedded((grid.score for grid in of.grids), embed) for of in (generated, reference))
    values = [{**of.values, **of.histograms} for of in (generated, reference)]
    with bar(len(values[0]), "metric") as shown:
        found = compare_sets(
            *values,
            draws=args.draws,
            seed=args.seed or 0,
            embeddings=vectors,  # type: ignore[arg-type]
            copies=copies,
            training=searched,
            progress=shown.advance,
        )
    notes = _notes(args, found, alone, generated.files)
    if moved := sum(method != "as written" for method in methods.values()):
        notes.append(
            f"{moved:,} of {len(known):,} reference files were brought onto a beat that was found in their notes, as "
            "muspike data build does"
        )
    data = {
        "length": args.length,
        "reference": args.reference,
        "units": {name: metric.unit for name, metric in (metrics.METRICS | metrics.HISTOGRAMS).items()},
        **found.to_dict(),
        "pieces_measured": generated.to_dict(),
        "failed_of_reference": [{"file": file, "error": error} for file, error in reference.failed.items()],
    }
    title = f"{len(generated.files)} pieces beside {args.reference}"
    pictures = _pictures(generated, reference) if form == HTML or folder is not None else {}
    if folder is not None:
        for group, picture in pictures.items():
            with write_whole(folder / f"{group}.svg") as temporary:
                temporary.write_bytes(picture.svg)
    if form == HTML:
        from muspike.bench.evaluation_page import page

        text = page(title, found, pictures, notes)
        if args.output is None:
            say(text)
        else:
            with write_whole(args.output) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
            say(f"{args.output}: {title}")
    else:
        put(args, title, list(found.tables()), notes, data)
    return 0


def _notes(args: argparse.Namespace, found: Comparison, alone: bool, files: Sequence[str]) -> list[str]:
    generated, reference, training = found.sizes
    told = [
        f"{generated} pieces, {reference} of the reference, the first {args.length} words of each; drums and the last "
        "cadence are of the whole piece",
        "an interval in brackets is at 95 %, over pieces drawn with replacement",
        "overlapping area: 1 where your pieces are as far from the reference as its pieces are from each other; KL: "
        "their divergence, 0 where they are alike; floor: the same of random halves of the reference, so a value at "
        "its floor is as good as that of real pieces",
    ]
    if reference < _LEAST_FOR_FLOOR:
        told.append(
            f"there are no floors, because a half of {reference} pieces is too small; {_LEAST_FOR_FLOOR} pieces of a "
            "reference are wanted, and many more say more"
        )
    if "all metrics" in found.frechet:
        told.append(
            f"the Frechet distance of all metrics is that of {len(found.in_frechet)} numbers per piece, in standard "
            "deviations of the reference: those that all pieces have and in which the reference varies"
        )
    if alone:
        told.append(
            f"copies are looked for in the {training:,} whole reference pieces, of a reference piece in the other "
            "ones; --training names the pieces that a model was trained on"
        )
    else:
        told.append(f"copies are looked for in {training:,} whole training pieces")
    for what, (copies, _) in found.copies.items():
        longest = max(range(len(copies)), key=lambda number: copies[number].notes)
        if copies[longest].notes:
            told.append(
                f"longest match, {what}: {copies[longest].notes} notes of {files[longest]}, from sixteenth "
                f"{copies[longest].start} on, stand in {found.training[copies[longest].of]}"
            )
    return told


def _pictures(generated: MeasuredFiles, reference: MeasuredFiles) -> dict[str, Any]:
    """A picture for each group of metrics, by the group's name, of the metrics that a piece of either set has."""
    import numpy as np

    from muspike import metrics
    from muspike.bench.pictures import metric_distributions

    groups: dict[str, dict[str, Any]] = {}
    for name, metric in metrics.METRICS.items():
        pair = {"generated": generated.values[name], "reference": reference.values[name]}
        if any(np.isfinite(values).any() for values in pair.values()):
            groups.setdefault(metric.group, {})[name] = pair
    return {group: metric_distributions(samples) for group, samples in groups.items()}


def _named(name: str, split: str, methods: dict[str, str]) -> list[tuple[str, Open]]:
    """The pieces of a corpus's split, or of a folder, by name. Files are brought onto their beat, as in a corpus.

    Args:
        name: a corpus, the name of a built corpus, or a folder.
        split: of a corpus.
        methods: gets how the beat of each file was found, when it is opened.
    """
    from muspike import corpora, tokens
    from muspike.corpora.folder import midi_files, read_midi
    from muspike.metrics.files import pitched

    if name in corpora.CORPORA or not os.path.lexists(name):
        corpus = corpora.load(name)
        words = corpus.words(split)

        def decoded(piece: int, remarks: list[str]) -> Score:
            return tokens.decode(words[piece])

        named = enumerate(corpus.splits[split])
        return [(f"{name}/{piece}", functools.partial(decoded, number)) for number, piece in named]

    def opened(file: Path, remarks: list[str]) -> Score:
        taken = read_midi(file)
        methods[str(file)] = taken.method
        remarks += taken.score.remarks
        return pitched(taken.score, file)

    files = sorted(midi_files(Path(name))) if Path(name).is_dir() else [Path(name)]
    if not files:
        raise BadInput(f"{name}: holds no MIDI files")
    return [(str(file), functools.partial(opened, file)) for file in files]


def _measured(pieces: Sequence[tuple[str, Open]], length: int, what: str) -> MeasuredFiles:
    from muspike.metrics.files import measure_pieces

    return _shown(len(pieces), what, lambda advance: measure_pieces(pieces, length, progress=advance), each=False)


def _whole(
    pieces: Iterable[tuple[str, Open]], read: list[str], failed: Container[str], advance: Callable[[], object]
) -> Iterator[Grid]:
    """Pieces from beginning to end. Their names go into `read`. One that cannot be read is said, unless it `failed`
    before.
    """
    from muspike import metrics

    for name, opened in pieces:
        try:
            grid = metrics.on_grid(opened([]))
        except BadInput as error:
            if name not in failed:
                note(str(error))
        else:
            read.append(name)
            yield grid
        advance()


def _files(paths: Sequence[Path], length: int, what: str) -> MeasuredFiles:
    from muspike.metrics.files import measure, midi_files

    files = midi_files(paths)
    return _shown(len(files), what, lambda advance: measure(files, length, histograms=True, progress=advance))


def _shown(
    size: int, what: str, measured: Callable[[Callable[[], object]], MeasuredFiles], each: bool = True
) -> MeasuredFiles:
    """What was measured. What could not be is said on stderr; and with `each`, what reading changed."""
    from muspike.progress import bar

    with bar(size, "piece", what=what) as shown:
        found = measured(shown.advance)
    for file, remarks in zip(found.files, found.remarks, strict=True):
        if remarks and each:
            note(f"{file}: {'; '.join(remarks)}")
    for error in found.failed.values():
        note(error)
    if found.failed:
        note(f"{len(found.failed):,} of {size:,} pieces could not be measured ({what})")
    return found


def _few(of: MeasuredFiles, what: str, length: int) -> int:
    """1 if a set is too small to be compared, which is said."""
    if len(of.files) >= _LEAST:
        return 0
    note(
        f"{what}: {len(of.files)} could be measured in excerpts of {length} words; {_LEAST} are wanted: longer pieces, "
        "or a smaller --length"
    )
    return 1


def _executed(file: Path) -> dict[str, Any]:
    """What a Python file of the user's defines."""
    check_file(file)
    try:
        return runpy.run_path(str(file), run_name=file.stem)  # the name is the group of its metrics
    except (Exception, SystemExit) as error:
        raise BadInput(f"{file}: {type(error).__name__}: {one_line(error)}") from error


def _guarded(file: Path, what: str, function: Callable[..., Any], dimensions: int | None) -> Callable[..., Any]:
    """A function of the user's. If it fails, or gives no array of numbers of so many dimensions, that is said of it."""

    import numpy as np

    @functools.wraps(function)
    def called(music: Any) -> Any:
        try:
            found = np.asarray(function(music), np.float64)
        except MuspikeError:
            raise
        except Exception as error:
            raise BadInput(f"{file}: {what}: {type(error).__name__}: {one_line(error)}") from error
        if dimensions is not None and found.ndim != dimensions:
            wanted = "a number" if dimensions == 0 else "a vector of numbers"
            raise BadInput(f"{file}: {what}: gives an array of shape {found.shape}; {wanted} is wanted")
        return found if found.ndim else float(found)

    return called
