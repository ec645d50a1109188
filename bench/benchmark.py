"""The benchmark of MuSpike: architectures x corpora x metrics, with the paper's known values beside ours.

Every network composes as it would be deployed: on the chip that `bench.suite` composes on. What it composed, and the
test split of its corpus, are measured on excerpts of `EXCERPT` words, because most metrics grow with the length.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from muspike import __version__, corpora, metrics, tokens
from muspike.architectures import ARCHITECTURES
from muspike.bench.paper import DATA, PaperValues, paper_values
from muspike.bench.parts import part_path
from muspike.bench.shipped.recipes import read_recipes
from muspike.bench.suite import PREFERRED_CHIP, every_metric, moments
from muspike.bench.workload import EXCERPT, excerpts_of
from muspike.checkpoint import Model, load_model
from muspike.corpora import CORPORA, Corpus
from muspike.errors import BadInput, one_line
from muspike.export.loihi import ChipRunner, compile_model
from muspike.files import check_file, owned_folder, write_whole
from muspike.generation import Sampling, generate
from muspike.hardware.chip import known_chips
from muspike.hardware.running.page import environment
from muspike.host import Runner
from muspike.jobs import results as results_of
from muspike.metrics.distance import distance
from muspike.model_folder import digest, find_folder, read_header, shipped_models
from muspike.network import Network
from muspike.tables import Table, several, written
from muspike.tokens import Words

TITLE = "spiking networks on the corpora of MuSpike"
NOT_KNOWN, NO_MODEL, NO_CORPUS, UNDEFINED = "not known", "no model", "no corpus", "–"
FILES = ("benchmark.html", "benchmark.md", "benchmark.json")
SPIKING = tuple(name for name, architecture in ARCHITECTURES.items() if architecture.spikes)
"""The architectures of the benchmark, in the order of the columns."""


@dataclass(frozen=True)
class Job:
    """One model whose music is measured. A job can be sent to another machine that has the same muspike.

    Attributes:
        model: the name or the folder of the model.
        name: what the tables call it.
        corpus: the name of its corpus.
        place: what `corpora.load` finds the corpus by.
        edition: the digest of the corpus.
        seeds: of composing.
        pieces: how many are composed with each seed.
    """

    model: str
    name: str
    corpus: str
    place: str
    edition: str
    seeds: tuple[int, ...]
    pieces: int

    @property
    def title(self) -> str:
        """The model and its corpus."""
        return f"{self.name}, {self.corpus}"

    def depends_on(self) -> dict[str, Any]:
        """Everything that the figures depend on, JSON-able."""
        return {
            "muspike": __version__,
            "words": tokens.VERSION,
            "model": digest(read_header(find_folder(self.model))),
            "corpus": self.edition,
            "seeds": list(self.seeds),
            "pieces": self.pieces,
            "excerpt": EXCERPT,
        }


@dataclass(frozen=True)
class Chosen:
    """A model of the benchmark.

    Attributes:
        model: its name, or its folder.
        architecture: its architecture.
        corpus: the name of the corpus that it was trained on.
    """

    model: str
    architecture: str
    corpus: str

    @classmethod
    def of(cls, model: str) -> Chosen:
        """The model in a folder, or the shipped model of this name.

        Raises:
            BadInput: there is no such model, or it cannot be read.
        """
        header = read_header(find_folder(model))
        return cls(model, str(header["architecture"]), str(header["training"]["corpus"]))


def models_in(folder: Path) -> list[Chosen]:
    """The models of a folder: those in its subfolders, each a model's folder or that of a training run.

    Raises:
        BadInput: there is none, or one cannot be read.
    """
    if not folder.is_dir():
        raise BadInput(f"--models {folder}: is no folder; the folder that holds model folders is wanted")
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    found = [
        Chosen.of(str(place))
        for place in places
        if (place / "model.json").is_file() or (place / "model" / "model.json").is_file()
    ]
    if not found:
        raise BadInput(
            f"--models {folder}: holds no model folder (one with model.json, or a run with model/model.json)"
        )
    return found


def choose(names: Sequence[str], folder: Path | None, wanted: Sequence[str]) -> list[Chosen]:
    """The models of the benchmark.

    Args:
        names: names or folders of models; empty: all shipped models.
        folder: a folder that holds model folders, added to these. Where it has a model of an architecture and a corpus,
            the shipped one is left out.
        wanted: the names of the corpora. Other models of shipped and `folder` are left out.

    Raises:
        BadInput: there is no such model or folder, or one of `names` was trained on another corpus.
    """
    named = [Chosen.of(name) for name in names]
    for model in named:
        if model.corpus not in wanted:
            raise BadInput(
                f"{model.model}: was trained on {model.corpus}, which is not among the corpora {', '.join(wanted)}"
            )
    found = [*named, *([] if folder is None else models_in(folder))]
    taken = {(model.architecture, model.corpus) for model in found}
    if not names:
        shipped = [Chosen.of(name) for name in shipped_models()]
        found += [model for model in shipped if (model.architecture, model.corpus) not in taken]
    return [model for model in found if model.corpus in wanted]


def benchmark(
    data: Sequence[str],
    folder: Path,
    *,
    names: Sequence[str] = (),
    models: Path | None = None,
    chosen_only: Sequence[str] | None = None,
    quick: bool = False,
    seeds: Sequence[int] = (0,),
    resume: bool = False,
    cluster: str | None = None,
    values: PaperValues | None = None,
) -> dict[str, Any]:
    """Measure the music of every model on its corpus, and write the tables into a folder as `FILES`.

    No second command may use the folder meanwhile. What is measured of a model is kept in `folder/parts`.

    Args:
        data: the corpora, as `corpora.load` takes them. One of `CORPORA` that cannot be had costs its own rows alone.
        folder: where the tables are written.
        names, models: as `choose` takes them.
        chosen_only: only these of the architectures, or of the models by name; None: all.
        quick: 16 composed pieces for each seed instead of 64.
        seeds: seeds of composing. The figures are of the pieces of all seeds together.
        resume: whether to take what was measured before of the same model with the same settings.
        cluster: the address of a Ray cluster that measures the models side by side; None: this process measures.
        values: the paper's; None: those of `paper_values.toml`.

    Returns:
        The content of `benchmark.json`. `settings`. `metrics`: their units. `corpora`, by name: a `reason` if it could
        not be had; else `title`, `excerpts`, `data` by metric, and `models` by name, with `architecture`, `model`,
        `composed_by`, `pieces`, `steps` and `metrics`. `missing`, by corpus and architecture: what would train it.
        `paper`: a row for each published value.

    Raises:
        BadInput: there is no such corpus or model, a seed or corpus is named twice, or no corpus can be had.
        Failed: the disk refuses.
    """
    for what, given in (("seeds", seeds), ("corpora", data)):
        if not given or len(set(given)) < len(given):
            raise BadInput(f"bench: {what} are {', '.join(map(str, given)) or 'none'}; expected each once")
    published = paper_values() if values is None else values
    pieces = 16 if quick else 64
    with owned_folder(folder):
        here, reasons = _opened(data)
        chosen = only(choose(names, models, [*here, *reasons]), chosen_only)
        if not here:
            raise BadInput("; ".join(reasons.values()))
        jobs = [
            Job(model.model, label, corpus, here[corpus].place, here[corpus].corpus.digest, tuple(seeds), pieces)
            for corpus in here
            for label, model in _labelled(chosen, corpus).items()
        ]
        measured = _measured(jobs, folder, resume, cluster)
        results: dict[str, Any] = {
            "muspike": __version__,
            "settings": {
                "seeds": list(seeds),
                "composed_pieces": pieces * len(seeds),
                "excerpt_words": EXCERPT,
                "sampling": asdict(Sampling()),
            },
            # Of excerpts that are cut, the end says nothing; and no network here composes drums.
            "metrics": {name: metric.unit for name, metric in metrics.METRICS.items() if not metric.whole},
            "corpora": {
                name: {
                    "title": _title(name),
                    "excerpts": of.excerpts.shape[1],
                    "data": _moments(list(of.excerpts.swapaxes(0, 1))),
                    "models": {job.name: part for job, part in zip(jobs, measured, strict=True) if job.corpus == name},
                }
                for name, of in here.items()
            }
            | {name: {"title": _title(name), "reason": reason} for name, reason in reasons.items()},
            "missing": {},
            "paper": [
                {"corpus": corpus, "network": network, "metric": metric, **of.to_dict()}
                for (corpus, network, metric), of in published.items()
                if corpus in here or corpus in reasons
            ],
        }
        if not names and chosen_only is None:
            for name in here:
                there = {model["architecture"] for model in results["corpora"][name]["models"].values()}
                results["missing"][name] = {a: remedy(a, name) for a in SPIKING if a not in there}
        _write(results, folder)
    return results


@dataclass(frozen=True, eq=False)
class _Here:
    """A corpus that can be had: what `corpora.load` finds it by, the corpus, its excerpts `[EXCERPT, pieces, 7]`."""

    place: str
    corpus: Corpus
    excerpts: Words


def _opened(data: Sequence[str]) -> tuple[dict[str, _Here], dict[str, str]]:
    """The corpora by name, and the reasons of those that cannot be had."""
    here: dict[str, _Here] = {}
    reasons: dict[str, str] = {}
    for place in data:
        try:
            corpus = corpora.load(place)
            here[corpus.name if place not in CORPORA else place] = _Here(place, corpus, excerpts_of(corpus, "test"))
        except BadInput as error:
            if place not in CORPORA:
                raise
            reasons[place] = str(error)
    return here, reasons


def only(chosen: Sequence[Chosen], names: Sequence[str] | None) -> list[Chosen]:
    """Those of the models whose architecture or name is among `names`; None: all.

    Raises:
        BadInput: one of `names` is none of the models.
    """
    if names is None:
        return list(chosen)
    known = dict.fromkeys(name for model in chosen for name in (model.architecture, model.model))
    if strangers := [name for name in names if name not in known]:
        raise BadInput(f"--only {strangers[0]}: is none of the models: {', '.join(known) or 'there are none'}")
    return [model for model in chosen if model.architecture in names or model.model in names]


def _labelled(chosen: Sequence[Chosen], corpus: str) -> dict[str, Chosen]:
    """The models of a corpus by what the tables call them: the first of an architecture by its name."""
    found: dict[str, Chosen] = {}
    for model in chosen:
        if model.corpus == corpus:
            found[model.architecture if model.architecture not in found else model.model] = model
    return found


def _title(name: str) -> str:
    return corpora.source_of(name).title if name in CORPORA else name


def remedy(architecture: str, corpus: str) -> str:
    """The command that trains a model that is missing: that of the queue, if it holds the model."""
    for entry in read_recipes():
        if (entry.recipe.architecture, entry.recipe.data) == (architecture, corpus) and entry.ships:
            return f"python -m muspike.bench.shipped train {entry.name}"
    return f"muspike train {architecture} --data {corpus}"


def _measured(jobs: Sequence[Job], folder: Path, resume: bool, cluster: str | None) -> list[dict[str, Any]]:
    """What is measured of each job, in their order. Each is on disk as soon as it is there."""
    paths = [part_path(folder, f"{job.corpus}-{job.name}-music", job.depends_on()).with_suffix(".json") for job in jobs]
    found: dict[int, dict[str, Any]] = {}
    for number, path in enumerate(paths):
        if resume and path.exists():
            found[number] = _read_part(path)
            print(f"{jobs[number].title}: as measured before", file=sys.stderr, flush=True)
    missing = [number for number in range(len(jobs)) if number not in found]
    for done, (index, part) in enumerate(results_of([jobs[number] for number in missing], measure, cluster), start=1):
        number = missing[index]
        with write_whole(paths[number]) as temporary:
            temporary.write_text(json.dumps(part, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        found[number] = part
        print(f"[{done}/{len(missing)}] {jobs[number].title}: measured", file=sys.stderr, flush=True)
    return [found[number] for number in range(len(jobs))]


def _read_part(path: Path) -> dict[str, Any]:
    check_file(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for name in metrics.METRICS:
            found["metrics"][name]["mean"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: damaged, or no part of a benchmark: {one_line(error)}; delete it") from error
    return dict(found)


def measure(job: Job) -> dict[str, Any]:
    """Compose with one model and measure the pieces; JSON-able.

    Raises:
        BadInput: the model cannot be read.
    """
    model = load_model(job.model)
    runner, where = _composer(model)
    composed = [
        words for seed in job.seeds for words in generate(runner, job.pieces, EXCERPT, seed, batch=64, ended=False)
    ]
    reference = every_metric(list(excerpts_of(corpora.load(job.place), "test").swapaxes(0, 1)))
    found = every_metric(composed)
    rows: dict[str, Any] = {}
    for name, values in found.items():
        rows[name] = moments(values)
        area = distance(values, reference[name]).overlapping_area
        rows[name]["overlapping_area"] = float(area) if math.isfinite(area) else None
    return {
        "architecture": model.architecture,
        "model": job.model,
        "steps": model.steps,
        "composed_by": where,
        "pieces": len(composed),
        "metrics": rows,
    }


def _composer(model: Model) -> tuple[Runner, str]:
    """The network as it would be deployed, and the name of its chip; in torch if it does not spike or fits no chip."""
    if isinstance(model.network, Network):
        for chip in dict.fromkeys((PREFERRED_CHIP, *known_chips())):
            try:
                found = compile_model(model, chip, must_fit=False)
            except BadInput:  # the chip has no means for it, whatever the number of cores
                continue
            if found.use.fits:
                return ChipRunner(found.program), chip
    return model.network.runner(), "torch"


def _moments(pieces: Sequence[Words]) -> dict[str, dict[str, float | None]]:
    return {name: moments(values) for name, values in every_metric(pieces).items()}


# --- tables ----------------------------------------------------------------------------------------------------------


def tables(results: Mapping[str, Any]) -> list[Table]:
    """The tables of a benchmark: the published values beside ours, one for each corpus, and what is missing."""
    paper = {(row["corpus"], row["network"], row["metric"]): row for row in results["paper"]}
    found = []
    if paper:
        rows = [
            [
                row["corpus"],
                row["network"],
                row["metric"],
                _figure(row["value"]),
                _ours(results, *key),
                row["tag"],
                row["source"],
            ]
            for key, row in paper.items()
        ]
        titles = ["corpus", "network", "metric", "paper", "ours", "tag", "source"]
        found.append(Table("the values of the paper that are known, beside ours", titles, rows, left=(0, 1, 2, 5, 6)))
    for corpus, of in results["corpora"].items():
        if "reason" not in of:
            found.append(_corpus_table(results, corpus, of, paper))
    lacking = [["", corpus, of["reason"]] for corpus, of in results["corpora"].items() if "reason" in of]
    lacking += [[a, corpus, how] for corpus, models in results["missing"].items() for a, how in models.items()]
    if lacking:
        titles = ["network", "corpus", "why, or what trains it"]
        found.append(Table("what is missing", titles, lacking, left=(0, 1, 2)))
    return found


def _corpus_table(
    results: Mapping[str, Any], corpus: str, of: Mapping[str, Any], paper: Mapping[tuple[str, str, str], Any]
) -> Table:
    columns = [DATA, *dict.fromkeys([*results["missing"].get(corpus, {}), *of["models"]])]
    columns.sort(key=lambda name: SPIKING.index(name) if name in SPIKING else -1 if name == DATA else len(SPIKING))
    titles = ["metric", "unit", *(f"{name}{part}" for name in columns for part in (",\nours", ",\npaper"))]
    rows = []
    for name in results["metrics"]:
        cells = []
        for column in columns:
            published = paper.get((corpus, column, name))
            cells += [_ours(results, corpus, column, name), _figure(published["value"]) if published else NOT_KNOWN]
        if set(cells) - {UNDEFINED, NO_MODEL, NOT_KNOWN}:
            rows.append([name, results["metrics"][name], *cells])
    settings = results["settings"]
    caption = (
        f"{of['title']} ({corpus}): means over {several(of['excerpts'], 'excerpt')} of the test split and over "
        f"{several(settings['composed_pieces'], 'piece')} of each network, {settings['excerpt_words']} words each; "
        "how many words the paper's excerpts have is not known"
    )
    return Table(caption, titles, rows, left=(0, 1))


def _ours(results: Mapping[str, Any], corpus: str, network: str, metric: str) -> str:
    """The cell of our own value, or why there is none."""
    of = results["corpora"][corpus]
    if "reason" in of:
        return NO_CORPUS
    if network != DATA and network not in of["models"]:
        return NO_MODEL
    mean = (of["data"] if network == DATA else of["models"][network]["metrics"])[metric]["mean"]
    return UNDEFINED if mean is None else _figure(mean)


def _figure(value: float) -> str:
    return f"{value:.3g}"


def notes(results: Mapping[str, Any]) -> list[str]:
    """How the tables were made, and what can be compared, in sentences."""
    settings = results["settings"]
    composed = {
        f"{of['architecture']} of {corpus} on {of['composed_by']}"
        for corpus, found in results["corpora"].items()
        for of in found.get("models", {}).values()
    }
    seeds, how = settings["seeds"], settings["sampling"]
    with_seeds = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
    return [
        f"every excerpt has {settings['excerpt_words']} compound words, because most metrics grow with the length; how "
        "long the paper's excerpts are is not known, so its values and ours need not be of one length",
        "nor is it known how the paper splits its data; its chorales may be the 382 of Boulanger-Lewandowski et al. "
        "2012, ours are those of music21",
        f'"{NOT_KNOWN}": the paper\'s table is not at hand; it says nothing of whether the paper has the value',
        f"the networks composed at temperature {how['temperature']} and top-p {how['top_p']}, with a bias of "
        f"{how['parallels_bias']} against parallels, {with_seeds}: {', '.join(sorted(composed)) or 'none'}",
    ]


def _write(results: Mapping[str, Any], folder: Path) -> None:
    page = environment("muspike.hardware.running").get_template("tables.html")
    made, told = tables(results), notes(results)
    texts = {
        "benchmark.html": page.render(title=TITLE, tables=made, notes=told),
        "benchmark.md": "\n".join([written(made, "markdown", TITLE), "", *(f"- {note}" for note in told)]) + "\n",
        "benchmark.json": json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        with write_whole(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
