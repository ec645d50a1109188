"""`study`: listening studies, from the plan to the report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muspike.cli.formats import HTML, add_format, form_of, put
from muspike.cli.options import Commands, add_json, add_seed, folder, named, number, path, refuse_unused, whole
from muspike.cli.output import note, say, say_json, waiting
from muspike.errors import BadInput
from muspike.files import owned_folder, write_whole
from muspike.ranges import BARS, LENGTH, above_0, from_to

if TYPE_CHECKING:
    from muspike.bench.study.answers import Answers
    from muspike.bench.study.new import Settings
    from muspike.bench.study.power import Analysis
    from muspike.bench.study.questionnaire import Questionnaire
    from muspike.bench.study.study import Study

_MOST_TOLD = 5  # pieces, or files, that are named on stderr
_TABLES_FOLDER = "folder for listeners.csv, ratings.csv and turing.csv"


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group(
        "study",
        "Listening studies: people rate pieces, and say which a human composed.",
        "muspike study serve my-study",
    )
    _add_new(group)
    _add_power(group)
    _add_serve(group)
    _add_export(group)
    _add_report(group)
    _add_simulate(group)


def demand_extra() -> None:
    """Refuse to go on without the packages of the extra `study`.

    Raises:
        BadInput: one is missing.
    """
    from muspike.bench.study.extra import missing

    if why := missing():
        raise BadInput(f"listening studies: {why}")


def _add_study(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("folder", metavar="DIR", type=path, help="the folder of the study, from muspike study new")


def _study(folder: Path) -> tuple[Study, Questionnaire]:
    """A planned study, and what it asks."""
    from muspike.bench.study import questionnaire, study

    return study.read(folder), questionnaire.load(folder / study.QUESTIONNAIRE)


# --- new -------------------------------------------------------------------------------------------------------------


def _add_new(group: Commands) -> None:
    new = group.add(
        "new",
        _new,
        "Make a study: excerpts of equal length and loudness, balanced orders, sounds that check headphones, how many "
        "listeners it needs, and the plan of its analysis.",
        "muspike study new my-study --pieces human=jsb,s-rnn=pieces",
    )
    new.add_argument("folder", metavar="DIR", type=path, help="the folder of the study, new or empty")
    new.add_argument(
        "--pieces",
        type=named,
        required=True,
        metavar="NAME=FOLDER,...",
        help="the sources: a name, and a folder of MIDI files or the test split of a corpus, such as human=jsb",
    )
    new.add_argument(
        "--human",
        type=named,
        metavar="NAME",
        help="the source that humans composed (default: the one named human, or else the first)",
    )
    long = new.add_mutually_exclusive_group()
    long.add_argument("--words", type=whole(LENGTH), help="compound words of an excerpt (default: 128)")
    long.add_argument("--bars", type=whole(BARS), help="bars of an excerpt, instead of words")
    new.add_argument(
        "--from",
        dest="begin",
        choices=("start", "anywhere"),
        default="start",
        help="where excerpts begin: with the piece, or at a bar that is drawn (default: start)",
    )
    _add_numbers(new)
    new.add_argument(
        "--attention", type=whole(from_to(0, 20)), help="attention checks of a listener (default: 2, if there is room)"
    )
    new.add_argument(
        "--repeats",
        type=whole(from_to(0, 20)),
        default=0,
        help="excerpts that a listener rates twice, for the reliability of test and retest (default: 0)",
    )
    new.add_argument(
        "--breaks", type=whole(from_to(0, 1000)), default=8, help="pages between breaks; 0: none (default: 8)"
    )
    new.add_argument("--why", action="store_true", help="ask for the reason of the answer to the Turing question")
    new.add_argument("--no-headphones", action="store_true", help="leave out the check of headphones")
    new.add_argument(
        "--questionnaire",
        type=named,
        default="muspike",
        metavar="FILE.toml",
        help="another questionnaire; its translations FILE.LANGUAGE.toml lie beside it",
    )
    new.add_argument(
        "--languages", type=named, metavar="LANGUAGE,...", help="languages, the default first (default: all there are)"
    )
    new.add_argument(
        "--title", type=_title, help="title for listeners, in all languages (default: that of the questionnaire)"
    )
    _add_listeners(new, "listeners wanted in each group, such as expert=26 (default: by the power analysis)")
    add_seed(new, "of all that is drawn (default: 0)")
    add_json(new, "what was made")


def _add_numbers(sub: argparse.ArgumentParser) -> None:
    """The numbers that decide the power of a study."""
    count = whole(from_to(1, 64))
    sub.add_argument(
        "--excerpts",
        type=count,
        help="excerpts of each source that are rated (default: 8, or as many as all sources have)",
    )
    sub.add_argument(
        "--per-listener",
        type=count,
        metavar="NUMBER",
        help="how many of each source a listener rates (default: 16 in all, or all there are)",
    )
    sub.add_argument(
        "--turing",
        choices=("single", "pairs", "both", "none"),
        default="single",
        help="the Turing test: of single pieces, of pairs of alike pieces, both, or none (default: single)",
    )
    sub.add_argument("--pairs", type=count, help="pairs of each source, which every listener hears (default: 4)")
    sub.add_argument(
        "--effect",
        type=number(above_0()),
        default=0.5,
        help="the difference of two sources to find, in standard deviations of a rating (default: 0.5)",
    )
    sub.add_argument(
        "--accuracy",
        type=number(from_to(0.501, 0.999)),
        help="the share of right answers in the Turing test to tell from chance (default: 0.65)",
    )
    sub.add_argument("--alpha", type=number(from_to(1e-6, 0.5)), default=0.05, help="of false findings (default: 0.05)")
    sub.add_argument(
        "--power", type=number(from_to(0.5, 0.999)), default=0.8, help="probability to find it (default: 0.8)"
    )


def _add_listeners(sub: argparse.ArgumentParser, help: str) -> None:
    sub.add_argument("--listeners", type=_counts, metavar="GROUP=NUMBER,...", help=help)


def _title(text: str) -> str:
    if not text.strip() or not text.isprintable():  # also what is not UTF-8
        raise argparse.ArgumentTypeError(f"{text!r} must be one line of text")
    return text


def _counts(text: str) -> dict[str, int]:
    found = {}
    for part in text.split(","):
        group, _, count = part.partition("=")
        if not group.strip() or group.strip() in found:
            raise argparse.ArgumentTypeError(f"{text!r} must be GROUP=NUMBER with commas between them, each group once")
        found[group.strip()] = whole(from_to(1, 10_000))(count.strip())
    return found


def _settings(args: argparse.Namespace, **more: Any) -> Settings:
    from muspike.bench.study.new import Settings

    if args.turing not in ("pairs", "both"):
        refuse_unused(args, f"with --turing {args.turing}", "pairs")
    if args.turing == "none":
        refuse_unused(args, "with --turing none", "accuracy")
    maybe = ("excerpts", "pairs", "accuracy")
    given = {name: getattr(args, name) for name in maybe if getattr(args, name) is not None}
    given |= {name: getattr(args, name) for name in ("turing", "effect", "alpha", "power")}
    return Settings(per_source=args.per_listener, or_fewer=args.excerpts is None, **given, **more)


def _new(args: argparse.Namespace) -> int:
    demand_extra()
    with waiting("loading the study"):
        from muspike.bench.study.excerpts import Length, named_sources
        from muspike.bench.study.new import new_study
        from muspike.tables import several

    if args.turing == "none":
        refuse_unused(args, "with --turing none", "why")
    more = {name: getattr(args, name) for name in ("attention", "repeats", "breaks", "seed")}
    settings = _settings(args, **more, screening=not args.no_headphones, ask_why=args.why)
    made = new_study(
        args.folder,
        named_sources(args.pieces),
        settings,
        human=args.human,
        length=Length(None, args.bars) if args.bars is not None else Length(args.words or 128),
        begin=args.begin,
        asked=args.questionnaire,
        languages=None if args.languages is None else [part.strip() for part in args.languages.split(",")],
        title=args.title,
        listeners=args.listeners,
    )
    for why in made.left_out[:_MOST_TOLD]:
        note(f"left out: {why}")
    if (others := len(made.left_out) - _MOST_TOLD) > 0:
        note(f"left out: {several(others, 'other piece')}")
    study = made.study
    if made.settings.excerpts < settings.excerpts:
        note(f"{made.settings.excerpts} excerpts of each source instead of {settings.excerpts}: a source has no more")
    if args.json:
        say_json(
            {
                "folder": str(args.folder),
                "title": study.title,
                "sources": {source: sum(one.source == source for one in study.stimuli) for source in study.sources},
                "human": study.human,
                "sequences": len(study.lists),
                "trials": len(study.lists[0]),
                "languages": list(study.languages),
                "listeners": study.targets,
                "loudness_lufs": made.loudness_lufs,
                "plan_sha256": made.plan_sha256,
                "power": made.power.to_dict(),
                "left_out": made.left_out,
            }
        )
        return 0
    _say_power(made.power)
    seconds = [one.seconds for one in study.stimuli]
    rated, pages = made.settings.rated(len(study.sources)), several(len(study.lists[0]), "page")
    excerpts = several(len(seconds), "excerpt")
    say(f"sources: {', '.join(study.sources)}; {excerpts} of {min(seconds):.0f} to {max(seconds):.0f} s")
    say(f"a listener: {rated} of each source rated, {pages} in all; {several(len(study.lists), 'order')}")
    say(f"wanted: {', '.join(f'{number:,} {group}' for group, number in study.targets.items())}")
    say(f"the plan: {args.folder / 'plan.md'}; to register it, plan.json has the SHA-256 {made.plan_sha256}")
    say(f"next: muspike study serve {args.folder}")
    return 0


# --- power -----------------------------------------------------------------------------------------------------------


def _add_power(group: Commands) -> None:
    power = group.add(
        "power",
        _power,
        "How many listeners a study needs in each group, and what 26, 50, 76 and 100 of them can find.",
        "muspike study power --sources 6 --excerpts 16 --effect 0.4",
    )
    power.add_argument(
        "--sources", type=whole(from_to(2, 64)), default=2, help="sources, the human one included (default: 2)"
    )
    _add_numbers(power)
    add_json(power, "the analysis")


def _power(args: argparse.Namespace) -> int:
    demand_extra()
    with waiting("loading the statistics"):
        settings = _settings(args)
    found = settings.power_analysis(args.sources)
    if args.json:
        say_json(found.to_dict())
    else:
        _say_power(found)
    return 0


def _say_power(found: Analysis) -> None:
    from muspike.tables import written

    say("\n\n".join(written([table], "table") for table in found.tables()) + "\n")
    for sentence in found.sentences():
        note(sentence)


# --- serve -----------------------------------------------------------------------------------------------------------


def _add_serve(group: Commands) -> None:
    serve = group.add(
        "serve",
        _serve,
        "Ask the listeners: a web application, which stores every answer before the next page. Ctrl-C ends it.",
        "muspike study serve my-study",
    )
    _add_study(serve)
    serve.add_argument("--host", type=named, default="127.0.0.1", help="the address to listen at (default: 127.0.0.1)")
    serve.add_argument("--port", type=whole(from_to(0, 65535)), default=8000, help="the port (default: 8000; 0: any)")
    _add_database(serve)
    serve.add_argument(
        "--admin-password-file",
        type=path,
        metavar="FILE",
        help="its first line is the password of the admin's page; so is the environment variable "
        "MUSPIKE_STUDY_ADMIN_PASSWORD (default: the one that the study has; the first start makes one and prints it)",
    )


def _add_database(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--database",
        type=named,
        metavar="URL",
        help="the database of the answers, such as postgresql://USER:PASSWORD@HOST/NAME (default: DIR/study.db)",
    )


def _serve(args: argparse.Namespace) -> int:
    demand_extra()
    with waiting("opening the study"):
        from muspike.bench.study.database import url_of
        from muspike.bench.study.plan import changed_files
        from muspike.bench.study.serving import read_password, serve
        from muspike.tables import several

    password = read_password(args.admin_password_file)
    changed = changed_files(args.folder)

    def started(address: str, made: str | None) -> None:
        say(f"the study is open at {address}")
        say(f"its admin logs in at {address}admin")
        if made is not None:
            say(f"the admin's password is {made}")
            note("it is not shown again; --admin-password-file sets another one")
        for sentence in changed[:_MOST_TOLD]:
            note(f"since the plan, {sentence}")
        if (others := len(changed) - _MOST_TOLD) > 0:
            note(f"since the plan, {several(others, 'other file')} changed")

    try:
        serve(args.folder, url_of(args.folder, args.database), args.host, args.port, password, started)
    except KeyboardInterrupt:
        note("stopped; all answers that were sent are stored")
    return 0


# --- export ----------------------------------------------------------------------------------------------------------


def _add_export(group: Commands) -> None:
    export = group.add(
        "export",
        _export,
        "Write the answers of a study as tables, also while it is served.",
        "muspike study export my-study -o answers",
    )
    _add_study(export)
    folder(export, _TABLES_FOLDER)
    _add_database(export)
    add_json(export, "how many rows each table has")


def _export(args: argparse.Namespace) -> int:
    demand_extra()
    with waiting("reading the answers"):
        from muspike.bench.study import database

        planned, asked = _study(args.folder)
        found = database.answers(database.url_of(args.folder, args.database), planned, asked)
    _write_answers(args, found)
    return 0


def _write_answers(args: argparse.Namespace, found: Answers, told: str = "", **more: str) -> None:
    """Write the tables of answers, and say how many rows each has. `told` is for people, `more` for programs."""
    from muspike.bench.study import answers
    from muspike.tables import several

    with owned_folder(args.output):
        answers.write(args.output, found)
    rows = {name: len(getattr(found, name)) for name in ("listeners", "ratings", "turing")}
    if args.json:
        say_json({"folder": str(args.output), **more, "rows": rows})
    else:
        what = zip(rows.values(), ("listener", "rating", "Turing answer"), strict=True)
        say(f"{args.output}: {', '.join(several(*one) for one in what)}{told}")


# --- report ----------------------------------------------------------------------------------------------------------


def _add_report(group: Commands) -> None:
    report = group.add(
        "report",
        _report,
        "Analyse the answers as the plan says: ratings with intervals, mixed models, the Turing test, polarisation, "
        "reliability, and whether objective metrics say what listeners say; and what differs from the plan. What "
        "cannot be computed is said with its reason.",
        "muspike study report my-study -o report.html",
    )
    _add_study(report)
    report.add_argument(
        "--answers",
        type=path,
        metavar="FOLDER",
        help="take the answers from listeners.csv, ratings.csv and turing.csv there, not from the database",
    )
    _add_database(report)
    report.add_argument("--pictures", type=path, metavar="FOLDER", help="write the pictures there (SVG)")
    add_format(report, "the report")


def _report(args: argparse.Namespace) -> int:
    demand_extra()
    form = form_of(args)
    if args.answers is not None:
        refuse_unused(args, "with --answers", "database")
    if args.pictures is None:
        return _reported(args, form)
    with owned_folder(args.pictures):
        return _reported(args, form)


def _reported(args: argparse.Namespace, form: str) -> int:
    with waiting("loading the answers"):
        from muspike.bench.study import analysis, answers, database, plan, report
        from muspike.bench.study.analysis_plan import followed, load, of_items, of_study
        from muspike.progress import bar

        planned, asked = _study(args.folder)
        file = args.folder / plan.PLAN
        choices = of_study(plan.read(args.folder)["analysis"], f"{file}: analysis") if file.exists() else load()
        choices = of_items(choices, [item.id for item in asked.items])
        what = analysis.Form(planned, asked, choices)
        if args.answers is not None:
            found = answers.read(args.answers)
        else:
            found = database.answers(database.url_of(args.folder, args.database), planned, asked)
        analysis.check(what, found, str(args.answers or "the database"))
    metrics = _metrics(args, planned)
    with bar(analysis.steps(what), "part", what="analysis") as shown:
        result = analysis.analyse(what, found, metrics, shown.advance)
    used = {name: of["used"] for name, of in result["listeners"].items()}
    differences = plan.differences(args.folder, plan.Facts(used, choices["exclusions"], followed(choices, planned)))
    result["plan_sha256"] = plan.sha256(args.folder)
    pictures = _pictures(args, form, result)
    title = f"{planned.title}: report"
    if form != HTML:
        tables, told = report.tables(result, differences), report.sentences(result, differences)
        put(args, title, tables, told, result | {"differences_from_the_plan": differences})
        return 0
    from muspike.bench.study.report_page import page

    source = str(args.answers or "the database of the study")
    made = {"folder": str(args.folder), "answers": source, "seed": choices["seed"]}
    made["plan.json, SHA-256"] = result["plan_sha256"] or "there is no plan"
    text = page(result, differences, pictures, made)
    if args.output is None:
        say(text)
    else:
        with write_whole(args.output) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        say(f"{args.output}: {title}")
    return 0


def _metrics(args: argparse.Namespace, planned: Study) -> Any:
    """The objective metrics of the study's pieces, a row for each."""
    import pandas as pd

    from muspike.bench.study.study import PIECES
    from muspike.metrics.files import measure
    from muspike.progress import bar

    files = [args.folder / PIECES / f"{stimulus.id}.mid" for stimulus in planned.stimuli]
    with bar(len(files), "piece", what="metrics") as shown:
        found = measure(files, progress=shown.advance)
    for error in found.failed.values():
        note(error)
    return pd.DataFrame(found.values, index=[Path(file).stem for file in found.files])


