"""Seconds and memory of one training step: muspike beside the same network in Norse, snnTorch and SpikingJelly.

    python bench/versus/training.py

The contestants take turns, round after round, in one run of one process. A step is a forward pass, the cross entropy of
the readout and a backward pass, in float32 on the CPU; the weights do not change. Before anything is timed, every
contestant must give muspike's spikes and gradients for the same weights: with ATan surrogate (alpha 2) and a hard reset
to 0 that passes no gradient.

All contestants step through the ticks in which a population can spike and skip the idle ticks. They take the seven-hot
input of a token as a gather of seven rows, and answer once per token. `bench/versus/peers/` holds the peers.

Memory is that of one step in a fresh process. "Tensors" is the most bytes that torch's allocator had given out at once,
from its profiler; it is the same every time. "Process" is how far the step raised the process's address space (on
Linux: VmPeak after the step minus VmSize before it). It counts all allocators, and the holes that many small tensors
leave in the heap.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import importlib
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import torch
from peers import ByPopulation, ByTick, Peer
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from muspike import architectures
from muspike.errors import Failed, MuspikeError
from muspike.network import Network
from muspike.tokens import N_AXONS, SIZES
from muspike.training import with_held_memory

PEERS = {"norse": "NorseNeurons", "snntorch": "SnnTorchNeurons", "spikingjelly": "SpikingJellyNeurons"}
# How muspike's presets train: with dense products of the backward pass in bfloat16, and everything else in float32.
OURS_LOW = "muspike bf16"
SEED = 0
# A rounding error near the threshold moves a spike and later spikes. If that happens often, the networks differ.
MOST_SPIKES_DIFFERENT = 1e-3
MOST_GRADIENT_DIFFERENT = {"spikes equal": 1e-4, "spikes moved": 0.1}


@dataclass(frozen=True)
class Case:
    """A network of ours, and the excerpt of one step.

    Attributes:
        about: the network in words.
        architecture: its architecture.
        settings: its settings.
        tokens: tokens per piece of the excerpt.
        batch: pieces in the excerpt.
        peers: how the graph is written in other libraries.
    """

    about: str
    architecture: str
    settings: Mapping[str, Any]
    tokens: int
    batch: int
    peers: type[Peer] = ByPopulation

    def network(self) -> Network:
        torch.manual_seed(SEED)
        network = architectures.build(self.architecture, self.settings)
        assert isinstance(network, Network)
        return network

    def excerpt(self, tokens: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Random words `[tokens, batch, 7]` and random axons to predict, `[tokens * batch]`."""
        random = torch.Generator().manual_seed(SEED)
        shape = (tokens or self.tokens, self.batch)
        words = torch.stack([torch.randint(size, shape, generator=random) for size in SIZES], -1)
        return words, torch.randint(N_AXONS, (shape[0] * shape[1],), generator=random)


# The peers read tokens with the same number of spikes each.
_DEAF: dict[str, Any] = {"hears": []}


def _s_rnn() -> Case:
    preset = architectures.preset("s-rnn", "small")
    tokens, batch = preset["training"]["tokens"], preset["training"]["batch"]
    about = "the preset `small` on words alone: loops of one period, every layer read"
    return Case(about, "s-rnn", preset["network"] | _DEAF, tokens, batch)


def _s_transformer() -> Case:
    preset = architectures.preset("s-transformer", "small")
    about = "the preset `small` on words alone: two blocks of attention with a memory of spikes; gates included"
    # An eighth of a step, because the peers run tick by tick here and take long.
    return Case(about, "s-transformer", preset["network"] | _DEAF, 64, 8, ByTick)


# An S-RNN without loops is a plain stack. The input is the seven-hot token, 466 axons. A graph whose delays are not
# whole periods, or that has loops through several populations, needs `peers.ByTick`.
CASES = {
    "stack": Case(
        "LIF layers 466-256-256-256-466, 512 ticks",
        "s-rnn",
        {"width": 256, "layers": 3, "ticks": 4, "recurrent_delays": ()},
        tokens=128,
        batch=16,
    ),
    "s-rnn": _s_rnn(),
    "s-transformer": _s_transformer(),
}


