"""The recipes of docs/extending.md add what they say: in a copy of muspike, with the page's own text, and nothing else.

Above a block stands where it goes: `<!-- file: PATH -->` a new file, `<!-- above TABLE in PATH -->` code,
`<!-- row of TABLE in PATH -->` imports and a row. Blocks without such a line are run, after all recipes were followed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extending.md"
PLACES = {"muspike": "muspike", "hardware": "muspike/hardware", "export": "muspike/export", "bench": "muspike/bench"}
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
RECIPES = {
    heading: [(m["mark"] or "", m["language"], m["text"]) for m in BLOCK.finditer(text)]
    for heading, text in re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.M | re.S)
}
# What each recipe prints in the end, where what it adds is there.
PRINTED = {
    "A chip": r"network\.nir on sketch: .*",
    "A price list": r"abacus +An abacus +5e\+09 assumed .*",
    "A NIR primitive": r"neuron 0 fires\n",
    "A target": r"s-rnn\.npz: the arrays in NumPy, against the network in float64\n.*\nequal\n",
    "A corpus": r"melodies-run/model: [\d.]+ bits per note, .* on validation \(step 1\)",
    "A metric": r'"leap_rate": 0\.5,',
    "An architecture": r"echo-run/model: .*\necho\.nir: the file read back and .*\nlayer .*\nequal\n",
}
RUN = """
import contextlib, io, json, os, shlex, sys, traceback
from muspike.cli import main

def run(language, text):
    if language == "python":
        exec(compile(text, "docs/extending.md", "exec"), {})
        return
    for line in text.splitlines():
        name, *arguments = shlex.split(line)
        assert name == "muspike" and main(arguments) == 0, line

printed = {}
for recipe, blocks in json.load(sys.stdin).items():
    os.mkdir(recipe)
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.chdir(recipe), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            for language, text in blocks:
                run(language, text)
        except Exception:
            traceback.print_exc(file=out)
    out.flush()
    printed[recipe] = out.buffer.getvalue().decode()
json.dump(printed, sys.stdout)
"""


def insert_row(source: str, table: str, block: str) -> str:
    """`source` with the rows of a block first in a table, and its imports first in the file."""
    lines = block.strip().splitlines()
    imports = [line for line in lines if re.match(r"(from|import) ", line)]
    rows = [f"    {line.rstrip(',')}," for line in lines if line and line not in imports]
    found = re.findall(rf"^{table}\b.*[{{(]\n", source, re.M)
    assert len(found) == 1, f"{table}: opens {len(found)} times"
    start = "from __future__ import annotations\n"
    assert source.count(start) == 1
    source = source.replace(found[0], found[0] + "\n".join(rows) + "\n")
    return source.replace(start, "\n".join([start, *imports, ""]))


def follow(recipes: Iterable[list[tuple[str, str, str]]], site: Path) -> None:
    """Write the files of all recipes, and their code and rows, into the copy."""
    for mark, _, text in (block for recipe in recipes for block in recipe):
        if mark.startswith("file: "):
            folder, _, rest = mark.removeprefix("file: ").partition("/")
            path = site / PLACES[folder] / rest
            assert not path.exists(), f"{path.name}: is there already"
            path.write_text(text, encoding="utf-8")
        elif mark:
            found = re.fullmatch(r"(above|row of) (\w+) in (\w+)/([\w/.]+)", mark)
            assert found, mark
            how, table, folder, rest = found.groups()
            path = site / PLACES[folder] / rest
            source = path.read_text(encoding="utf-8")
            if how == "above":
                before, name, after = re.split(rf"^({table})\b", source, maxsplit=1, flags=re.M)
                source = f"{before}{text}\n\n{name}{after}"
            else:
                source = insert_row(source, table, text)
            path.write_text(source, encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of muspike, as pip would lay it out, in which every recipe was followed."""
    site = tmp_path_factory.mktemp("site")
    for folder, place in PLACES.items():
        # With what Python and Numba have compiled: both look at the times of the sources, which stay.
        shutil.copytree(ROOT / folder, site / place)
    follow(RECIPES.values(), site)
    return site


@pytest.fixture(scope="module")
def printed(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the blocks that use it print in the copy, by recipe; each recipe has a folder, all one process."""
    folder = tmp_path_factory.mktemp("use")
    uses = {name: [(language, text) for mark, language, text in recipe if not mark] for name, recipe in RECIPES.items()}
    # The user's cache of corpora is left alone.
    own = {"PYTHONPATH": str(site), "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)}
    result = subprocess.run(
        [sys.executable, "-P", "-c", RUN],
        input=json.dumps(uses),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | own,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, str] = json.loads(result.stdout)
    return found


def test_there_is_a_recipe_for_each_thing_that_can_be_added() -> None:
    assert list(RECIPES) == list(PRINTED)
    rows = re.findall(r"^\| \[[^\]]+\]\(#([\w-]+)\) \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert rows == [heading.lower().replace(" ", "-") for heading in RECIPES]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_adds_what_it_says(name: str, printed: dict[str, str]) -> None:
    assert "Traceback (most recent call last)" not in printed[name], printed[name]
    assert re.search(PRINTED[name], printed[name], re.S), printed[name]
