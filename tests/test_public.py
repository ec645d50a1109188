"""The names that muspike hands out: which there are, that their examples run, that docs/api.md lists them."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import muspike
import muspike.export
import muspike.hardware
from muspike import corpora
from noise_corpus import noise_corpus

ROOT = Path(__file__).parents[1]
PACKAGES = [muspike, muspike.export, muspike.hardware]
NAMES = {
    "muspike": {
        "BadInput", "Failed", "Model", "Network", "Population", "Recipe", "Sampling", "Score", "Synapse", "Timing",
        "architectures", "corpora", "decode", "encode", "evaluate", "firing_rate", "generate", "likelihood",
        "load_model", "metrics", "midi", "save_model", "shipped_models", "tokens", "train", "write_pieces",
    },
    "muspike.export": {"to_nir"},
    "muspike.hardware": {
        "Chip", "Classification", "Compiled", "Counts", "Energy", "InputSpikes", "Program", "Run", "Simulation",
        "Simulator", "SpikingGraph", "classify", "compile_graph", "count", "from_nir", "input_shapes", "known_chips",
        "load_chip", "price", "random_spikes", "read_labels", "read_net", "read_nir", "read_spikes", "simulate",
        "spread_over", "use_of", "write_spikes",
    },
}  # fmt: skip
EXAMPLES = [
    pytest.param(package, name, id=f"{package.__name__}.{name}")
    for package in PACKAGES
    for name in dir(package)
    if inspect.isfunction(getattr(package, name))
]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_the_set_of_public_names(package: ModuleType) -> None:
    assert set(dir(package)) == NAMES[package.__name__]
    for name in dir(package):
        assert getattr(package, name).__doc__, name


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_type_checkers_see_the_same_names(package: ModuleType) -> None:
    tree = ast.parse(Path(package.__file__ or "").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = [alias for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert {alias.asname for alias in imported} == {alias.name for alias in imported} == NAMES[package.__name__]


@pytest.mark.parametrize(("package", "name"), EXAMPLES)
def test_the_example_of_a_function_runs(
    package: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands, in an empty folder, on a made-up corpus."""
    monkeypatch.chdir(tmp_path)
    made = noise_corpus([40] * 6, train=3, validation=2, name="jsb")
    monkeypatch.setattr(corpora, "load", lambda name, progress=True: made)
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(package, name), name, globs={})
    assert example.examples, f"{name} has no example"
    failed = doctest.DocTestRunner().run(example).failed
    assert failed == 0, capsys.readouterr().out


def test_docs_api_lists_every_name() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for package in PACKAGES:
        _, _, rest = text.partition(f"## `{package.__name__}`\n")
        section = rest.partition("\n## ")[0]
        listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        assert sorted(listed) == sorted(NAMES[package.__name__])


@pytest.mark.parametrize("package", ["muspike", "muspike.export", "muspike.hardware"])
def test_importing_loads_neither_torch_nor_numpy(package: str) -> None:
    code = f"import sys, {package}; print(*({{'torch', 'numpy', 'numba', 'norse'}} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "\n"


def test_a_name_that_is_not_there_is_named() -> None:
    with pytest.raises(AttributeError, match="module 'muspike' has no attribute 'laod_model'; it has BadInput"):
        muspike.laod_model  # noqa: B018