def contestant(name: str, network: Network, peers: type[Peer]) -> Network | Peer:
    """`network` itself for muspike, else the same network with the neurons of the library `name`, written as `peers`.

    Raises:
        Failed: the library is not installed.
    """
    if name == "muspike":
        return network
    if name == OURS_LOW:
        low = copy.deepcopy(network)
        low.low_precision = True
        return low
    try:
        library = importlib.import_module(f"peers.with_{name}")
    except ModuleNotFoundError as error:
        raise Failed(f"{name}: {error.name} is not installed: pip install 'muspike[peers]'") from error
    return peers(network, getattr(library, PEERS[name]))


def step(
    model: Network | Peer, words: torch.Tensor, wanted: torch.Tensor, record: Sequence[str] = ()
) -> tuple[float, dict[str, torch.Tensor]]:
    """One forward and backward pass: return the loss and the spikes of `record`. The gradients stay in `model`."""
    model.zero_grad(set_to_none=True)
    logits, spikes = model(words, record=record)
    loss = functional.cross_entropy(logits.flatten(0, 1), wanted)
    loss.backward()
    return loss.item(), spikes


def gradients(model: Network | Peer) -> Mapping[str, torch.Tensor]:
    """The gradients of every synapse's weights and of the bias, from the last step."""
    if isinstance(model, Peer):
        return model.gradients()
    parameters = {**model.weights, "bias": model.bias}
    return {name: parameter.grad for name, parameter in parameters.items()}


@dataclass(frozen=True)
class Agreement:
    """How a contestant's step differs from muspike's.

    Attributes:
        loss: absolute difference of the loss.
        spikes: share of the spikes that differ, over neurons and computed ticks.
        gradient: largest difference of a gradient, relative to its norm.
    """

    loss: float
    spikes: float
    gradient: float

    def check(self, name: str) -> None:
        """Refuse a contestant that does not compute the same network.

        Raises:
            Failed: too many spikes or a gradient differ.
        """
        if self.spikes > MOST_SPIKES_DIFFERENT:
            raise Failed(f"{name}: {self.spikes:.2g} of its spikes are not muspike's, above {MOST_SPIKES_DIFFERENT}")
        limit = MOST_GRADIENT_DIFFERENT["spikes moved" if self.spikes else "spikes equal"]
        if not self.gradient <= limit:
            raise Failed(f"{name}: a gradient differs from muspike's by {self.gradient:.2g} of it, above {limit}")


def agreement(network: Network, peer: Peer, words: torch.Tensor, wanted: torch.Tensor) -> Agreement:
    """Compare one step of both. Spikes are compared per neuron and computed tick.

    A composite does not give the spikes of its inner members, and passes gradients through its gates as through
    products, which peers do not. So if the network has a composite, only gradients that come from no gate are compared.
    """
    inner = {member for composite in network.composites for member in composite.members}
    layers = [p.name for p in network.populations.values() if p.kind == "lif" and p.name not in inner]
    loss, spikes = step(network, words, wanted, layers)
    peers_loss, peers_spikes = step(peer, words, wanted, layers)
    different = sum(int((spikes[name] != peers_spikes[name]).sum()) for name in layers)
    ours, theirs = gradients(network), gradients(peer)
    compared = [name for name in ours if not inner or name == "bias" or name.endswith("_to_readout")]
    errors = [float((theirs[name] - ours[name]).norm() / ours[name].norm()) for name in compared]
    return Agreement(
        abs(peers_loss - loss), different / sum(spikes[name].numel() for name in layers), max(errors, key=_nan_first)
    )


def _nan_first(error: float) -> float:
    return error if error == error else float("inf")


