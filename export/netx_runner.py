"""lava-dl's own reader of `.net` files as the judge: `run_netx` runs a file as that reader reads it, in Lava.

lava-dl (BSD-3-Clause, Intel) is no dependency. Its wheel is taken from the path given; from the environment variable
MUSPIKE_LAVA_DL; or from the user's cache folder, into which pip downloads it on first use. Nothing of it is installed:
`netx_worker.py` imports the reader, unpacked for the run, in the Python that runs Lava (`lava_runner`).

What to know of the reader (0.6.0):

- A matrix of zeros alone divides by zero. Mixed weights above 254 are clipped, with a warning.
- Delays of dense layers delay what the layer receives, and are clipped at 62. Those of conv layers are left out. Of a
  `dense_rec` layer they are given to both matrices, so they fit only if both have the same shape.
- `refDelay`, `gradedSpike` and the exponents `wgtExp` and `weight_exp` are left out.
- `pool` and `average` raise (`num_layers` stops before them). ALIF crashes.
- `reset_interval` resets the first layer with neurons in tick 0 (plus `reset_offset`), each next layer a tick later.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.cache import cache_folder
from muspike.errors import BadInput, Failed
from muspike.export import lava_runner
from muspike.hardware.reader.file import hdf5_folders

VARIABLE = "MUSPIKE_LAVA_DL"
LAVA_DL = "lava-dl==0.6.0"
WHEEL = "lava_dl-0.6.0-py3-none-any.whl"
_READER = "lava/lib/dl/netx/"  # in the wheel
_WORKER = Path(__file__).with_name("netx_worker.py")


@dataclass(frozen=True, eq=False)
class NetxRun:
    """What Lava computed, for each process that the reader makes, in order.

    Attributes:
        spikes: uint8 `[ticks, size]` each, images in the order channel, y, x.
        membrane: int32 `[ticks, size]` each: v after each tick.
    """

    spikes: tuple[npt.NDArray[np.uint8], ...]
    membrane: tuple[npt.NDArray[np.int32], ...]


def run_netx(
    network: str | os.PathLike[str],
    ticks: int,
    inputs: npt.NDArray[Any] | None = None,
    input_bias: npt.NDArray[Any] | None = None,
    options: Mapping[str, Any] | None = None,
    lava_dl: str | os.PathLike[str] | None = None,
    python: str | os.PathLike[str] | None = None,
) -> NetxRun:
    """Run a `.net` file as lava-dl reads it.

    Args:
        network: the file.
        ticks: how long to run.
        inputs: 0 or 1, `[ticks, size]`, in the order channel, y, x; None: no spikes come.
        input_bias: whole numbers, the biases of the first layer's neurons, in the same order; None: those of the file.
        options: what `netx.hdf5.Network` is given beside the file, such as `reset_interval` and `num_layers`.
        lava_dl: the wheel of lava-dl 0.6.0, or a folder with its content; None: as the module says.
        python: a Python that has lava-nc 0.10.0; None: as in `lava_runner`.

    Raises:
        BadInput: the file is not there.
        Failed: the wheel is not there and cannot be downloaded; no Python can run Lava; or the reader stopped with an
            error.
    """
    if not Path(network).is_file():
        raise BadInput(f"{os.fspath(network)}: no such file")
    wheel, interpreter = find_lava_dl(lava_dl), lava_runner.find_lava_python(python)
    with tempfile.TemporaryDirectory(prefix="muspike-netx-") as folder:
        request: dict[str, Any] = {"folders": hdf5_folders(), "ticks": ticks, "options": dict(options or {})}
        for name, array in (("inputs", inputs), ("bias", input_bias)):
            request[name] = None
            if array is not None:
                request[name] = str(Path(folder) / f"{name}.npy")
                np.save(request[name], np.asarray(array, np.int32).reshape(*([ticks] if name == "inputs" else []), -1))
        asked, output = Path(folder) / "request.json", Path(folder) / "output.npz"
        asked.write_text(json.dumps(request), encoding="utf-8")
        if wheel.is_file():  # a namespace such as `lava.lib` cannot be imported from a zip
            wheel = _unpacked(wheel, Path(folder) / "lava-dl")
        arguments = [str(wheel), os.path.abspath(network), str(asked), str(output)]  # noqa: PTH100  # links stay
        lava_runner.run_worker(interpreter, arguments, script=_WORKER)
        if not output.is_file():
            raise Failed(f"{interpreter}: ended without an error and wrote nothing; it cannot run lava-dl")
        with np.load(output) as results:
            n = sum(name.startswith("spikes_") for name in results.files)
            spikes = tuple(results[f"spikes_{k}"] for k in range(n))
            return NetxRun(spikes, tuple(results[f"v_{k}"] for k in range(n)))


def _unpacked(wheel: Path, folder: Path) -> Path:
    """The reader alone, unpacked from the wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.startswith(_READER)])
    except (OSError, zipfile.BadZipFile) as error:
        raise Failed(f"{wheel}: is no wheel that can be read: {error}") from error
    return folder


def find_lava_dl(given: str | os.PathLike[str] | None = None) -> Path:
    """The wheel of lava-dl, or a folder with its content.

    Raises:
        Failed: nothing is there, and pip cannot download it.
    """
    chosen = given or os.environ.get(VARIABLE)
    if chosen:
        if not Path(chosen).exists():
            raise Failed(f"{os.fspath(chosen)}: is not there; expected {WHEEL}, or a folder with its content")
        return Path(chosen).absolute()
    kept = cache_folder() / WHEEL
    if kept.is_file():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".lava-dl-", dir=kept.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
        command += ["--ignore-requires-python", LAVA_DL, "--dest", folder]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0 or not (Path(folder) / WHEEL).is_file():
            reason = (result.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise Failed(f"{LAVA_DL} cannot be installed: {reason}; or name its wheel in {VARIABLE}")
        (Path(folder) / WHEEL).replace(kept)
    return kept
