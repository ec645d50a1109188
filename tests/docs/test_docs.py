"""The documentation does what it says: its commands run, its links lead somewhere, its tables are those of the code.

A block of commands (```sh) or of Python is run as it stands, in one folder per page, on a small model where `s-rnn` is
not among those that come with muspike, and on a made-up corpus. Above a block may stand `<!-- not run: why -->` or
`<!-- needs Lava -->`: the nightly run has these too.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs
import pytest

from muspike import corpora, metrics, tokens
from muspike.bench.forms import FORMS
from muspike.bench.shipped import __main__ as shipped
from muspike.checkpoint import save_model
from muspike.cli import main
from muspike.corpora import Corpus
from muspike.errors import Failed
from muspike.export import lava_runner
from muspike.hardware.chip import known_chips, load_chip
from muspike.hardware.constant import Constant
from muspike.hardware.price_list import known_price_lists, load_price_list
from muspike.model_folder import shipped_models
from noise_corpus import noise_corpus
from small_model import small_model
from stored_corpus import write_folder

DOCS = Path(__file__).parents[2] / "docs"
# The map of the code has nothing to run; the recipes are run by test_extending.py, the pack's script by its own test.
NOT_RUN = ("architecture.md", "conformance.md", "extending.md", "nir-readers.md", "predictions.md")
PAGES = sorted(page for page in DOCS.glob("*.md") if page.name not in NOT_RUN)
NEEDS_LAVA = "needs Lava"
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)


class Block(NamedTuple):
    mark: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(m["mark"] or "", m["language"], m["text"]) for m in BLOCK.finditer(page.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    labels = {"emotion": ("Q1", "Q2", "Q3"), "genre": ("rock", "jazz")}
    return noise_corpus([130] * 9, train=3, validation=2, name="jsb", labels=labels)


@pytest.fixture
def folder(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    load = corpora.load
    monkeypatch.setattr(
        corpora, "load", lambda name, progress=True: corpus if name in corpora.CORPORA else load(name, progress)
    )
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache")
    write_folder(tmp_path / "my-midi", range(10))
    if "s-rnn" not in shipped_models():
        save_model(small_model("jsb"), tmp_path / "s-rnn")
    return tmp_path


def run(line: str) -> None:
    name, *arguments = shlex.split(line, comments=True)
    if [name, *arguments[:2]] == ["python", "-m", "muspike.bench.shipped"]:
        assert shipped.main(arguments[2:]) == 0, line
        return
    assert name == "muspike", f"{line}: not a command of ours; say above its block why it is not run"
    try:
        status = main(arguments)
    except SystemExit as end:  # --help and --version
        status = int(end.code or 0)
    assert status == 0, line


@contextlib.contextmanager
def environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_code_run(page: Path, folder: Path) -> None:
    run_blocks(page, ())


@pytest.mark.nightly
@pytest.mark.parametrize(
    "page", [page for page in PAGES if NEEDS_LAVA in page.read_text("utf-8")], ids=lambda p: p.name
)
def test_commands_run_in_lava(page: Path, folder: Path) -> None:
    try:
        lava_runner.find_lava_python()
    except Failed as error:
        if "cannot be installed" not in str(error):
            raise
        pytest.skip(str(error))
    run_blocks(page, (NEEDS_LAVA,))


def run_blocks(page: Path, marks: Sequence[str]) -> None:
    """Run the blocks of `page` that have no mark or one of `marks`."""
    ran = 0
    for block in blocks(page):
        assert block.mark in ("", NEEDS_LAVA) or re.match(r"not run: \w.{10,}", block.mark), block
        if block.mark and block.mark not in marks:
            continue
        ran += 1
        if block.language == "python":
            exec(compile(block.text, f"{page.name}", "exec"), {})
            continue
        assert block.language == "sh", f"{page.name}: a block of {block.language}"
        for line in block.text.splitlines():
            run(line)
    assert ran > 0


def test_the_code_of_the_readme_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("muspike export s-rnn --to nir")
    (block,) = blocks(DOCS.parent / "README.md")
    capsys.readouterr()
    exec(compile(block.text, "README.md", "exec"), {})
    assert "unit='uJ'" in capsys.readouterr().out


@pytest.mark.parametrize("page", [*sorted(DOCS.parent.glob("*.md")), *sorted(DOCS.glob("*.md"))], ids=lambda p: p.name)
def test_links_and_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"@@\w*@@", text) == [], "a marker is left that was to be filled"
    for target in re.findall(r"\]\(([^)\s]+)[^)]*\)", text):
        file, _, heading = target.partition("#")
        if "://" in file:
            continue
        assert not file or (page.parent / file).is_file(), f"{page.name}: {target} leads nowhere"
        if heading:
            assert heading in headings(page.parent / file if file else page), f"{page.name}: {target}: no such heading"
    for name in re.findall(r"`((?:muspike|hardware|export|bench|docs|tests)/[\w./*-]+)`", text):
        assert list((DOCS.parent).glob(name)), name


def headings(page: Path) -> list[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found]


def test_the_index_has_every_page() -> None:
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", text)) == {page.name for page in DOCS.glob("*.md")} - {"index.md"}


def test_every_command_is_on_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    assert {"train", "map", "metrics"} <= set(commands)
    shown = "".join(block.text for page in PAGES for block in blocks(page) if block.language == "sh")
    assert [command for command in commands if f"muspike {command}" not in shown] == []


def test_energy_has_every_constant_of_the_chips() -> None:
    text = (DOCS / "energy.md").read_text(encoding="utf-8")
    rows = []

    def row(name: str, c: Constant) -> str:
        band = f"{c.low:g} – {c.high:g}" if c.band_known else "unknown"
        return f"| `{name}` | {c.value:g} {c.unit} | {band} | {c.tag} |"

    for name in known_chips():
        chip = load_chip(name)
        for costs in chip.costs.values():
            default = " (the default)" if costs is chip.cost_set(None) else ""
            assert f"Set `{costs.name}`{default}: {costs.description}." in text
            rows += [row(event, c) for event, c in (*costs.energy.items(), *costs.latency.items())]
            rows += [row(f"barrier, {b.tiles} tile{'s' if b.tiles > 1 else ''}", b.latency) for b in costs.barrier]
        rows.append(row("static_power", chip.static_power))
    assert re.findall(r"^\| `.*$", text, re.MULTILINE) == rows, "the rows are:\n" + "\n".join(rows)


def test_energy_has_every_price_of_the_price_lists() -> None:
    text = (DOCS / "energy.md").read_text(encoding="utf-8")
    rows = []
    for name in known_price_lists():
        for operation, c in load_price_list(name).energy.items():
            band = f"{c.low:g} – {c.high:g}" if c.band_known else "unknown"
            rows.append(f"| {name} | {operation} | {c.value:g} {c.unit} | {band} | {c.tag} |")
    (table,) = re.findall(r"\| machine \| operation \|[^\n]*\n[^\n]*\n((?:\|[^\n]*\n)+)", text)
    assert table.splitlines() == rows, "the rows are:\n" + "\n".join(rows)


def test_music_has_every_feature_and_every_metric() -> None:
    text = (DOCS / "music.md").read_text(encoding="utf-8")
    for f, (name, size) in enumerate(zip(tokens.FEATURES, tokens.SIZES, strict=True)):
        kinds = [kind.name for kind in tokens.BarBeat if kind.name != "PAD" and tokens.PREDICTED[kind, f]]
        assert f"| `{name}` | {size} | {'all' if len(kinds) == 4 else ', '.join(kinds)} |" in text
    rows = [f"| `{m.name}` | {m.unit} | {m.meaning} | {m.source} |" for m in metrics.METRICS.values()]
    assert re.findall(r"^\| `\w+` \|(?: [^|]+ \|){3}$", text, re.MULTILINE) == rows


def test_measure_has_every_form_and_where_it_runs() -> None:
    text = (DOCS / "measure.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| [^|]+ \| ([\w, ]+) \|$", text, re.MULTILINE)
    assert rows == [(name, ", ".join(form.devices)) for name, form in FORMS.items()]


def test_report_describes_every_entry_of_bench_json(folder: Path) -> None:
    save_model(small_model("jsb"), folder / "small")
    assert main(["bench", "./small", "--quick", "--no-lava", "-o", "report"]) == 0
    results = json.loads(Path("report/bench.json").read_text(encoding="utf-8"))
    text = (DOCS / "report.md").read_text(encoding="utf-8")
    described = [
        name for row in re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    ]
    patterns = [re.sub(r"(?<=\.)[MCPF](?=\.|$)", "*", name).split(".") for name in described]

    def matches(pattern: list[str], path: list[str]) -> bool:
        return all(p in ("*", key) for p, key in zip(pattern, path, strict=False))

    def paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[list[str]]:
        if isinstance(value, dict) and value:
            for key, entry in value.items():
                yield from paths(entry, (*path, key))
        else:
            yield list(path)

    leaves = list(paths(results))
    # No row may stand for all that is said of an architecture or of a chip.
    assert all(len(p) != 2 and p[2:] not in (["activity"], ["chip", "*"], ["quality"]) for p in patterns)
    for pattern in patterns:
        assert any(len(leaf) >= len(pattern) and matches(pattern, leaf) for leaf in leaves), ".".join(pattern)
    for leaf in leaves:
        assert any(len(leaf) >= len(pattern) and matches(pattern, leaf) for pattern in patterns), ".".join(leaf)
