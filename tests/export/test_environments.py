"""Environments for tools: what making one leaves as it was."""

import importlib.machinery
import subprocess
import sys
from pathlib import Path

import pytest

AFTERWARDS = """
import pathlib, sys
from muspike.export import environments

environments.install(pathlib.Path(sys.argv[1]), "nothing", [], "", "")
import setuptools
"""


def test_setuptools_can_be_imported_after_one_was_made(tmp_path: Path) -> None:
    if importlib.machinery.PathFinder.find_spec("pip") is None:
        pytest.skip("there is no pip that setuptools could look out for")
    ran = subprocess.run(
        [sys.executable, "-c", AFTERWARDS, tmp_path / "environment"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
