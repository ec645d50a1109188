"""Compiled code is kept where that is possible; where it is not, the program goes on, with one warning."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from numba.core import caching, config

from muspike import jit
from muspike.errors import Doubt

ROOT = Path(__file__).parents[2]
SOURCE = "from muspike.jit import njit\n\n@njit(nogil=True)\ndef double(x):\n    return 2 * x\n"


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ModuleType]:
    """Load a module with a compiled function, as a new process would, with its cache in the folder `cache`."""
    (tmp_path / "doubled.py").write_text(SOURCE)
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(jit, "_warned", False)

    def load() -> ModuleType:
        spec = importlib.util.spec_from_file_location("doubled", tmp_path / "doubled.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def cached(tmp_path: Path, ending: str) -> list[Path]:
    return sorted((tmp_path / "cache").rglob(f"*.{ending}"))


def hits(module: Any) -> int:
    return sum(module.double.stats.cache_hits.values())


def test_the_next_process_finds_the_compiled_code(loaded: Callable[[], Any], tmp_path: Path) -> None:
    assert loaded().double(4) == 8
    assert len(cached(tmp_path, "nbi")) == len(cached(tmp_path, "nbc")) == 1
    again = loaded()
    assert again.double(4) == 8 and hits(again) == 1
    assert again.double.targetoptions["nogil"] is True


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [b"", b"\x80", b"\x80\x04K\x05.", b"not pickled"])
def test_a_damaged_file_is_replaced(loaded: Callable[[], Any], tmp_path: Path, ending: str, damage: bytes) -> None:
    assert loaded().double(4) == 8
    (file,) = cached(tmp_path, ending)
    file.write_bytes(damage)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loaded().double(4) == 8
        again = loaded()
        assert again.double(4) == 8 and hits(again) == 1


def test_a_file_cut_in_the_middle_is_replaced(loaded: Callable[[], Any], tmp_path: Path) -> None:
    assert loaded().double(4) == 8
    for ending in ("nbi", "nbc"):
        (file,) = cached(tmp_path, ending)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        assert loaded().double(4) == 8
        again = loaded()
        assert again.double(4) == 8 and hits(again) == 1


def test_a_disk_that_is_full_when_the_code_is_written(
    loaded: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "cache" / "file"))

    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_data", full)
    module = loaded()
    with pytest.warns(Doubt, match=f"{tmp_path / 'cache'}: No space left on device.*NUMBA_CACHE_DIR") as warned:
        assert module.double(4) == 8
        assert module.double(0.5) == 1
    assert len(warned) == 1


def test_no_folder_that_can_be_written_is_one_warning(
    loaded: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", refuse)
    with pytest.warns(Doubt, match="no folder can be written for it") as warned:
        assert [loaded().double(4), loaded().double(4)] == [8, 8]
    assert len(warned) == 1


def test_without_a_home_no_folder_of_that_name_is_made(
    loaded: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(caching.InTreeCacheLocator, "ensure_cache_path", refuse)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    with pytest.warns(Doubt, match="no folder can be written for it"):
        assert loaded().double(4) == 8
    assert not Path("~").exists()


def test_a_command_where_nothing_can_be_written(tmp_path: Path) -> None:
    """In the folders of the package there is a file in the place of numba's folder, and the home is no folder."""
    site, here = tmp_path / "site", tmp_path / "here"
    shutil.copytree(ROOT / "muspike", site / "muspike", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("hardware", "export"):
        shutil.copytree(ROOT / name, site / "muspike" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [path for path in site.rglob("*") if path.is_dir()]:
        (folder / "__pycache__").touch()
    here.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    environment |= {"HOME": "/dev/null", "PYTHONPATH": str(site)}
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "muspike", *["generate", "s-rnn", "-n", "1", "--length", "8", "-o", "pieces"]],
        env=environment, cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0 and ended.stdout
    (line,) = ended.stderr.splitlines()
    assert line.startswith("muspike: warning: numba cannot keep compiled code") and "NUMBA_CACHE_DIR" in line
