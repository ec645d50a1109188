"""Hold the counts and prices of muspike against SANA-FE's: the same mapped program, the same spikes, on Loihi 1.

SANA-FE 2.2.9 (GPL-3.0) is only run, in an environment of its own: the Python in MUSPIKE_SANAFE_PYTHON, or one in the
user's cache folder that is made on first use. `peers/run_sanafe.py` runs there, on the architecture file that SANA-FE
ships, and says how spikes are forced.

Each program is placed as muspike placed it, with every synapse that muspike stores. Spikes in the last ticks, whose
synaptic operations would act after the end, are cleared before either tool counts. Then:

- synaptic operations, messages, messages of the host, hops on each axis and spikes must be equal;
- updates must be equal after one thing: SANA-FE updates every neuron that a synaptic event reached since the tick
  before, even if the event has weight 0, has a delay to wait for, or cancels with another. muspike counts an update
  where a state is not 0 or the neuron spikes. How many more updates that makes is computed here, neuron by neuron;
- energy must be equal in each component, but for these updates, and within 5 % in total.

- latency differs, and why is held too: SANA-FE's `simple` model is rebuilt from the same events (`rebuilt_latency`). A
  tick there lasts as long as the core that updates and sends longest, or the core that receives longest, whichever is
  slower, and the barrier. muspike lets a core receive, update and send one after another.

The status is 1 if anything differs.

    python bench/versus/sanafe.py                    the random programs, the convolution and the S-RNN
    python bench/versus/sanafe.py --freeze           writes the results of the small programs to tests/bench/versus
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.cache import cache_folder
from muspike.checkpoint import load_model
from muspike.errors import Failed
from muspike.export import environments
from muspike.export.loihi import ChipRunner, compile_model
from muspike.export.words import example_words
from muspike.hardware import Simulator, count, load_chip, price
from muspike.hardware import weights as w
from muspike.hardware.cost.activity import Counts
from muspike.hardware.cost.energy import Energy
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.simulator.events import Run
from muspike.hardware.weights import Conv, Sparse
from muspike.tables import text_table

Array = npt.NDArray[Any]

SANAFE = "sanafe==2.2.9"
REQUIREMENTS = ("numpy==2.4.6", "pyyaml==6.0.3")
VARIABLE = "MUSPIKE_SANAFE_PYTHON"
PATIENCE_S = 600.0
WORKER = Path(__file__).parent / "peers" / "run_sanafe.py"
FROZEN = Path(__file__).parents[2] / "tests" / "bench" / "versus" / "sanafe.json"
LAYOUTS = ("dense", "sparse", "conv")
ENERGY_TOLERANCE = 0.05
WORDS = 16


@dataclass(frozen=True, eq=False)
class Case:
    """A program, and what happens in it.

    Attributes:
        name: what it tries.
        program: the program.
        spikes: uint8 `[ticks, 1, size]` by population.
        counts: what muspike counts from them.
    """

    name: str
    program: Program
    spikes: Mapping[str, Array]
    run: Run
    counts: Counts


def case_of(name: str, program: Program, run: Run) -> Case:
    """A case of a run of one sequence. Spikes that would act after the end are cleared."""
    spikes = {population: fired.copy() for population, fired in run.spikes.items()}
    for fired in spikes.values():
        fired[-program.max_delay :] = 0
    return Case(name, program, spikes, run, count(program, spikes, currents=run.current, membranes=run.membrane))


def populations_on(rng: np.random.Generator, cores: int, sizes: Mapping[str, tuple[str, int]]) -> list[ChipPopulation]:
    """Populations whose neurons lie on random cores."""
    made = []
    for name, (kind, size) in sizes.items():
        fields: dict[str, Any] = {"du": 3000, "dv": 1000, "v_threshold": 250, "bias_mant": 0, "bias_exp": 0}
        arrays = {key: np.full(size, value) for key, value in fields.items()}
        core = np.full(size, -1) if kind == "input" else rng.integers(0, cores, size)
        made.append(ChipPopulation(name, size, kind, 0, **arrays, scale=np.ones(size), core=core))  # type: ignore[arg-type]
    return made


def even(rng: np.random.Generator, *shape: int, filled: float = 1.0) -> Array:
    """Random even weights, of which a part is 0."""
    weight = 2 * rng.integers(-40, 60, shape)
    return np.asarray(np.where(rng.random(shape) < filled, weight, 0), np.int16)


def random_programs() -> dict[str, Program]:
    """Small programs, one for each kind of list and one with all kinds, on cores of several tiles."""
    rng = np.random.default_rng(0)
    places = np.array([[0, 0], [0, 0], [3, 0], [0, 2], [5, 3], [5, 3]])

    def program(populations: Sequence[ChipPopulation], synapses: Sequence[ChipSynapses]) -> Program:
        return Program("loihi1", 1e-3, populations, synapses, places)

    def synapses(name: str, ends: tuple[str, str], weight: Any, delay: int = 1, sparse: bool = False) -> ChipSynapses:
        return ChipSynapses(name, *ends, weight, 2, delay, sparse)

    layers = {"in": ("input", 20), "a": ("lif", 40), "b": ("lif", 30), "out": ("li", 5)}
    image = {"in": ("input", 2 * 7 * 6), "a": ("lif", 4 * 4 * 6), "b": ("lif", 10)}
    conv = Conv(even(rng, 4, 2, 3, 2, filled=0.8), (2, 7, 6), (4, 4, 6), stride=(2, 1), padding=(1, 0))
    kernel = Conv(even(rng, 4, 2, 3, 3), (4, 4, 6), (4, 4, 6), padding=(1, 1), groups=2)
    return {
        "dense": program(
            populations_on(rng, 6, layers),
            [
                synapses("1", ("in", "a"), even(rng, 40, 20)),
                synapses("2", ("a", "b"), even(rng, 30, 40, filled=0.5)),
                synapses("3", ("b", "out"), even(rng, 5, 30)),
            ],
        ),
        "sparse": program(
            populations_on(rng, 6, layers),
            [
                synapses("1", ("in", "a"), Sparse.of(even(rng, 40, 20, filled=0.3))),
                synapses("2", ("a", "b"), even(rng, 30, 40, filled=0.2), sparse=True),
                synapses("3", ("b", "a"), Sparse.of(even(rng, 40, 30, filled=0.1))),
            ],
        ),
        "convolution": program(
            populations_on(rng, 6, image),
            [
                synapses("1", ("in", "a"), conv),
                synapses("2", ("a", "a"), kernel, 2),
                synapses("3", ("a", "b"), even(rng, 10, 96)),
            ],
        ),
        "several delays": program(
            populations_on(rng, 6, layers),
            [
                synapses("1", ("in", "a"), even(rng, 40, 20)),
                synapses("2", ("in", "a"), even(rng, 40, 20, filled=0.4), 5, True),
                synapses("3", ("a", "b"), even(rng, 30, 40), 9),
                synapses("4", ("b", "a"), even(rng, 40, 30, filled=0.3), 3, True),
            ],
        ),
        "all kinds of lists": program(
            populations_on(rng, 6, image | {"out": ("li", 7)}),
            [
                synapses("1", ("in", "a"), conv),
                synapses("2", ("in", "b"), even(rng, 10, 84, filled=0.2), sparse=True),
                synapses("3", ("a", "b"), even(rng, 10, 96)),
                synapses("4", ("b", "a"), even(rng, 96, 10, filled=0.3), 4, True),
                synapses("5", ("b", "out"), even(rng, 7, 10)),
            ],
        ),
    }


def small_cases() -> list[Case]:
    """The random programs on random spikes."""
    rng = np.random.default_rng(1)
    cases = []
    for name, program in random_programs().items():
        (population,) = program.inputs
        given = (rng.random((40, 1, population.size)) < 0.1).astype(np.uint8)
        cases.append(case_of(name, program, Simulator(program).run(given, record_membranes=True)))
    return cases


def shipped_case(name: str = "s-rnn", words: int = WORDS) -> Case:
    """A model that comes with muspike, on words that it composed."""
    model = load_model(name)
    program = compile_model(model, "loihi1").program
    _, run = ChipRunner(program).run(example_words(model, words, batch=1)[:words], record_membranes=True)
    return case_of(f"{name}, {words} words", program, run)


def network_of(case: Case) -> tuple[dict[str, Array], int]:
    """The arrays that `run_sanafe.py` reads, and how many more updates SANA-FE makes than muspike counts.

    A neuron of the host stands once for each tile that it reaches.
    """
    program, mesh = case.program, load_chip(case.program.chip).mesh
    tiles = program.core_xy[:, 0] * mesh.tiles_y + program.core_xy[:, 1]  # SANA-FE counts tiles column by column
    slot = np.array([np.count_nonzero(tiles[:core] == tile) for core, tile in enumerate(tiles)])
    mapped = [p for p in program.populations if p.kind != "input"]
    first = dict(zip([p.name for p in mapped], np.cumsum([0, *(p.size for p in mapped)])[:-1], strict=True))
    core = np.concatenate([p.core for p in mapped])
    ticks = len(next(iter(case.spikes.values())))

    def fired(population: ChipPopulation) -> Array:
        silent = np.zeros((ticks, population.size), bool)
        return silent if population.kind == "li" else case.spikes[population.name][:, 0] != 0

    spikes = np.concatenate([fired(p) for p in mapped], axis=1)
    states = [(case.run.current[p.name] != 0) | (case.run.membrane[p.name] != 0) for p in mapped]
    state = np.concatenate([moved[:, 0] for moved in states], axis=1)
    active = state | np.concatenate([np.zeros_like(state[:1]), state[:-1]]) | spikes
    hosts: dict[tuple[str, int, int], int] = {}
    pre, post, kinds = [], [], []
    for s in program.synapses:
        source, sources, targets = program.population(s.source), *ends(s)
        target = first[s.target] + targets
        if source.kind == "input":
            keys = list(zip([s.source] * len(sources), sources.tolist(), tiles[core[target]].tolist(), strict=True))
            pre.append(np.array([core.size + hosts.setdefault(key, len(hosts)) for key in keys], np.int64))
        else:
            pre.append(first[s.source] + sources)
        post.append(target)
        kinds.append(np.full(len(target), LAYOUTS.index(s.layout)))
    given = [fired(program.population(name))[:, [neuron]] for name, neuron, _ in hosts]
    network = {
        "width": np.array(mesh.tiles_x),
        "height": np.array(mesh.tiles_y),
        "tile": tiles,
        "slot": slot,
        "neuron_core": core,
        "host_tile": np.array([tile for _, _, tile in hosts], np.int64),
        "pre": np.concatenate(pre),
        "post": np.concatenate(post),
        "kind": np.concatenate(kinds),
        "spikes": np.concatenate([spikes, *given], axis=1),
        "active": active,
    }
    return network, int(np.count_nonzero(updates_of(network) & ~active))


def ends(synapses: ChipSynapses) -> tuple[Array, Array]:
    """The source and the target of every synapse that synaptic memory stores."""
    weight = synapses.weight
    if synapses.layout == "conv":
        taps = w.unrolled(weight)
        return taps.sources, np.asarray(taps.targets)
    if synapses.layout == "dense":
        targets, sources = np.indices(weight.shape)
        return sources.ravel(), targets.ravel()
    targets, sources = np.nonzero(w.dense(weight))
    return sources, targets


def rebuilt_latency(network: Mapping[str, Array], chip: str) -> float:
    """The latency in ns that SANA-FE's `simple` model has for a network, by its source, schedule.cpp.

    A message is received in the tick in which it is sent. The barrier is that of the largest published number of tiles
    that is not above the tiles in use.
    """
    costs = load_chip(chip).cost_set("fitted")
    ns = {name: constant.value for name, constant in costs.latency.items()}
    neurons, cores = len(network["neuron_core"]), len(network["tile"])
    spikes, target = network["spikes"].astype(float), network["neuron_core"][network["post"]]
    receiving = np.zeros((spikes.shape[1], cores))
    np.add.at(receiving, (network["pre"], target), np.array([ns[f"synop_{k}"] for k in LAYOUTS])[network["kind"]])
    reached = np.zeros((spikes.shape[1], cores), bool)
    reached[network["pre"], target] = True
    receiving += reached * ns["spike_in"]
    on_core = np.eye(cores)[network["neuron_core"]]
    sending = ns["neuron_spike"] + ns["message_out"] * reached[:neurons].sum(1)
    busy = ns["neuron_access"] * on_core.sum(0)
    busy = busy + (ns["neuron_update"] * updates_of(network) + sending * spikes[:, :neurons]) @ on_core
    used = len(np.unique(network["tile"][network["neuron_core"]]))
    barrier = max((row for row in costs.barrier if row.tiles <= used), key=lambda row: row.tiles)
    ticks = np.maximum(busy.max(1), (spikes @ receiving).max(1)) + barrier.latency.value
    return float(ticks.sum())


def updates_of(network: Mapping[str, Array]) -> Array:
    """Where SANA-FE updates a neuron, `[ticks, neurons]`: as muspike, and where an event came in the tick before."""
    reached = np.zeros(network["active"].shape, bool)
    sources = network["pre"]
    for tick in range(1, len(reached)):
        reached[tick, network["post"][network["spikes"][tick - 1, sources]]] = True
    return np.asarray(network["active"] | reached)


def run_sanafe(network: Mapping[str, Array], timing: str, python: Path | None = None) -> dict[str, Any]:
    """What SANA-FE counts and prices.

    Raises:
        Failed: no Python can run SANA-FE, or it stopped with an error.
    """
    interpreter = python or find_python()
    with tempfile.TemporaryDirectory(prefix="muspike-sanafe-") as folder:
        given, written = Path(folder) / "network.npz", Path(folder) / "output.json"
        np.savez(given, **network)
        arguments = [str(given), str(written), timing]
        environments.run_worker(interpreter, WORKER, arguments, "SANA-FE", PATIENCE_S, "give it fewer ticks")
        found: dict[str, Any] = json.loads(written.read_text())
    return found


def find_python() -> Path:
    """A Python that has SANA-FE: the one that MUSPIKE_SANAFE_PYTHON names, else one in the cache, made if need be.

    Raises:
        Failed: the environment cannot be made.
    """
    if given := os.environ.get(VARIABLE):
        return environments.checked(given)
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    target = cache_folder() / f"{SANAFE.replace('==', '-')}-{version}"
    cached = target / environments.PYTHON_IN_ENVIRONMENT
    if os.access(cached, os.X_OK):
        return cached
    print(f"muspike: making the environment for {SANAFE} in {target} (once, 85 MB)", file=sys.stderr, flush=True)
    way_out = f"or name a Python that has it in {VARIABLE}"
    steps = (["--no-deps", "--only-binary=:all:", SANAFE], ["--only-binary=:all:", *REQUIREMENTS])

    def install(environment: Path) -> None:
        environments.install(environment, SANAFE, steps, way_out, way_out)

    def check(python: Path) -> None:
        script = Path(python).parents[1] / "check.py"
        script.write_text("import sanafe, yaml\n")
        environments.run_worker(python, script, [], "SANA-FE", PATIENCE_S, way_out)

    return environments.make(target, SANAFE, install, check, way_out)


def ours(case: Case) -> dict[str, int]:
    """The counts of muspike under the names of this script."""
    counts = case.counts
    return {
        "synaptic operations": int(counts.synops.sum()),
        "neuron accesses": int(counts.neuron_updates.sum()),
        "updates": int(counts.active_updates.sum()),
        "spikes": int(counts.neuron_spikes.sum()),
        "messages": int(counts.messages_out.sum()),
        "messages of the host": int(counts.host_messages.sum()),
        "hops east-west": int(counts.hops_x.sum()),
        "hops north-south": int(counts.hops_y.sum()),
    }


def theirs(found: Mapping[str, Any], case: Case) -> dict[str, int]:
    """SANA-FE's counts under the same names, without what its input neurons add."""
    host_spikes = int(found["host_spikes"])
    return {
        "synaptic operations": found["spikes"],
        # It counts no accesses. Its soma energy, less that of updates and spikes, is their number at the price of one.
        "neuron accesses": accesses(found, case),
        "updates": found["neurons_updated"] - host_spikes,
        "spikes": found["neurons_fired"] - host_spikes,
        "messages": found["packets_sent"] - found["host_packets"],
        "messages of the host": found["host_packets"],
        "hops east-west": found["hops_x"],
        "hops north-south": found["hops_y"],
    }


