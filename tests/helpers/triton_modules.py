"""Modules of Triton kernels where there is a GPU, and where there is none, by Triton's interpreter on the CPU."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # triton reads it when it is imported, and where it meets a kernel


def triton_module(name: str) -> tuple[Any, torch.device]:
    """The module `name`, and the device on which its kernels run. Without triton the test is skipped."""
    pytest.importorskip("triton", reason="no triton, which CUDA's torch brings")
    # A copy of the module, so that no other test gets interpreted kernels.
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, torch.device("cuda" if torch.cuda.is_available() else "cpu")
