"""Runs a NIR file in a tool that reads NIR, tick by tick, and writes what every neuron node gave.

    python worker.py READER JOBS.json
    python worker.py READER --check PACKAGE...

This file is a script of its own. It runs in the Python that has the tool, which need not have muspike. A job is a list:
the NIR file, the `.npy` of its inputs `[ticks, batch, size]`, and the `.npz` of its outputs. That holds float32
`[ticks, batch, size]`: for each neuron node i of the graph `out_<i>`, and `mem_<i>` if the tool shows the membrane;
`final`, what the graph gave; and `names`, a JSON list.

On stdout it prints `versions`, or a JSON list of objects, one for each job. After an error one holds `stage` (`read`,
`load` or `run`) and `error`, the tool's own. All tools read the file with `nir.read`. A graph that only the check of
types refuses is read without it; `unchecked` is the error of the check. `no_module` names nodes that the tool dropped.
"""

import contextlib
import json
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

# No file beside this one may be found in place of a module that a tool imports.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

import nir  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

NEURONS = ("LIF", "CubaLIF", "IF", "LI", "CubaLI", "I", "Threshold")
Step = Callable[[torch.Tensor, Any], tuple[Any, Any]]


def snntorch(graph: Any, batch: int) -> Any:
    from snntorch.import_nir import import_from_nir

    return import_from_nir(graph)


def spikingjelly(graph: Any, batch: int) -> Any:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return import_from_nir(graph)


def sinabs(graph: Any, batch: int) -> Any:
    from sinabs.nir import from_nir

    return from_nir(graph, batch_size=batch)


def norse(graph: Any, batch: int) -> Any:
    from norse.torch.utils.import_nir import from_nir

    return from_nir(graph)


def nirtorch(graph: Any, batch: int) -> Any:
    import nirtorch

    return nirtorch.nir_to_torch(graph, {})


def rockpool(graph: Any, batch: int) -> Any:
    from rockpool.nn.modules.torch.nir import from_nir

    return from_nir(graph)


LOADERS = {f.__name__: f for f in (snntorch, spikingjelly, sinabs, norse, nirtorch, rockpool)}
WHOLE_SEQUENCES = ("rockpool",)  # its modules have an axis of time


def module_of(model: Any, name: str) -> Any:
    """The module of a node, under the name that nirtorch gives it; None if the tool made none."""
    plain = name.replace(".", "_")
    for candidate in (plain, f"nir_node_{plain}"):
        found = getattr(model, candidate, None)
        if isinstance(found, torch.nn.Module):
            return found
    return None


def tensors(value: Any) -> list[Any]:
    """The tensors in what a module gives: its output first, then its state."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [t for part in value for t in tensors(part)]
    return []


def run(reader: str, path: str, inputs: Any, note: dict[str, Any]) -> dict[str, Any]:
    """Load and run a file; `note` says how far it came."""
    note["stage"] = "read"
    try:
        graph: Any = nir.read(path)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        note["unchecked"] = f"{type(error).__name__}: {error}".splitlines()[0]
        graph = nir.read(path, type_check=False)
    entry = [node for node in graph.nodes.values() if type(node).__name__ == "Input"]
    if len(entry) != 1:
        raise ValueError(f"{len(entry)} inputs")
    shape = [int(n) for n in np.ravel(next(iter(entry[0].input_type.values())))]
    names = [name for name, node in graph.nodes.items() if type(node).__name__ in NEURONS]
    final = [name for name, node in graph.nodes.items() if type(node).__name__ == "Output"]
    ticks, batch, size = inputs.shape
    while len(shape) > 1 and int(np.prod(shape)) != size:  # some tools put dimensions of batch and time first
        shape = shape[1:]
    note["stage"] = "load"
    model = LOADERS[reader](graph, batch)
    if model is None:
        raise ValueError(f"{reader} gives no module for the graph")
    recorded: dict[str, list[Any]] = {}
    for i, name in enumerate(names):
        module = module_of(model, name)
        if module is None:
            note.setdefault("no_module", []).append(name)
            continue

        def keep(module: Any, given: Any, value: Any, i: int = i) -> None:
            found = tensors(value)
            recorded.setdefault(f"out_{i}", []).append(found[0].detach().numpy().copy())
            held = getattr(module, "mem", None)
            membrane = held if isinstance(held, torch.Tensor) else found[-1] if len(found) > 1 else None
            if membrane is not None and membrane.shape == found[0].shape:
                recorded.setdefault(f"mem_{i}", []).append(membrane.detach().numpy().copy())

        module.register_forward_hook(keep)
    note["stage"] = "run"
    x = torch.from_numpy(inputs.astype(np.float32)).reshape(ticks, batch, *shape)
    with torch.no_grad():
        if reader in WHOLE_SEQUENCES:
            recorded = {}
            value = tensors(model(x.transpose(0, 1).reshape(batch, ticks, -1)))[0]
            last = value.detach().numpy().swapaxes(0, 1)[:, None]
            recorded = {key: [a.swapaxes(0, 1) for a in arrays] for key, arrays in recorded.items()}
            results = {key: arrays[0] for key, arrays in recorded.items()}
            results["final"] = last.reshape(ticks, batch, -1)
        else:
            state, finals = None, []
            for t in range(ticks):
                value, state = model(x[t], state) if t else split(model(x[t]))
                finals.append(tensors(value)[0].detach().numpy().copy())
                print(f"tick {t}", file=sys.stderr)
            results = {key: np.stack(arrays) for key, arrays in recorded.items()}
            results["final"] = np.stack(finals)
    results = {key: array.reshape(ticks, batch, -1).astype(np.float32) for key, array in results.items()}
    results["names"] = np.array(json.dumps([*names, *final]))
    return results


def split(value: Any) -> tuple[Any, Any]:
    """What a model gives as (output, state); a model without a state gives only its output."""
    return (value[0], value[-1]) if isinstance(value, tuple) else (value, None)


def main() -> None:
    reader = sys.argv[1]
    if sys.argv[2] == "--check":
        with contextlib.redirect_stdout(sys.stderr):
            LOADERS[reader](nir.NIRGraph.from_list(nir.Affine(np.eye(2, dtype=np.float32), np.zeros(2, np.float32))), 1)
        print(json.dumps({"versions": {name: metadata.version(name) for name in sys.argv[3:]}}))
        return
    warnings.simplefilter("ignore")
    notes = []
    with contextlib.redirect_stdout(sys.stderr):
        for path, inputs, output in json.loads(Path(sys.argv[2]).read_text()):
            note: dict[str, Any] = {}
            torch.manual_seed(0)
            try:
                results = run(reader, path, np.load(inputs), note)
            except Exception as error:  # whatever the tool says is the answer
                traceback.print_exc()
                line = str(error).strip().splitlines()
                note["error"] = f"{type(error).__name__}: {line[0] if line else ''}".strip()
            else:
                del note["stage"]
                np.savez(output, **results)
            notes.append(note)
    print(json.dumps(notes))


if __name__ == "__main__":
    main()