def accesses(found: Mapping[str, Any], case: Case) -> int:
    prices = load_chip(case.program.chip).cost_set("fitted").energy
    host_spikes = found["host_spikes"]
    updates, fired = (found[name] - host_spikes for name in ("neurons_updated", "neurons_fired"))
    soma = found["energy"]["soma"] * 1e12
    rest = soma - updates * prices["neuron_update"].value - fired * prices["neuron_spike"].value
    return round(rest / prices["neuron_access"].value)


def energies(energy: Energy) -> dict[str, float]:
    """The energy of muspike by SANA-FE's components, in pJ."""
    parts = {"synapse": 0.0, "soma": 0.0, "network": 0.0}
    for row in energy.rows:
        if row.energy is not None and row.count is not None:
            kind = "synapse" if row.name.startswith("synaptic") else None
            kind = kind or ("network" if row.name.startswith(("messages", "hops", "axon")) else "soma")
            parts[kind] += row.energy.value
    return parts | {"total": energy.dynamic.value}


@dataclass(frozen=True)
class Compared:
    """A case in both tools.

    Attributes:
        ours, theirs: counts by name.
        more_updates: the updates that SANA-FE is to count on top of ours.
        energy_ours, energy_theirs: pJ by component.
        latency_ours, latency_simple, latency_detailed: ns of the run.
        latency_rebuilt: what `rebuilt_latency` says for `latency_simple`.
    """

    name: str
    ours: Mapping[str, int]
    theirs: Mapping[str, int]
    more_updates: int
    energy_ours: Mapping[str, float]
    energy_theirs: Mapping[str, float]
    latency_ours: float
    latency_simple: float
    latency_detailed: float
    latency_rebuilt: float

    @property
    def wrong(self) -> list[str]:
        """What is not as it must be, in words."""
        found = []
        for name, number in self.ours.items():
            due = number + (self.more_updates if name == "updates" else 0)
            if self.theirs[name] != due:
                found.append(f"{self.name}: {name}: SANA-FE has {self.theirs[name]:,}, expected {due:,}")
        more = self.more_updates * load_chip("loihi1").cost_set("fitted").energy["neuron_update"].value
        for name, value in self.energy_ours.items():
            due = value + (more if name in ("soma", "total") else 0)
            if not np.isclose(self.energy_theirs[name], due, rtol=1e-6, atol=1e-3):
                found.append(f"{self.name}: {name} energy: SANA-FE has {self.energy_theirs[name]}, expected {due} pJ")
            if abs(self.energy_theirs[name] - value) > ENERGY_TOLERANCE * value:
                found.append(f"{self.name}: {name} energy differs by more than {ENERGY_TOLERANCE:.0%}")
        if not np.isclose(self.latency_simple, self.latency_rebuilt, rtol=1e-6):
            found.append(f"{self.name}: latency: SANA-FE has {self.latency_simple}, expected {self.latency_rebuilt} ns")
        return found


