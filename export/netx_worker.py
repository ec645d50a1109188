"""Runs a lava-dl network (`.net`) in Lava, read by lava-dl's own reader, and writes the spikes of every layer.

    python netx_worker.py LAVA_DL NETWORK.net REQUEST.json OUTPUT.npz

This file is a script of its own, beside `lava_worker.py`. It runs in the Python that has lava-nc. LAVA_DL is a
folder with the content of lava-dl 0.6.0. REQUEST says:

    folders       where h5py is imported from
    ticks         how many steps to run
    inputs        a .npy file, [ticks, size] of 0 or 1, in the order of the file (channel, y, x); or null
    bias          a .npy file, the biases of the first layer's neurons, [size], in the order of the file; or null
    options       what `lava.lib.dl.netx.hdf5.Network` is given beside the file

OUTPUT holds `spikes_<k>`, uint8 `[ticks, size]` in the order of the file, and `v_<k>` (int32), of the k-th process that
the reader makes (layers without neurons of their own make none).

What the reader needs to run here:

- It imports SLAYER for one name. Empty modules stand in for it, so neither SLAYER nor torch is needed.
- It takes int() of arrays of one number, which NumPy 2.4 refuses.
- Lava has no model for the reader's `RecurrentDense`; it gets one like those of the other blocks.
- Lava keeps the geometry of convolutions in int8, which NumPy 2 refuses to compare with larger numbers.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np


def beside(name: str) -> Any:
    """The script `name` in this folder as a module, which leaves the folder out of `sys.path`."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Lava's processes are other processes: they find the classes by this name
    spec.loader.exec_module(module)
    return module


lava_worker = beside("lava_worker")

from lava.magma.core.decorator import implements, requires, tag  # noqa: E402
from lava.magma.core.model.py.type import LavaPyType  # noqa: E402
from lava.magma.core.resources import CPU  # noqa: E402
from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi1SimCfg  # noqa: E402
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol  # noqa: E402
from lava.proc.io.source import RingBuffer  # noqa: E402
from lava.proc.lif.process import LIF, LIFReset  # noqa: E402

STEPS_AT_ONCE = 50


def import_reader(lava_dl: str, folders: list[str]) -> Any:
    """Import lava-dl's reader from its folder, with empty modules for SLAYER."""
    sys.path += [lava_dl, *folders]
    for name in ("slayer", "slayer.neuron", "slayer.neuron.rf"):
        sys.modules[f"lava.lib.dl.{name}"] = types.ModuleType(name)
    sys.modules["lava.lib.dl.slayer.neuron.rf"].neuron_params = None  # type: ignore[attr-defined]
    # The package itself would import torch, for modules that the reader does not use.
    package = types.ModuleType("lava.lib.dl.netx")
    package.__path__ = [str(Path(lava_dl, "lava", "lib", "dl", "netx"))]
    sys.modules["lava.lib.dl.netx"] = package
    from lava.lib.dl.netx import hdf5

    hdf5.int = lambda value: np.asarray(value).item()
    from lava.lib.dl.netx.blocks import models
    from lava.lib.dl.netx.blocks.process import RecurrentDense

    @implements(proc=RecurrentDense, protocol=LoihiProtocol)
    @requires(CPU)
    @tag("fixed_pt")
    class PyRecurrentDenseModel(models.AbstractPyBlockModel):  # type: ignore[misc]
        pass

    return hdf5.Network, {RecurrentDense: PyRecurrentDenseModel}


def convolution_model() -> dict[Any, Any]:
    from lava.proc.conv.models import PyConvModelFixed
    from lava.proc.conv.process import Conv

    class WideConv(PyConvModelFixed):  # type: ignore[misc]
        kernel_size = stride = padding = dilation = groups = LavaPyType(np.ndarray, np.int32, precision=32)

    return {Conv: WideConv}


def in_order_of_lava(flat: Any, shape: tuple[int, ...]) -> Any:
    """`[..., size]` in the order of the file as `[..., x, y, channel]`, or as it is."""
    image = flat.reshape(*flat.shape[:-1], *shape[::-1])
    lead = flat.ndim - 1
    return image.transpose(*range(lead), *reversed(range(lead, image.ndim)))


def main() -> None:
    lava_dl, network, request_file, output = sys.argv[1:]
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    reader, blocks = import_reader(lava_dl, request["folders"])
    net = reader(network, **request["options"])
    ticks = request["ticks"]
    with tempfile.TemporaryDirectory() as folder:
        records = []
        for k, layer in enumerate(net.layers):
            shape = tuple(map(int, layer.neuron.s_out.shape))
            files = {kind: Path(folder) / f"{kind}_{k}.npy" for kind in ("spikes", "v")}
            for kind, path in files.items():
                dtype = np.uint8 if kind == "spikes" else np.int32
                np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(ticks, 1, *shape)).flush()
            layer.neuron.proc_params["ticks"], layer.neuron.proc_params["files"] = ticks, files
            records.append((files, shape))
        if request["bias"]:
            first = net.in_layer.neuron
            first.bias_mant.init = in_order_of_lava(np.load(request["bias"]), tuple(first.s_out.shape))
        if request["inputs"]:
            given = in_order_of_lava(np.load(request["inputs"]), tuple(net.inp.shape))
            source = RingBuffer(data=np.moveaxis(given, 0, -1).astype(np.int32))
            source.s_out.connect(net.inp)
        configuration = Loihi1SimCfg(
            select_tag="fixed_pt",
            exception_proc_model_map={
                LIF: lava_worker.RecordedLif,
                LIFReset: lava_worker.RecordedLifReset,
                **convolution_model(),
                **blocks,
            },
        )
        lava_worker.sign_of_life()
        for done in range(0, ticks, STEPS_AT_ONCE):
            net.run(condition=RunSteps(num_steps=min(STEPS_AT_ONCE, ticks - done)), run_cfg=configuration)
            lava_worker.sign_of_life()
        results = {}
        for k, (files, _) in enumerate(records):
            for kind, path in files.items():
                found = np.load(path)[:, 0]
                results[f"{kind}_{k}"] = found.transpose(0, *reversed(range(1, found.ndim))).reshape(ticks, -1)
        np.savez(output, **results)
        net.stop()


if __name__ == "__main__":
    try:
        main()
    except BaseException:  # in any case, or Lava's processes and this one would wait for each other for ever
        for child in lava_worker.multiprocessing.active_children():
            child.kill()
        raise