def seconds(models: Mapping[str, Network | Peer], case: Case, rounds: int) -> dict[str, list[float]]:
    """Wall times of a step by contestant, one per round. The contestants take turns."""
    words, wanted = case.excerpt()
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            gc.collect()
            start = time.perf_counter()
            step(model, words, wanted)
            times[name].append(time.perf_counter() - start)
            model.zero_grad(set_to_none=True)
    return times


@dataclass(frozen=True)
class Memory:
    """Peaks of one step.

    Attributes:
        tensor_bytes: bytes of all tensors alive.
        process_bytes: bytes by which the process grew; None if the system does not tell.
    """

    tensor_bytes: int
    process_bytes: int | None


def peak_memory(name: str, case: Case) -> Memory:
    """The memory of one step in a fresh process, after a step on a few tokens that loads and compiles what it needs."""
    words, wanted = case.excerpt()
    model = contestant(name, case.network(), case.peers)
    step(model, *case.excerpt(tokens=4))
    model.zero_grad(set_to_none=True)
    process_bytes = process_growth(lambda: step(model, words, wanted))
    model.zero_grad(set_to_none=True)
    return Memory(tensor_bytes(lambda: step(model, words, wanted)), process_bytes)


def tensor_bytes(run: Callable[[], object]) -> int:
    """The most bytes that torch's allocator had given out and not got back at any moment of `run()`."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = run()
    del kept
    found = profiler.profiler.kineto_results.events()  # torch's public interface gives only sums by operator
    changes = sorted((e.start_ns(), e.nbytes()) for e in found if e.name() == "[memory]")
    return max(itertools.accumulate(bytes_ for _, bytes_ in changes), default=0)


def process_growth(run: Callable[[], object]) -> int | None:
    """How much more address space the process has at the peak of `run()` than before it; None if not on Linux.

    Raises:
        Failed: the process had more address space earlier, so that the peak does not show.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory freed before must not hide what is needed now
    before, earlier = _kilobytes(status, "VmSize"), _kilobytes(status, "VmPeak")
    run()
    peak = _kilobytes(status, "VmPeak")
    if peak == earlier:
        raise Failed("the step needs less memory than what came before it; take a larger excerpt")
    return 1024 * (peak - before)


def _kilobytes(status: Path, field: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(f"{field}:"))


def peak_memory_alone(name: str, which: str, threads: int) -> Memory:
    """`peak_memory` in a process of its own."""
    command = [sys.executable, __file__, "--peak-of", name, "--only", which, "--threads", str(threads)]
    # Blocks larger than this go back to the system when they are freed.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise Failed(f"{name}: its process for memory failed: {done.stderr.strip().splitlines()[-1:]}")
    return Memory(**json.loads(done.stdout))


def measure(which: str, case: Case, rounds: int, threads: int) -> dict[str, Any]:
    """Measure all contestants on one network: agreement, seconds, memory."""
    network = case.network()
    models = {name: contestant(name, network, case.peers) for name in ("muspike", OURS_LOW, *PEERS)}
    words, wanted = case.excerpt()
    agreements = {name: agreement(network, m, words, wanted) for name, m in models.items() if isinstance(m, Peer)}
    for name, found in agreements.items():
        found.check(f"{which}, {name}")
    step(network, words, wanted)  # now all contestants are warm
    with with_held_memory():  # for all contestants, as in training
        times = seconds(models, case, rounds)
    rows: dict[str, Any] = {}
    for name in models:
        ratios = [theirs / ours for theirs, ours in zip(times[name], times["muspike"], strict=True)]
        memory = peak_memory_alone(name, which, threads)
        rows[name] = {
            "seconds": statistics.median(times[name]),
            "seconds_of_rounds": times[name],
            "times_muspike": statistics.median(ratios),
            "times_muspike_range": [min(ratios), max(ratios)],
            "peak_tensor_bytes": memory.tensor_bytes,
            "peak_tensor_bytes_per_token": memory.tensor_bytes / (case.tokens * case.batch),
            "peak_process_bytes": memory.process_bytes,
        }
        if name in agreements:
            rows[name] |= {f"{key}_difference": value for key, value in vars(agreements[name]).items()}
    for row in rows.values():
        row["tensor_bytes_times_muspike"] = row["peak_tensor_bytes"] / rows["muspike"]["peak_tensor_bytes"]
    return {"about": case.about, "tokens": case.tokens, "batch": case.batch, "contestants": rows}