def compared(
    case: Case, results: Mapping[str, Mapping[str, Any]], network: Mapping[str, Array], more_updates: int
) -> Compared:
    """Compare a case, with its network and updates of `network_of`, with SANA-FE's results by timing model."""
    energy = price(case.counts, case.program.chip, "fitted")
    detailed = results["detailed"]
    return Compared(
        case.name,
        ours(case),
        theirs(detailed, case),
        more_updates,
        energies(energy),
        {name: detailed["energy"][name] * 1e12 for name in ("synapse", "soma", "network", "total")},
        energy.latency.value,
        results["simple"]["sim_time"] * 1e9,
        detailed["sim_time"] * 1e9,
        rebuilt_latency(network, case.program.chip),
    )


def results_of(network: Mapping[str, Array], python: Path | None = None) -> dict[str, dict[str, Any]]:
    """SANA-FE's results by timing model."""
    host_spikes = int(network["spikes"][:, len(network["neuron_core"]) :].sum())
    found = {timing: run_sanafe(network, timing, python) for timing in ("simple", "detailed")}
    return {timing: result | {"host_spikes": host_spikes} for timing, result in found.items()}


def report(found: Sequence[Compared]) -> None:
    rows = []
    for one in found:
        for name, number in one.ours.items():
            note = f"{one.more_updates:,} more" if name == "updates" else ""
            rows.append([one.name, name, f"{number:,}", f"{one.theirs[name]:,}", note])
    print("\n".join(text_table(("program", "count", "muspike", "SANA-FE", "due"), rows, (0, 1))))
    print()
    rows = []
    for one in found:
        for name, value in one.energy_ours.items():
            change = one.energy_theirs[name] / value - 1 if value else 0.0
            rows.append([one.name, name, f"{value:,.1f}", f"{one.energy_theirs[name]:,.1f}", f"{change:+.3%}"])
    print("\n".join(text_table(("program", "energy, pJ", "muspike", "SANA-FE", "change"), rows, (0, 1))))
    print()
    rows = []
    for one in found:
        times = (one.latency_ours, one.latency_simple, one.latency_rebuilt, one.latency_detailed)
        rows.append([one.name, *(f"{ns / 1e3:,.2f}" for ns in times)])
    titles = ("latency, us", "muspike", "SANA-FE simple", "rebuilt from muspike's counts", "SANA-FE detailed")
    print("\n".join(text_table(titles, rows)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--freeze", action="store_true", help=f"write the small programs' results to {FROZEN.name}")
    parser.add_argument("--words", type=int, default=WORDS, help="words that the S-RNN reads (default %(default)s)")
    arguments = parser.parse_args()
    cases, frozen, found = small_cases(), {}, []
    for case in [*cases, shipped_case(words=arguments.words)]:
        network, more = network_of(case)
        results = results_of(network)
        found.append(compared(case, results, network, more))
        if case in cases:
            frozen[case.name] = {"digest": case.program.digest, "more_updates": more, **results}
    report(found)
    if arguments.freeze:
        FROZEN.write_text(json.dumps(frozen, indent=1) + "\n")
    wrong = [line for one in found for line in one.wrong]
    print()
    print("\n".join(wrong) or "every count is as it must be, and every energy within 5 %")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"sanafe: {error}")
