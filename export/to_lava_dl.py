"""Export a network as a lava-dl network (`.net`, HDF5), proved in Lava as lava-dl's own reader reads it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from muspike.errors import BadInput, one_line
from muspike.export import lava_runner
from muspike.export.lava_dl_layers import layers_of
from muspike.export.netx_runner import find_lava_dl, run_netx
from muspike.export.recording import Recording, Spikes
from muspike.export.references import chip_reference
from muspike.export.subject import Stimulus, Subject
from muspike.export.targets import Options
from muspike.export.verify import Judgement

ABOUT = "muspike"
"""The attribute of the file that names the populations and says what lava-dl's reader is to be given, as JSON."""


def write(subject: Subject, path: Path, options: Options) -> Mapping[str, Any]:
    """Write the network; see `targets.Exporter`. What its receipt holds, lava-dl's reader is to be given."""
    program = subject.program(options["chip"])
    found = layers_of(program)
    find_lava_dl()
    lava_runner.find_lava_python(options["python"])
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file["simulation/Ts"] = 1000 * program.dt_s
        file.attrs[ABOUT] = json.dumps({"names": list(found.names), "options": found.options})
        for number, layer in enumerate(found.layers):
            for field, value in layer.items():
                if field == "neuron":
                    for name, content in value.items():
                        file[f"layer/{number}/neuron/{name}"] = content
                else:
                    file[f"layer/{number}/{field}"] = np.array([value], "S10") if field == "type" else value
    path.write_bytes(data.getvalue())
    return found.options


def judgement(subject: Subject, options: Options) -> Judgement:
    """See `targets.Exporter`. Lava runs one sequence."""
    return Judgement("the integer simulator", "lava-dl 0.6.0's reader in Lava 0.10.0 (spikes and v)", batch=1)


def expect(subject: Subject, stimulus: Stimulus, options: Options) -> Recording:
    """See `targets.Exporter`. Of the states, v is compared."""
    found = chip_reference(subject.program(options["chip"]), stimulus.spikes)
    return Recording(found.spikes, {}, found.membrane)


def run(path: Path, inputs: Spikes, options: Options) -> Recording:
    """See `targets.Exporter`: the file as `lava.lib.dl.netx.hdf5.Network` reads it."""
    if inputs.shape[1] != 1:
        raise BadInput(f"{path}: lava-dl's reader runs one sequence, and there are {inputs.shape[1]}")
    try:
        with h5py.File(path) as file:
            about = json.loads(file.attrs[ABOUT])
            names, given = [str(name) for name in about["names"]], {k: int(v) for k, v in about["options"].items()}
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"{path}: is no .net that muspike wrote, or is damaged: {one_line(error)}") from error
    result = run_netx(path, len(inputs), inputs[:, 0], options=given, python=options["python"])
    if len(result.spikes) != len(names):
        raise BadInput(f"{path}: lava-dl's reader makes {len(result.spikes)} layers of it; it names {len(names)}")
    membrane = {name: v[:, None] for name, v in zip(names, result.membrane, strict=True)}
    return Recording({name: s[:, None] for name, s in zip(names, result.spikes, strict=True)}, {}, membrane)
