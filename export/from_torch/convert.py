"""A torch module as a NIR graph, proved against its own forward pass.

`convert` reads the layers of neurons, follows the values between them (`trace`), builds the graph (`graph`) and runs
both: the module in float64, and the graph as `muspike.hardware` reads it. Every spike of every layer must be equal, on
the sample and on random spikes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from muspike.arguments import instance, seconds
from muspike.errors import BadInput, Failed
from muspike.export.from_torch import layers, norse, sinabs, snntorch, spikingjelly
from muspike.export.from_torch.graph import Wired, wire
from muspike.export.from_torch.neuron import Neuron
from muspike.export.from_torch.trace import prepared, recorded, trace
from muspike.export.size import Size, size_of_module
from muspike.hardware import interpreter
from muspike.hardware.graph import SpikingGraph
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.readings import MOST_SPIKES
from muspike.hardware.running.agreement import Exactness, exactness

Array = npt.NDArray[Any]

LIBRARIES = (norse, snntorch, spikingjelly, sinabs)
"""The libraries whose neurons are read."""
ALLOWANCES = {
    "reset": "neurons that fire or reset otherwise than those of a chip fire at most once in a tick and reset to rest",
    "input": "a sample that holds no spikes; the graph is proved on random spikes alone",
}
"""What can be converted though a chip does otherwise, by the name for `allow`."""
RANDOM_RATES = (0.1, 0.5)
"""Spikes per input and tick, of the random inputs that a graph is proved on."""
MEMBRANE_TOLERANCE = 1e-6
"""How far a readout's membrane may be from the module's, relative to the largest of its layer."""


@dataclass(frozen=True)
class Change:
    """What an allowance did to a layer, on the sample.

    Attributes:
        population: the layer.
        neuron_ticks: neurons x ticks x sequences.
        own_spikes: spikes of the module. Each of several in a tick counts.
        converted_spikes: spikes of the converted network.
        different: neuron-ticks in which their numbers differ.
    """

    population: str
    neuron_ticks: int
    own_spikes: int
    converted_spikes: int
    different: int

    @property
    def told(self) -> str:
        """The change in a sentence."""
        return (
            f"{self.population}: {self.own_spikes:,} spikes of the module, {self.converted_spikes:,} as converted; "
            f"{self.different:,} of {self.neuron_ticks:,} neuron-ticks differ"
        )


@dataclass(frozen=True, eq=False)
class Converted:
    """A module as a graph, and what is known about it.

    Attributes:
        graph: the NIR graph. Its metadata hold `dt`, in seconds.
        spikes: the sample as input of the graph, uint8 or uint16 `[ticks, batch, size]`; None: it holds no spikes.
        size: how large the module is.
        proof: for each layer, the module against the graph, on all inputs of the proof. Empty if an allowance changed
            the network.
        changes: what an allowance did on the sample. Empty if none was used.
        own_accuracy, converted_accuracy: share of the labels that the module and the graph answer; None: no labels.
        remarks: what to know, in sentences.
    """

    graph: nir.NIRGraph
    spikes: Array | None
    size: Size
    proof: Sequence[Exactness]
    changes: Sequence[Change] = ()
    own_accuracy: float | None = None
    converted_accuracy: float | None = None
    remarks: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """The conversion as a JSON-able dict, without the graph."""
        return {
            "proof": [row.to_dict() for row in self.proof],
            "changes": [asdict(change) for change in self.changes],
            "own_accuracy": self.own_accuracy,
            "converted_accuracy": self.converted_accuracy,
            "remarks": list(self.remarks),
        }

    @property
    def told(self) -> list[str]:
        """What to know about the conversion, in sentences."""
        lines = list(self.remarks)
        if self.proof:
            fired = sum(row.spikes for row in self.proof)
            compared = sum(row.neuron_ticks for row in self.proof)
            lines.append(
                "nothing fired, so nothing is proved: give a sample on which the module's neurons spike"
                if not fired
                else f"proved against the module in float64: {fired:,} spikes in {compared:,} neuron-ticks of "
                f"{len(self.proof)} layers, all equal"
            )
        lines += [change.told for change in self.changes]
        if self.own_accuracy is not None and self.converted_accuracy is not None:
            lines.append(
                f"accuracy of the module {100 * self.own_accuracy:.1f} %, as converted "
                f"{100 * self.converted_accuracy:.1f} %"
            )
        return lines


class _Driven(nn.Module):
    """Runs a module on a sample: at once, or one tick after the other."""

    def __init__(self, module: nn.Module, per_tick: bool) -> None:
        super().__init__()
        self.net = module
        self.per_tick = per_tick

    def forward(self, sample: torch.Tensor) -> Any:
        if not self.per_tick:
            return self.net(sample)
        stateful = "state" in inspect.signature(type(self.net).forward).parameters
        state, gave = None, []
        for tick in sample:
            out = self.net(tick, state) if stateful else self.net(tick)
            if stateful and isinstance(out, tuple) and len(out) == 2:
                state = out[1]
            gave.append(out)
        return gave


def convert(
    module: nn.Module,
    sample: Any,
    *,
    dt_s: float = 1e-3,
    per_tick: bool = False,
    allow: Collection[str] = (),
    labels: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Converted:
    """Convert a module, and prove it or measure the difference.

    Args:
        module: a torch module with neurons of Norse, snnTorch, SpikingJelly or sinabs. It stays as it is.
        sample: what the module's forward takes, a tensor or an array: spikes, 0 or 1, or whole numbers of them.
        dt_s: the length of a tick, in seconds. It says what a second is; the spikes do not depend on it.
        per_tick: whether forward computes one tick. The sample is then `[ticks, ...]`, and a state that forward returns
            is given to it again.
        allow: names in `ALLOWANCES`.
        labels: whole numbers `[batch]`: the classes of the sample's sequences.
        seed: of the random inputs of the proof.

    Raises:
        BadInput: the module cannot run on a chip; the message names the layer, its setting, and what to do.
        Failed: the graph is not equal to the module; the message names the layer, the tick and the neuron.
    """
    instance("to_nir: module", module, nn.Module, "a torch module")
    seconds("dt_s", dt_s)
    if stranger := next((name for name in allow if name not in ALLOWANCES), None):
        raise BadInput(f"allow: {stranger!r} is not known; known are {', '.join(ALLOWANCES)}")
    given, size = _tensor(sample), size_of_module(module)
    driven = _Driven(module, per_tick)
    neurons = _neurons(driven)
    copied = prepared(driven, lambda made: [neuron.reset() for neuron in _neurons(made).values()])
    neurons = _neurons(copied)

    def fresh() -> nn.Module:
        return prepared(copied, lambda made: [neuron.reset() for neuron in _neurons(made).values()])

    paths = [path for path, part in copied.named_modules() if path in neurons or _is_layer(part)]
    paths = [path for path in paths if not any(path.startswith(f"{neuron}.") for neuron in neurons)]
    try:
        followed = trace(fresh(), fresh, paths, given)
    except BadInput:
        _refuse(neurons, allow)  # which may be why it does not run
        raise
    changed = _refuse({path: neuron for path, neuron in neurons.items() if followed.calls[path]}, allow)
    _refuse_single_calls(followed.calls, neurons, per_tick)
    wired = wire(copied, followed, neurons, tuple(given.shape), dt_s, _shown)
    read = from_nir(wired.graph)
    remarks = [*wired.remarks, *(f"changed: {told}" for told in changed)]
    spikes = _spikes(wired.place.of(given), allow)
    if spikes is not None and spikes.max(initial=0) > 1:
        remarks.append(
            f"the sample holds up to {spikes.max()} spikes of an input in a tick; a chip takes them as graded spikes "
            "(--graded)"
        )
    check = _Check(fresh, neurons, wired, read)
    if changed:
        changes, own, other = check.changes(given, spikes, labels)
        return Converted(wired.graph, spikes, size, (), changes, own, other, remarks)
    generator = torch.Generator().manual_seed(seed)
    inputs = [] if spikes is None else [given]
    inputs += [(torch.rand(given.shape, generator=generator) < rate).to(given.dtype) for rate in RANDOM_RATES]
    rows = check.proof(inputs)
    silent = [row.population for row in rows if not row.spikes and wired.judged[row.population][0] in neurons]
    silent = [name for name in silent if neurons[wired.judged[name][0]].threshold is not None]
    if silent:
        remarks.append(f"{', '.join(silent)}: never fired in the proof, so it says little about it")
    own = other = None
    if labels is not None and spikes is not None:
        _, own, other = check.changes(given, spikes, labels)
    return Converted(wired.graph, spikes, size, rows, (), own, other, remarks)


def from_torch(
    module: nn.Module,
    sample: Any,
    *,
    dt_s: float = 1e-3,
    per_tick: bool = False,
    allow: Collection[str] = (),
    seed: int = 0,
) -> nir.NIRGraph:
    """The graph of `convert`."""
    return convert(module, sample, dt_s=dt_s, per_tick=per_tick, allow=allow, seed=seed).graph


def _tensor(sample: Any) -> torch.Tensor:
    found = sample if isinstance(sample, torch.Tensor) else torch.as_tensor(np.asarray(sample))
    if not found.dim() or not found.numel():
        raise BadInput(f"sample: has shape {list(found.shape)}; expected what the module's forward takes")
    found = found.detach().cpu()
    return found.float() if found.dtype in (torch.bool, torch.uint8, torch.int8, torch.int16) else found


def _shown(path: str) -> str:
    """A path in the driven module as the user knows it."""
    return path.removeprefix("net").removeprefix(".")


def _neurons(driven: nn.Module) -> dict[str, Neuron]:
    """The layers of neurons by path, each read by its library."""
    found: dict[str, Neuron] = {}
    for path, part in driven.named_modules():
        if any(path.startswith(f"{outer}.") for outer in found):
            continue
        for library in LIBRARIES:
            if library.is_neuron(part):
                found[path] = library.read(part)
    return found


def _is_layer(part: nn.Module) -> bool:
    """Whether values are followed from and to a module of torch."""
    if isinstance(part, layers.PASSES) or type(part).__name__ in ("Dropout", "Dropout2d", "FlattenTime"):
        return False
    containers = ("Module", "Sequential", "ModuleList", "ModuleDict")
    torchs = [cls.__name__ for cls in type(part).__mro__ if cls.__module__.startswith("torch.nn.modules")]
    return torchs[0] not in containers or layers.dimensions(part, (1,) * 5) is not None


def _refuse(neurons: Mapping[str, Neuron], allow: Collection[str]) -> list[str]:
    """Refuse what a chip cannot do; what of it is allowed, in sentences."""
    found = [(path, refusal) for path, neuron in neurons.items() for refusal in neuron.refusals]
    wrong = [(path, refusal) for path, refusal in found if refusal.allowance not in allow]
    if not wrong:
        return [f"{_shown(path)!r}: {refusal.setting}: {refusal.why}" for path, refusal in found]
    path, refusal = wrong[0]
    alike = [_shown(other) for other, its in wrong[1:] if its == refusal]
    more = len(wrong) - 1 - len(alike)
    told = f"module {_shown(path)!r}{''.join(f', {name!r}' for name in alike)}: {refusal.setting}: {refusal.why}; "
    told += refusal.instead
    if refusal.allowance:
        name = refusal.allowance
        told += f" (allow={{{name!r}}}, --allow {name}: convert it so, and measure the difference)"
    raise BadInput(told + (f"; and {more} more of other kinds" if more else ""))


def _refuse_single_calls(calls: Mapping[str, Sequence[Any]], neurons: Mapping[str, Neuron], per_tick: bool) -> None:
    called = [path for path, neuron in neurons.items() if neuron.layout == "tick" and calls[path]]
    if called and not per_tick and all(len(calls[path]) == 1 for path in called):
        raise BadInput(
            f"module {_shown(called[0])!r}: was called once, so the module's forward is one tick: per_tick=True "
            "(--per-tick) gives it the sample [ticks, ...] tick by tick"
        )


def _spikes(inputs: Array, allow: Collection[str]) -> Array | None:
    """The inputs as spikes; None if they are none and that is allowed."""
    wrong = inputs[(inputs < 0) | (inputs != np.floor(inputs)) | (inputs > MOST_SPIKES)]
    if not len(wrong):
        return inputs.astype(np.uint8 if inputs.max(initial=0) <= 1 else np.uint16)
    if "input" in allow:
        return None
    raise BadInput(
        f"sample: holds {wrong[0]:g}; what a chip takes are spikes, 0 or 1, or whole numbers of them: encode the data "
        "before the network, for example as spikes of that rate (allow={'input'}, --allow input: convert the network "
        "without it)"
    )


class _Check:
    """Runs the module and the graph on the same input."""

    def __init__(
        self, fresh: Callable[[], nn.Module], neurons: Mapping[str, Neuron], wired: Wired, read: SpikingGraph
    ) -> None:
        self.fresh, self.neurons, self.wired, self.read = fresh, neurons, wired, read
        self.paths = list(dict.fromkeys(path for path, _ in wired.judged.values()))

    def _own(self, given: torch.Tensor) -> dict[str, Array]:
        """What the module's layers give, `[ticks, batch, size]`, by population."""
        outputs = recorded(self.fresh(), self.paths, given)
        return {name: rows.of(outputs[path]) for name, (path, rows) in self.wired.judged.items()}

    def _ours(self, spikes: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        return interpreter.run(self.read, {"input": spikes}, graded=("input",))

    def proof(self, inputs: Sequence[torch.Tensor]) -> list[Exactness]:
        """Compare on all inputs; a row for each population."""
        rows: dict[str, list[Exactness]] = {}
        for given in inputs:
            own = self._own(given)
            fired, membranes = self._ours(self.wired.place.of(given).astype(np.uint16))
            for name, theirs in own.items():
                if name in membranes:
                    row = self._membranes(name, membranes[name], theirs)
                else:
                    (row,) = exactness({name: fired[name]}, {name: theirs})
                    if not row.exact:
                        raise Failed(self._difference(name, fired[name], theirs))
                rows.setdefault(name, []).append(row)
        return [
            Exactness(name, sum(r.neuron_ticks for r in of), sum(r.spikes for r in of), 0, 0, None)
            for name, of in rows.items()
        ]

    def _membranes(self, name: str, ours: Array, theirs: Array) -> Exactness:
        size = max(float(np.abs(theirs).max(initial=0)), 1e-30)
        wrong = np.abs(ours - theirs) > MEMBRANE_TOLERANCE * size
        if wrong.any():
            t, b, n = np.argwhere(wrong)[0]
            raise Failed(
                f"NOT EQUAL: readout {name!r}, tick {t}, sequence {b}, neuron {n}: the module has "
                f"{theirs[t, b, n]:.9g}, the graph {ours[t, b, n]:.9g}"
            )
        return Exactness(name, ours.size, 0, 0, 0, None)

    def _difference(self, name: str, ours: Array, theirs: Array) -> str:
        t, b, n = np.argwhere(ours != theirs)[0]
        many = int((ours != theirs).sum())
        return (
            f"NOT EQUAL: layer {name!r}, tick {t}, sequence {b}, neuron {n}: the module fires {theirs[t, b, n]:g} "
            f"times, the graph {ours[t, b, n]:g}; {many:,} of {ours.size:,} neuron-ticks of the layer differ. If it is "
            "one here and there, a membrane lies on its threshold, and the order of a sum decides: move the threshold "
            "a little"
        )

    def changes(
        self, given: torch.Tensor, spikes: Array | None, labels: npt.ArrayLike | None
    ) -> tuple[list[Change], float | None, float | None]:
        """What differs on the sample, and the accuracy of both on the labels."""
        if spikes is None:
            return [], None, None
        own = self._own(given)
        fired, membranes = self._ours(spikes)
        found = []
        for name, theirs in own.items():
            if name in fired:
                ours = fired[name]
                different = int((ours != theirs).sum())
                found.append(Change(name, ours.size, int(theirs.sum()), int(ours.sum(dtype=np.int64)), different))
        if labels is None:
            return found, None, None
        wanted = np.asarray(labels)
        (output, *others) = self.wired.outputs
        batch = own[output].shape[1]
        if others or wanted.shape != (batch,):
            raise BadInput(f"labels: shape {list(wanted.shape)} for {batch} sequences and {1 + len(others)} outputs")
        ours = fired[output] if output in fired else membranes[output]
        answers = [x.sum(0, dtype=np.float64).argmax(1) for x in (own[output], ours)]
        accuracies = [float((answer == wanted).mean()) for answer in answers]
        return found, accuracies[0], accuracies[1]
