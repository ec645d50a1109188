"""What is built is what the tree holds, and the folders import as docs/architecture.md says."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"muspike": "muspike", "hardware": "muspike/hardware", "export": "muspike/export", "bench": "muspike/bench"}
CLI = ROOT / "muspike" / "cli"
# Run from a checkout: not part of what is installed.
NOT_PACKAGED = ("versus",)
NOT_SOURCE = shutil.ignore_patterns("__pycache__", ".*")


def files(folder: Path) -> set[Path]:
    return {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources alone, as a new checkout has them."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tree / folder, ignore=NOT_SOURCE)
    for name in NOT_PACKAGED:
        shutil.rmtree(tree / "bench" / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    return tree


@pytest.fixture(scope="module")
def built(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel built from what it holds."""
    dist = tmp_path_factory.mktemp("dist")
    copy = tmp_path_factory.mktemp("build") / "copy"  # the build leaves its own files there
    shutil.copytree(tree, copy)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(copy)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return dist


@pytest.fixture(scope="module")
def site(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as pip would lay it out."""
    site = tmp_path_factory.mktemp("site")
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run(site: Path, cwd: Path, *arguments: str) -> str:
    """What a new interpreter prints that finds muspike in `site`, before any editable install."""
    result = subprocess.run(
        [sys.executable, "-P", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(site)},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_only_muspike_lands_at_top_level(site: Path) -> None:
    from muspike import __version__

    assert {p.name for p in site.iterdir()} == {"muspike", f"muspike-{__version__}.dist-info"}


def test_the_wheel_holds_every_file_of_the_four_folders_and_no_other(tree: Path, site: Path) -> None:
    expected = {Path(place, p) for folder, place in FOLDERS.items() for p in files(tree / folder)}
    found = {Path("muspike", p) for p in files(site / "muspike")}
    assert sorted(expected - found) == [], "not in the wheel: see packages and package-data in pyproject.toml"
    assert sorted(found - expected) == []
    kinds = {p.suffix for p in found} | {p.name for p in found}
    assert {".py", ".toml", ".html", "py.typed"} <= kinds
    for folder, place in FOLDERS.items():
        for name in files(tree / folder):
            assert (site / place / name).read_bytes() == (tree / folder / name).read_bytes(), name


def test_the_source_archive_holds_what_the_wheel_is_built_from(tree: Path, built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {Path(*Path(member.name).parts[1:]) for member in opened if member.isfile()}
    assert sorted(files(tree) - names) == []


@pytest.mark.parametrize("name", ["muspike.generation", "muspike.hardware.mapping.compile", "muspike.export.verify"])
def test_the_four_packages_import_from_the_wheel(site: Path, tmp_path: Path, name: str) -> None:
    assert run(site, tmp_path, "-c", f"import {name} as module; print(module.__file__)").startswith(str(site))


def test_the_report_and_the_data_are_found_in_the_wheel(site: Path, tmp_path: Path) -> None:
    code = """
from muspike import architectures, model_folder
from muspike.bench import report
from muspike.hardware import chip
print(report.__file__)
print(*chip.known_chips())
print(*architectures.presets("s-rnn"))
print(*model_folder.shipped_models().values(), sep="\\n")
"""
    page, chips, presets, *models = run(site, tmp_path, "-c", code).splitlines()
    assert page.startswith(str(site))
    assert {"loihi1", "loihi2"} <= set(chips.split())
    assert "small" in presets.split()
    assert all(model.startswith(str(site)) for model in models if model)


def test_the_entry_point_answers_without_loading_torch(site: Path, tmp_path: Path) -> None:
    code = """
import atexit, sys
from importlib.metadata import entry_points
atexit.register(lambda: print(*({"torch", "numpy", "numba", "matplotlib"} & set(sys.modules))))
(entry,) = entry_points(group="console_scripts", name="muspike")
main = entry.load()
sys.argv = ["muspike", "--version"]
main()
"""
    from muspike import __version__

    assert run(site, tmp_path, "-c", code) == f"muspike {__version__}\n\n"


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The modules named by the imports among `nodes`; `from a import b` names a and a.b."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folder_of(module: str) -> str | None:
    """`hardware`, `export`, `bench`, one of `OPEN`, else `muspike`; None for other packages."""
    first, *rest = module.split(".")
    if first != "muspike":
        return None
    return rest[0] if rest and rest[0] in (*FOLDERS, *OPEN) else "muspike" if rest else None


OPEN = {"arguments", "errors", "files", "jit", "public", "ranges", "tables"}
MAY_IMPORT = {
    "muspike": {"muspike"},
    "hardware": {"hardware"},
    "export": {"export", "muspike", "hardware"},
    "bench": {"bench", "export", "muspike", "hardware"},
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_follow_the_arrows(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    allowed = MAY_IMPORT[folder] | OPEN | {None}
    for path in paths:
        if path.parent == CLI:  # reaches up: see the next test
            continue
        wrong = {module for module in imported(ast.walk(parse(path))) if folder_of(module) not in allowed}
        assert wrong == set(), path


def test_the_cli_reaches_up_only_inside_its_commands() -> None:
    trees = [parse(path) for path in sorted(CLI.glob("*.py"))]
    everywhere = {folder_of(module) for tree in trees for module in imported(ast.walk(tree))}
    assert {"export", "hardware", "bench"} <= everywhere
    ours = {module for tree in trees for module in imported(tree.body) if folder_of(module) not in {None, *OPEN}}
    assert {module for module in ours if not module.startswith("muspike.cli")} == {"muspike.__version__"}


@pytest.mark.parametrize("name", sorted(OPEN))
def test_what_is_open_to_all_needs_only_the_standard_library(name: str) -> None:
    """And numba, in what compiles with it."""
    others = {"numba"} if name == "jit" else set()
    for module in imported(ast.walk(parse(ROOT / "muspike" / f"{name}.py"))):
        package = module.split(".")[0]
        assert package in sys.stdlib_module_names or package in others or folder_of(module) in OPEN, module


def test_functions_are_compiled_in_one_way() -> None:
    """numba's own njit ends the program where no cache can be written."""
    for folder in ("muspike", "hardware", "export"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            used = re.search(r"numba\.n?jit\b|from numba import .*\bn?jit\b", path.read_text(encoding="utf-8"))
            assert not used or path.name == "jit.py", path
