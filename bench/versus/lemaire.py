"""Freeze what the authors' code of Lemaire et al. 2022 gives for some layers, to test `hardware/cost/lemaire.py`.

The code is `postprocessing/EnergyEstimationMetric.py` in the wheel of qualia-plugin-snn 2.6.0 (AGPL-3.0), which is only
run here. It needs packages for torch and for training that its formulas do not use; they are replaced by empty
modules. A layer is what the formulas read of one: shapes, kernel size, strides, and how many weights and biases it has.

    pip download --no-deps qualia-plugin-snn==2.6.0
    python bench/versus/lemaire.py qualia_plugin_snn-2.6.0-py3-none-any.whl
"""

from __future__ import annotations

import argparse
import json
import sys
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

MEMBER = "qualia_plugin_snn/postprocessing/EnergyEstimationMetric.py"
FROZEN = Path(__file__).parents[2] / "tests" / "hardware" / "cost" / "lemaire.json"
LAYERS: Mapping[str, Mapping[str, Any]] = {
    "dense": {"inputs": 40, "outputs": 25},
    "wide": {"inputs": 700, "outputs": 466},
    "conv": {"input": [2, 9, 8], "output": [5, 7, 7], "kernel": [3, 2], "stride": [1, 1]},
    "strided": {"input": [3, 12, 12], "output": [8, 5, 4], "kernel": [4, 5], "stride": [2, 2]},
}
TICKS = 7


class _Names(type):
    def __getattr__(cls, name: str) -> type:
        return _Anything


class _Anything(metaclass=_Names):
    """Stands for every name that the module imports and the formulas do not use."""

    def __class_getitem__(cls, item: object) -> type[_Anything]:
        return cls


class _Stub(types.ModuleType):
    __path__: list[str] = []  # noqa: RUF012  # of a module, not of a class

    def __getattr__(self, name: str) -> Any:
        if name == "TYPE_CHECKING":
            return False
        return _Anything


def formulas(wheel: Path) -> type[Any]:
    """The class with the formulas."""

    class Finder:
        """Finds a stub for every module that is not there."""

        def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
            if name.split(".")[0] not in ("torch", "qualia_core", "qualia_plugin_snn", "qualia_codegen_core"):
                return None
            return importlib.machinery.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

        def create_module(self, spec: Any) -> Any:
            return _Stub(spec.name)

        def exec_module(self, module: Any) -> None:
            pass

    import importlib.machinery

    sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]
    module = types.ModuleType("lemaire")
    sys.modules["lemaire"] = module  # dataclasses look their module up
    with zipfile.ZipFile(wheel) as archive:
        exec(compile(archive.read(MEMBER), MEMBER, "exec"), vars(module))
    return module.EnergyEstimationMetric  # type: ignore[no-any-return]


def layer_of(given: Mapping[str, Any]) -> Any:
    """A layer as the formulas read it, channels last."""
    if "kernel" not in given:
        shapes = [[(1, given["inputs"])]], [[(1, given["outputs"])]]
        return types.SimpleNamespace(
            input_shape=shapes[0][0],
            output_shape=shapes[1][0],
            kernel=np.zeros((given["inputs"], given["outputs"])),
            bias=np.zeros(given["outputs"]),
            use_bias=True,
        )
    (c_in, *image), (c_out, *made) = given["input"], given["output"]
    return types.SimpleNamespace(
        input_shape=[(1, *image, c_in)],
        output_shape=[(1, *made, c_out)],
        kernel_size=tuple(given["kernel"]),
        strides=tuple(given["stride"]),
        kernel=np.zeros((c_out, c_in, *given["kernel"])),
        bias=np.zeros(c_out),
        use_bias=True,
    )


def energies(metric: Any, layer: Any, kind: str, spikes_in: float, spikes_out: float) -> dict[str, dict[str, float]]:
    """The code's energies in pJ per inference, by the code's own names, for both networks.

    `spikes_in` and `spikes_out` are spikes per inference.
    """

    def ram(words: int) -> float:
        return float(metric._e_ram(words, metric._mem_width))

    rate_in = spikes_in / np.prod(layer.input_shape[0][1:])
    rate_out = spikes_out / np.prod(layer.output_shape[0][1:])
    snn = {
        "mem_pot": getattr(metric, f"_e_rdpot_{kind}_snn")(layer, rate_in, TICKS, ram)
        + getattr(metric, f"_e_wrpot_{kind}_snn")(layer, rate_in, TICKS, ram),
        "mem_weights": getattr(metric, f"_e_rdweights_{kind}_snn")(layer, rate_in, ram),
        "mem_bias": getattr(metric, f"_e_rdbias_{kind}_snn")(layer, TICKS, ram),
        "mem_io": metric._e_rdin_snn(layer, rate_in, ram) + metric._e_wrout_snn(layer, rate_out, ram),
        "ops": getattr(metric, f"_e_ops_{kind}_snn")(layer, rate_in, rate_out, TICKS, True),
        "addr_macs": getattr(metric, f"_mac_addr_{kind}_snn")(*([layer, rate_in] if kind == "conv" else [layer])),
        "addr_adds": getattr(metric, f"_acc_addr_{kind}_snn")(layer, rate_in),
    }
    fnn = {
        "mem_weights": getattr(metric, f"_e_rdweights_{kind}_fnn")(layer, ram),
        "mem_bias": getattr(metric, f"_e_rdbias_{kind}_fnn")(layer, ram),
        "mem_io": getattr(metric, f"_e_rdin_{kind}_fnn")(layer, ram)
        + getattr(metric, f"_e_wrout_{kind}_fnn")(layer, ram),
        "ops": getattr(metric, f"_e_ops_{kind}_fnn")(layer),
        "addr_adds": getattr(metric, f"_acc_addr_{kind}_fnn")(layer),
    }
    return {"snn": {k: float(v) for k, v in snn.items()}, "fnn": {k: float(v) for k, v in fnn.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="qualia_plugin_snn-2.6.0-py3-none-any.whl")
    metric_of, found = formulas(parser.parse_args().wheel), []
    for width in (32, 8):
        metric = metric_of.__new__(metric_of)
        metric._mem_width, metric._fifo_size, metric._sram_estimation_type = width, 0, None
        metric._set_energy_values(width, None)
        for name, given in LAYERS.items():
            kind, layer = "conv" if "kernel" in given else "fc", layer_of(given)
            spikes_in, spikes_out = 31.0, 17.0
            found.append(
                {
                    "layer": name,
                    **given,
                    "width": width,
                    "spikes_in": spikes_in,
                    "spikes_out": spikes_out,
                    "ticks": TICKS,
                }
                | energies(metric, layer, kind, spikes_in, spikes_out)
            )
    FROZEN.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{FROZEN}: {len(found)} layers")


if __name__ == "__main__":
    main()
