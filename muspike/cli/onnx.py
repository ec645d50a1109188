"""What `generate` and `simulate` do with an ONNX file. Nothing here imports torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from muspike.cli.options import refuse_unused
from muspike.cli.output import say, say_json, waiting
from muspike.tables import text_table

if TYPE_CHECKING:
    from muspike.export.onnx_runner import OnnxFile, OnnxRunner
    from muspike.hardware.running.spikes import InputSpikes

SUFFIX = ".onnx"


def is_onnx(file: str | Path) -> bool:
    """Whether a network is given as an ONNX file."""
    return Path(file).suffix == SUFFIX


def runner(file: Path) -> OnnxRunner:
    """The file as a runner that composes."""
    with waiting("loading ONNX Runtime"):
        from muspike.export.onnx_runner import OnnxFile, OnnxRunner

        return OnnxRunner(OnnxFile(file))


def simulate(args: argparse.Namespace, spikes: Callable[[OnnxFile], InputSpikes]) -> int:
    """Run an ONNX file on spikes, and tell what fired. `spikes` reads the input that the options ask for.

    An ONNX file does not say on which cores its neurons lie, so nothing is priced.
    """
    why = f"for an ONNX file ({args.file})"
    unused = ("chip", "dt", "reset_every", "scale", "reads_as", "graded", "no_float", "device", "picture", "input_bias")
    refuse_unused(args, why, *unused, "labels", "answer", "decide", "report", "sample", "per_tick", "allow")
    with waiting("loading ONNX Runtime"):
        import numpy as np

        from muspike.export.onnx_runner import OnnxFile
        from muspike.hardware.running.spikes import write_spikes

        file = OnnxFile(args.file)
    given = spikes(file)
    inputs = np.concatenate([given.spikes[name] for name in file.inputs], axis=2)
    if args.random:  # random spikes in the first tick of a word's period are shown as the word would be
        inputs = file.as_shown(inputs)
    run = file.run(inputs)
    if args.output:
        more = {f"{name}.{part}": a for part in ("membrane", "current") for name, a in getattr(run, part).items()}
        shown = {name: given.spikes[name] for name in file.inputs}
        write_spikes(
            args.output, shown | dict(run.spikes), args.events, file.dt_s, more if args.membranes else run.answers
        )
    rows = [
        {"population": name, "neurons": fired.shape[2], "spikes": int(fired.sum()), "rate": float(fired.mean())}
        for name, fired in run.spikes.items()
    ]
    about = {"file": str(args.file), "form": file.form, "ticks": len(inputs), "sequences": inputs.shape[1]}
    if args.json:
        say_json({**about, "dt_s": file.dt_s, "input_spikes": int(inputs.sum()), "populations": rows})
        return 0
    lines = [f"{args.file} ({file.form}) in ONNX Runtime, {len(inputs)} ticks, {inputs.shape[1]} sequences"]
    cells = [[str(r["population"]), f"{r['neurons']:,}", f"{r['spikes']:,}", f"{r['rate']:.4f}"] for r in rows]
    lines += text_table(["population", "neurons", "spikes", "spikes per neuron and tick"], cells)
    lines.append("not priced: an ONNX file does not say on which cores its neurons lie; simulate the chip program")
    say("\n".join(lines))
    return 0