def _lines(which: str, result: Mapping[str, Any]) -> Iterator[str]:
    yield f"{which}: {result['about']}; {result['batch']} x {result['tokens']} tokens"
    yield (
        f"  {'':14}{'seconds, median (range)':>28}{'x muspike (range)':>24}"
        f"{'tensors MiB':>13}{'KiB/token':>11}{'x muspike':>11}{'process MiB':>13}{'spikes':>10}{'gradient':>10}"
    )
    for name, row in result["contestants"].items():
        spread = row["seconds_of_rounds"]
        took = f"{row['seconds']:.3f} ({min(spread):.3f}-{max(spread):.3f})"
        low, high = row["times_muspike_range"]
        ratio = f"{row['times_muspike']:.2f} ({low:.2f}-{high:.2f})"
        memory = (
            f"{row['peak_tensor_bytes'] / 2**20:13.1f}{row['peak_tensor_bytes_per_token'] / 2**10:11.2f}"
            f"{row['tensor_bytes_times_muspike']:11.2f}"
        )
        grown = row["peak_process_bytes"]
        grown = "not measured" if grown is None else f"{grown / 2**20:.1f}"
        differs = (
            f"{row['spikes_difference']:10.2g}{row['gradient_difference']:10.2g}" if "loss_difference" in row else ""
        )
        yield f"  {name:14}{took:>28}{ratio:>24}{memory}{grown:>13}{differs}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="timed steps of each contestant (default %(default)s)")
    parser.add_argument("--only", default=",".join(CASES), help="networks, with commas between (default %(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all, %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--peak-of", choices=["muspike", OURS_LOW, *PEERS], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(CASES):
        parser.error(f"--only: {', '.join(sorted(unknown))} is not one of {', '.join(CASES)}")
    if arguments.rounds < 1 or arguments.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    torch.set_num_threads(arguments.threads)
    numba.set_num_threads(min(arguments.threads, numba.config.NUMBA_NUM_THREADS))
    # Decaying gradients end in denormal numbers, which take many times as long. Flush them for all contestants.
    torch.set_flush_denormal(True)
    try:
        if arguments.peak_of:
            print(json.dumps(vars(peak_memory(arguments.peak_of, CASES[chosen[0]]))))
            return 0
        versions = {name: _version(name) for name in ("torch", *PEERS)}
        if not arguments.json:
            print(", ".join(f"{name} {version}" for name, version in versions.items()))
            print(f"{_cpu()}; threads: {arguments.threads}; rounds: {arguments.rounds}, the contestants in turn")
        results = {}
        for name in chosen:
            results[name] = measure(name, CASES[name], arguments.rounds, arguments.threads)
            if not arguments.json:
                print("\n".join(_lines(name, results[name])), flush=True)
    except MuspikeError as error:
        print(f"bench/versus/training.py: {error}", file=sys.stderr)
        return error.exit_status
    if arguments.json:
        setting = {"versions": versions, "threads": arguments.threads, "rounds": arguments.rounds, "cpu": _cpu()}
        print(json.dumps(setting | {"networks": results}, indent=2))
    else:
        print(
            "spikes: share that is not muspike's; gradient: largest difference of a weight matrix, relative to its norm"
        )
    return 0


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError as error:
        raise Failed(f"{library} is not installed: pip install 'muspike[peers]'") from error


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in names if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