def _pictures(args: argparse.Namespace, form: str, result: Any) -> Any:
    if form != HTML and args.pictures is None:
        return {}
    from muspike.bench.study.report_pictures import pictures

    made = pictures(result)
    if args.pictures is not None:
        for name, picture in made.items():
            with write_whole(args.pictures / f"{name}.svg") as temporary:
                temporary.write_bytes(picture.svg)
    return made


# --- simulate --------------------------------------------------------------------------------------------------------


def _add_simulate(group: Commands) -> None:
    simulate = group.add(
        "simulate",
        _simulate,
        "Make up the answers of listeners whose effects are known, to see what the report would say of them, before "
        "anybody listens.",
        "muspike study simulate my-study --scenario moderate --listeners expert=26,amateur=25,normal=25 -o answers",
    )
    _add_study(simulate)
    simulate.add_argument(
        "--scenario",
        type=named,
        default="moderate",
        help="what the listeners do: none, moderate, metric, muspike-paper, or a .toml file (default: moderate)",
    )
    _add_listeners(simulate, "how many listeners of each group (default: those that the study is planned for)")
    add_seed(simulate, "the same seed makes the same listeners")
    folder(simulate, _TABLES_FOLDER)
    add_json(simulate, "the scenario and how many rows each table has")


def _simulate(args: argparse.Namespace) -> int:
    demand_extra()
    with waiting("making up listeners"):
        from muspike.bench.study import effects, simulate

        planned, asked = _study(args.folder)
        scenario = effects.load(args.scenario)
    metrics = _metrics(args, planned) if scenario.metrics else None
    with waiting("making up listeners"):
        found = simulate.listeners(planned, asked, scenario, args.listeners or planned.targets, args.seed, metrics)
    _write_answers(args, found, f"; {scenario.about}", scenario=scenario.id, about=scenario.about)
    if not args.json:
        say(f"next: muspike study report {args.folder} --answers {args.output} -o report.html")
    return 0
