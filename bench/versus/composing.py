"""Words per second of composing: ONNX Runtime beside torch, compiled torch and the integer simulator, in one run.

    python bench/versus/composing.py [MODEL...]

Each contestant steps through the same words, one after another, as the host does when it composes. The contestants
take turns, round after round; the figure is the median of the rounds. Before anything is timed, all executions in
floats must give the same logits (within 1e-4, in float32), and the two executions of the chip's integers exactly.

All use one thread, unless --threads says otherwise. Compiled torch is `torch.compile` of the step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from muspike.checkpoint import Model, load_model
from muspike.errors import Failed
from muspike.export.loihi import ChipRunner, compile_model
from muspike.export.onnx_runner import OnnxFile, OnnxRunner
from muspike.export.targets import export
from muspike.export.words import example_words
from muspike.host import Runner
from muspike.network import Network
from muspike.tables import text_table
from muspike.tokens import Words

CHIP = "loihi2"
WORDS, ROUNDS = 24, 5
TOLERANCE = 1e-4


def contestants(model: Model, folder: Path, threads: int) -> dict[str, Callable[[], Runner]]:
    """What makes a runner of the model, by name."""

    def compiled() -> Runner:
        network = load_model(model.architecture).network
        assert isinstance(network, Network)
        network.tick = torch.compile(network.tick, dynamic=False)  # type: ignore[method-assign]
        return network.runner()

    def onnx(name: str, **options: Any) -> Callable[[], Runner]:
        path = folder / f"{name}.onnx"
        if not path.exists() and not export(model, "onnx", path, 4, chip=CHIP, **options).holds:
            raise Failed(f"{path}: is not equal")
        return lambda: OnnxRunner(OnnxFile(path, threads))

    return {
        "torch": model.network.runner,
        "torch compiled": compiled,
        "ONNX Runtime float64": onnx("float64"),
        "ONNX Runtime float32": onnx("float32", precision="float32"),
        "ONNX Runtime int8": onnx("int8", precision="int8"),
        "simulator (integers)": lambda: ChipRunner(compile_model(model, CHIP).program),
        "ONNX Runtime (integers)": onnx("chip", form="chip"),
    }


def stepped(runner: Runner, words: Words) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The logits of all words, from rest."""
    runner.reset(words.shape[1])
    return np.stack([runner.step(word) for word in words])


def check(logits: Mapping[str, np.ndarray[Any, np.dtype[np.float32]]]) -> None:
    """Refuse to time executions that differ."""
    for name in ("torch compiled", "ONNX Runtime float64", "ONNX Runtime float32"):
        worst = float(np.abs(logits[name] - logits["torch"]).max())
        if worst > TOLERANCE:
            raise Failed(f"{name}: a logit differs by {worst:.1e} from torch's, at most {TOLERANCE:.0e} is allowed")
    if not np.array_equal(logits["simulator (integers)"], logits["ONNX Runtime (integers)"]):
        raise Failed("the integers in ONNX Runtime and in the simulator differ")


def timed(name: str, batch: int, threads: int) -> dict[str, float]:
    """Words per second (of all pieces together) of each contestant."""
    model = load_model(name)
    words = example_words(model, WORDS, batch)
    with tempfile.TemporaryDirectory() as folder:
        runners = {who: make() for who, make in contestants(model, Path(folder), threads).items()}
        check({who: stepped(runner, words) for who, runner in runners.items()})
        seconds: dict[str, list[float]] = {who: [] for who in runners}
        for _ in range(ROUNDS):
            for who, runner in runners.items():
                begun = time.perf_counter()
                stepped(runner, words)
                seconds[who].append(time.perf_counter() - begun)
    return {who: words.shape[0] * batch / statistics.median(all_of) for who, all_of in seconds.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["s-rnn", "s-transformer"])
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 64])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch._dynamo.config.recompile_limit = 256  # a step is compiled anew for every synapse
    versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, Python {platform.python_version()}"
    found = {}
    for name in args.models:
        for batch in args.batch:
            rows = timed(name, batch, args.threads)
            found[f"{name}, batch {batch}"] = rows
            if not args.json:
                print(f"\n{name}, batch {batch}, {args.threads} threads of {os.cpu_count()} cores; {versions}")
                cells = [[who, f"{rate:,.0f}", f"{rate / rows['torch']:.2f}"] for who, rate in rows.items()]
                print("\n".join(text_table(["", "words per second", "torch = 1"], cells)), flush=True)
    if args.json:
        print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
