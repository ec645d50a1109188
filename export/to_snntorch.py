"""A spiking network as one readable Python file for snnTorch, with its weights in a safetensors file beside it.

The file needs snnTorch, torch, NumPy and safetensors, and nothing of muspike. Every population is an `snn.Leaky` whose
reset acts in the tick of the spike (`reset_mechanism="zero"`, `reset_delay=False`). Its input is multiplied by 1 / tau
before, because snnTorch's equation has no gain: v = beta v + input. So it is v += (I - v) / tau. A synaptic filter is
an `snn.Leaky` without a reset, before that of the membrane.

snnTorch 1.0 does not reset a membrane twice: one that lies above its threshold at rest, which is one with a negative
threshold, would keep its membrane after a spike. Such a population resets in a line of its own.
"""

from __future__ import annotations

import importlib.util
import json
import keyword
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from torch import nn

from muspike.errors import BadInput, Failed, one_line
from muspike.export.environments import PYTHON_IN_ENVIRONMENT
from muspike.export.presentation import Presentation
from muspike.export.readers.run import known_reader
from muspike.export.recording import LOGITS, Recording, Spikes
from muspike.export.references import float_reference
from muspike.export.subject import Stimulus, Subject
from muspike.export.targets import Options
from muspike.export.verify import Judgement
from muspike.hardware.graph import Population, SpikingGraph, Synapses, by_end
from muspike.hardware.weights import Conv, Sparse, diagonal
from muspike.tokens import FEATURES

MOST_ENTRIES = 2**26
"""The most entries of a matrix, which the file holds densely."""
PATIENCE_S = 600.0
_LONGEST = 112  # characters of a line within `__init__`
_NO_SNNTORCH = 3  # the exit status of the child that has no snnTorch
# muspike cannot be imported where the file runs, so the file cannot lean on it.
_CHILD = f"""
import importlib.util, runpy, sys
sys.modules["muspike"] = None
if importlib.util.find_spec("snntorch") is None:
    sys.exit({_NO_SNNTORCH})
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
_MISSING = "snnTorch is missing; pip install 'muspike[snntorch]', or name an interpreter that has it with --python"
Floats = npt.NDArray[Any]


def write(subject: Subject, path: Path, options: Options) -> None:
    """See `targets.Exporter`. The weights lie beside `path`, in a file of the same name that ends in .safetensors."""
    _python(options)
    source, tensors = python_file(subject.graph, subject.presentation, subject.name)
    path.write_text(source, encoding="utf-8")
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path.with_suffix(".safetensors"))


def judgement(subject: Subject, options: Options) -> Judgement:
    """See `targets.Exporter`."""
    return Judgement("the network in float64", "snnTorch in float64, without muspike")


def expect(subject: Subject, stimulus: Stimulus, options: Options) -> Recording:
    """See `targets.Exporter`."""
    return float_reference(subject, stimulus)


def run(path: Path, inputs: Spikes, options: Options) -> Recording:
    """See `targets.Exporter`: the file, run as a person runs it, by a Python that cannot import muspike."""
    python = _python(options)
    with tempfile.TemporaryDirectory(prefix="muspike-snntorch-") as folder:
        given, found = Path(folder) / "inputs.npy", Path(folder) / "outputs.npz"
        np.save(given, inputs)
        command = [python, "-I", "-B", "-c", _CHILD, str(path.resolve()), str(given), str(found)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False, cwd=folder)
        except OSError as error:
            raise BadInput(f"python {python}: cannot be started: {one_line(error)}") from error
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{path}: did not end within {PATIENCE_S:.0f} s") from error
        if done.returncode == _NO_SNNTORCH:
            raise BadInput(f"{python}: {_MISSING}")
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise Failed(f"{path}: ended with status {done.returncode}: {last[-1]:.200}")
        try:
            with np.load(found, allow_pickle=False) as archive:
                return _recording({name: archive[name] for name in archive.files})
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise BadInput(f"{path}: wrote no spikes as an exported file does: {one_line(error)}") from error


def _python(options: Options) -> str:
    """The interpreter that runs a file: the one of --python, this one, or the environment made for --to nir --for."""
    if options["python"]:
        return str(options["python"])
    if importlib.util.find_spec("snntorch") is not None:
        return sys.executable
    made = known_reader("snntorch").environment / PYTHON_IN_ENVIRONMENT
    if not os.access(made, os.X_OK):
        raise BadInput(_MISSING)
    return str(made)


def _recording(arrays: Mapping[str, Floats]) -> Recording:
    names = json.loads(str(arrays["names"]))
    spikes, answers = {}, {}
    for key, array in arrays.items():
        what, _, name = key.partition(".")
        if what == "spikes":
            spikes[names[name]] = array
        elif what == "membrane":
            answers[names[name]] = array
        elif what == LOGITS:
            answers[LOGITS] = array
    return Recording(spikes, answers)


def python_file(graph: SpikingGraph, presentation: Presentation | None, name: str) -> tuple[str, dict[str, Floats]]:
    """The source of the file, and the tensors that it loads, by name.

    Args:
        graph: the network.
        presentation: how words go in; None: the network does not read words.
        name: what the network is called in the file.

    Raises:
        BadInput: a matrix has more than `MOST_ENTRIES` entries, or synapses without delay form a cycle.
    """
    writer = _Writer(graph, presentation, name)
    return writer.source(), writer.tensors


def attribute_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """For each name, one that an attribute of a torch module can have. It is the same where that is possible.

    A name from a file is data: what is no letter, digit or underscore of ASCII becomes an underscore.
    """
    used = {*dir(nn.Module()), *taken}
    found = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
        if not plain or not plain[0].isalpha():
            plain = f"n{plain}"
        while plain in used or keyword.iskeyword(plain):
            plain += "_"
        used.add(plain)
        found.append(plain)
    return found


def _literal(text: str) -> str:
    """A text as a Python literal in ASCII."""
    simple = re.fullmatch(r"[A-Za-z0-9_ .:>-]*", text)
    return f'"{text}"' if simple else ascii(text)


def _about(text: str) -> str:
    """A text that can stand in a docstring or a comment, whatever it holds."""
    return re.sub(r"[^A-Za-z0-9_ .,:/()+-]", "?", text)


def _number(value: float) -> str:
    """A float64 as a literal."""
    return f'float("{value}")' if np.isinf(value) else repr(float(value))


def _uniform(values: Floats) -> bool:
    return bool(values.size) and bool((values == values.flat[0]).all())


class _Writer:
    """The parts of a file."""

    def __init__(self, graph: SpikingGraph, presentation: Presentation | None, name: str) -> None:
        self.graph, self.presentation, self.name = graph, presentation, name
        self.tensors: dict[str, Floats] = {}
        populations, synapses = graph.populations, graph.synapses
        own = ["initial_state", "load", "logit_bias"]
        names = attribute_names([*(p.name for p in populations), *(s.name for s in synapses)], own)
        self.attribute = dict(zip((p.name for p in populations), names, strict=False))
        self.synapse = dict(zip((s.name for s in synapses), names[len(populations) :], strict=True))
        parts = [(p.name, part) for p in populations for part in ("current", "gain", "bias", "current_gain")]
        told = attribute_names([f"{self.attribute[name]}_{part}" for name, part in parts], [*names, *own])
        self.part = dict(zip(parts, told, strict=True))
        self.inputs = [p for p in populations if p.kind == "input"]
        self.neurons = [p for p in graph.update_order() if p.kind != "input"]
        self.into = by_end(synapses, "target")
        kept = {p.name: max((s.delay for s in synapses if s.source == p.name), default=0) for p in populations}
        self.kept = {name: delay for name, delay in kept.items() if delay}
        self.one_to_one = {s.name for s in synapses if diagonal(s.weight) is not None}

    def source(self) -> str:
        parts = [self._head(), self._network(), _MAIN_WORDS if self.presentation else _MAIN_TICKS]
        return "\n\n".join(part.strip("\n") + "\n" for part in parts)

    # --- the head ---

    def _head(self) -> str:
        p, size = self.presentation, sum(p.size for p in self.inputs)
        lines = [f'"""The spiking network {_about(self.name)}, for snnTorch.', ""]
        lines += [
            "Written by muspike; it needs snntorch, torch, numpy and safetensors. The weights lie beside this file."
        ]
        lines += ["", "    python FILE.py INPUT.npy OUTPUT.npz", ""]
        lines += [f"INPUT holds spikes, 0 or 1, [ticks, batch, {size}]. OUTPUT gets the spikes of every population,"]
        lines += ['[ticks, batch, size], as "spikes.NAME".', ""]
        lines += [f"A tick lasts {self.graph.dt_s:g} s. In every tick, of every population:", ""]
        lines += ["    v += (input - v) / tau;  spike = v > threshold;  v = 0 where it spiked", ""]
        lines += ["tau is 1 / (1 - beta); beta = 1 means v += input. A readout never spikes."]
        if p is not None:
            lines += [
                "",
                f"A word takes {p.period} ticks. One axon for each feature spikes in each of the first {p.ticks};",
            ]
            lines += [
                "the other ticks bring no input. The axon is the first one of the feature (AXONS) plus its value."
            ]
            if p.noise.draws:
                lines += [
                    f"Beside a word, {p.noise.draws} draws of noise spike, each on one of {p.noise.values} axons."
                ]
            if p.hearing:
                after = "The next" if p.labels else "The last"
                lines += [f"{after} axons say what sounds: {_about(', '.join(p.hearing.groups))}."]
            if p.labels:
                lines += [
                    "The last axons are labels of the piece (LABELS): of each label, the axon of its value spikes"
                ]
                lines += ["with every word, or none if the value is not known."]
            lines += [
                "",
                f'OUTPUT also gets the "logits" [words, batch, {len(p.bias)}]: the membrane of the readout after',
            ]
            lines += [
                f"tick {p.ticks} of each word, plus `logit_bias`. No neuron adds that; the reader of the membrane does."
            ]
        else:
            lines += ['Of each readout, OUTPUT also gets the membrane, as "membrane.NAME".']
        lines += [
            '"""',
            "",
            "import argparse",
            "import json",
            "from collections import deque",
            "from pathlib import Path",
        ]
        lines += ["", "import numpy as np", "import snntorch as snn", "import torch"]
        lines += ["from safetensors.torch import load_file", "from torch import nn", ""]
        lines += [f"DT_S = {self.graph.dt_s!r}  # seconds per tick"]
        if p is not None:
            lines += [f"TICKS = {p.ticks}  # in which a word is presented", f"PERIOD = {p.period}  # ticks per word"]
            columns = [*FEATURES, *(f"draw{n + 1}" for n in range(p.noise.draws))]
            lines += ["AXONS = {  # the first axon of each feature of a word"]
            lines += [f'    "{column}": {first},' for column, first in zip(columns, p.noise.offsets, strict=True)]
            lines += ["}"]
            axon = size - p.labels.axons
            lines += ["LABELS = {  # the axon of each value of a label of the piece"] if p.labels else []
            for label, values in p.labels.axes:
                lines += [f"    {_literal(label)}: {{"]
                lines += [f"        {_literal(value)}: {axon + n}," for n, value in enumerate(values)] + ["    },"]
                axon += len(values)
            lines += ["}"] if p.labels else []
        lines += [f"INPUT_SIZE = {size}", "", "# The populations, as attributes of the network, with their own names."]
        for what, kind in (("SPIKING", "lif"), ("READOUTS", "li")):
            of = [q for q in self.graph.populations if q.kind == kind]
            lines += [f"{what} = {{"]
            lines += [f'    "{self.attribute[q.name]}": {_literal(q.name)},' for q in of]
            lines += ["}"]
        return "\n".join(lines)

    # --- the network ---

    def _network(self) -> str:
        made, register = [], []
        for p in self.neurons:
            made += self._population(p)
        for s in self.graph.synapses:
            made += self._synapse(s)
        if self.presentation is not None:
            register.append(self._buffer("logit_bias", self.presentation.bias))
        lines = ["class Network(nn.Module):", '    """The network. `forward` is one tick."""', ""]
        lines += ["    def __init__(self):", "        super().__init__()"]
        lines += [f"        {line}" for line in (*made, *register)]
        lines += [
            "",
            "    def load(self, path):",
            '        """Read the weights."""',
            "        tensors = load_file(path)",
        ]
        lines += ["        lacking = dict(self.named_parameters()).keys() - tensors.keys()"]
        lines += ["        strange = self.load_state_dict(tensors, strict=False).unexpected_keys"]
        lines += ["        if lacking or strange:"]
        lines += [
            '            raise ValueError(f"{path}: lacks {sorted(lacking)}, has {strange}")',
            "        return self",
        ]
        lines += ["", "    def initial_state(self, batch, dtype=torch.float64):"]
        lines += ['        """At rest: every membrane (v) and filtered current (i) is 0, and nothing has spiked."""']
        lines += ["", "        def zeros(size):", "            return torch.zeros(batch, size, dtype=dtype)", ""]
        v = [(p.name, f"zeros({p.size})") for p in self.neurons]
        i = [(p.name, f"zeros({p.size})") for p in self.neurons if _filtered(p)]
        sizes = {p.name: p.size for p in self.graph.populations}
        past = [(n, f"deque([zeros({sizes[n]})] * {d}, maxlen={d})") for n, d in self.kept.items()]
        lines += ["        return {"]
        for what, entries, told in (("v", v, ""), ("i", i, ""), ("past", past, "  # the spikes of the latest ticks")):
            if not entries and what != "v":
                continue
            lines += [f'            "{what}": {{{told}'] + [f"                {_literal(n)}: {x}," for n, x in entries]
            lines += ["            },"]
        lines += ["        }", "", *self._forward()]
        return "\n".join(lines)

    def _population(self, p: Population) -> list[str]:
        name, lines = self.attribute[p.name], []
        if _filtered(p):
            current = self.part[p.name, "current"]
            beta = self._constant(f"{current}.beta", 1 - 1 / p.tau_syn)
            lines += _leaky(current, [f"beta={beta}", 'reset_mechanism="none"'])
            if not _uniform(p.tau_syn):
                lines.append(self._buffer(self.part[p.name, "current_gain"], 1 / p.tau_syn))
        beta = self._constant(f"{name}.beta", 1 - p.leak)
        if p.kind == "li":
            lines += _leaky(name, [f"beta={beta}", 'reset_mechanism="none"'])
        else:
            threshold = self._constant(f"{name}.threshold", p.v_threshold)
            resets = ['reset_mechanism="zero"', "reset_delay=False"]
            reset = ['reset_mechanism="none"'] if (p.v_threshold < 0).any() else resets
            lines += _leaky(name, [f"beta={beta}", f"threshold={threshold}", *reset])
        if not _uniform(p.gain):
            lines.append(self._buffer(self.part[p.name, "gain"], p.gain))
        if p.bias.any():
            lines.append(self._buffer(self.part[p.name, "bias"], p.bias))
        return lines

    def _constant(self, key: str, values: Floats) -> str:
        """One number in the text, or one for each neuron from the file of weights."""
        if not _uniform(values):
            self.tensors[key] = values.astype(np.float64)
            return f"torch.zeros({values.size}, dtype=torch.float64)"
        value = float(values.flat[0])
        # snnTorch makes float32 of a plain number.
        exact = float(np.float32(value)) == value
        return _number(value) if exact else f"torch.tensor({_number(value)}, dtype=torch.float64)"

    def _buffer(self, name: str, values: Floats) -> str:
        self.tensors[name] = values.astype(np.float64)
        return f'self.register_buffer("{name}", torch.zeros({values.size}, dtype=torch.float64))'

    def _synapse(self, s: Synapses) -> list[str]:
        name, weight = self.synapse[s.name], s.weight
        targets, sources = weight.shape
        if s.name in self.one_to_one:
            assert isinstance(weight, Sparse)
            self.tensors[name] = weight.columns.diagonal()
            return [f"self.{name} = nn.Parameter(torch.zeros({targets}))"]
        if isinstance(weight, Conv):
            self.tensors[f"{name}.2.weight"] = weight.kernel
            kernel, before = weight.kernel.shape, weight.padding
            padding: list[int] = []  # left, right, top, bottom
            for axis in (1, 0):
                reach = (weight.output_shape[axis + 1] - 1) * weight.stride[axis]
                reach += weight.dilation[axis] * (kernel[axis + 2] - 1) + 1
                padding += [before[axis], reach - weight.input_shape[axis + 1] - before[axis]]
            channels = f"{weight.input_shape[0]}, {kernel[0]}, {tuple(kernel[2:])}"
            how = f"stride={weight.stride}, dilation={weight.dilation}, groups={weight.groups}"
            return [
                f"self.{name} = nn.Sequential(",
                f"    nn.Unflatten(1, {weight.input_shape}),",
                f"    nn.ZeroPad2d({tuple(padding)}),",
                f"    nn.Conv2d({channels}, {how}, bias=False),",
                "    nn.Flatten(),",
                ")",
            ]
        if targets * sources > MOST_ENTRIES:
            raise BadInput(
                f"synapses {s.name!r}: {targets:,} x {sources:,} entries; a file for snnTorch holds a matrix densely, "
                f"with at most {MOST_ENTRIES:,}"
            )
        self.tensors[f"{name}.weight"] = weight.columns.toarray() if isinstance(weight, Sparse) else weight
        return [f"self.{name} = nn.Linear({sources}, {targets}, bias=False)"]

    def _forward(self) -> list[str]:
        lines = ["    def forward(self, inputs, state):"]
        lines += [
            f'        """One tick: input spikes [batch, {sum(p.size for p in self.inputs)}]; the state is changed.'
        ]
        lines += ["", "        Returns the spikes of every population, by name.", '        """']
        lines += ['        v = state["v"]']
        if any(_filtered(p) for p in self.neurons):
            lines += ['        i = state["i"]']
        if self.kept:
            lines += ['        past = state["past"]']
        lines += ["        spikes = {}"]
        first = 0
        for p in self.inputs:
            lines.append(f"        spikes[{_literal(p.name)}] = inputs[:, {first}:{first + p.size}]")
            first += p.size
        for p in self.neurons:
            lines += ["", *(f"        {line}" for line in self._tick(p))]
        if self.kept:
            lines += ["", "        for name, spikes_of in past.items():", "            spikes_of.append(spikes[name])"]
        return [*lines, "        return spikes"]

    def _tick(self, p: Population) -> list[str]:
        name, key = self.attribute[p.name], _literal(p.name)
        terms = []
        for s in self.into[p.name]:
            heard = f"past[{_literal(s.source)}][-{s.delay}]" if s.delay else f"spikes[{_literal(s.source)}]"
            mine = f"self.{self.synapse[s.name]}"
            shape = f"[{s.weight.shape[0]}, {s.weight.shape[1]}]"
            one = f"{heard} * {mine}" if s.name in self.one_to_one else f"{mine}({heard})"
            terms.append((one, "one to one" if s.name in self.one_to_one else shape))
        if not terms:
            lines = [f"current = torch.zeros_like(v[{key}])"]
        elif len(terms) == 1:
            lines = [f"current = {terms[0][0]}  # {terms[0][1]}"]
        else:
            lines = ["current = ("]
            lines += [f"    {'+ ' if n else ''}{one}  # {shape}" for n, (one, shape) in enumerate(terms)]
            lines += [")"]
        if _filtered(p):
            gain = self._times(1 / p.tau_syn, self.part[p.name, "current_gain"])
            lines.append(f"_, current = self.{self.part[p.name, 'current']}({gain}current, i[{key}])")
            lines.append(f"i[{key}] = current")
        if p.bias.any():
            lines.append(f"current = current + self.{self.part[p.name, 'bias']}")
        driven = f"{self._times(p.gain, self.part[p.name, 'gain'])}current"
        if p.kind == "li":
            return [*lines, f"_, v[{key}] = self.{name}({driven}, v[{key}])"]
        lines.append(f"fired, v[{key}] = self.{name}({driven}, v[{key}])")
        if (p.v_threshold < 0).any():
            lines.append(f"v[{key}] = torch.where(fired > 0, 0.0, v[{key}])")
        return [*lines, f"spikes[{key}] = fired.to(inputs.dtype)"]

    def _times(self, values: Floats, name: str) -> str:
        if not _uniform(values):
            return f"self.{name} * "
        return "" if values.flat[0] == 1 else f"{_number(values.flat[0])} * "


def _leaky(name: str, arguments: list[str]) -> list[str]:
    """A population, in one line where it fits."""
    line = f"self.{name} = snn.Leaky({', '.join(arguments)})"
    if len(line) <= _LONGEST:
        return [line]
    return [f"self.{name} = snn.Leaky(", *(f"    {argument}," for argument in arguments), ")"]


def _filtered(p: Population) -> bool:
    return bool((p.tau_syn != 1).any())


_MAIN = '''
def run(network, inputs, dtype=torch.float64):
    """The spikes of every spiking population and the membranes of every readout, of every tick."""
    state = network.initial_state(inputs.shape[1], dtype)
    fired, membranes = {name: [] for name in SPIKING}, {name: [] for name in READOUTS}
    with torch.no_grad():
        for tick in torch.from_numpy(inputs.astype(np.uint8)).to(dtype):
            spikes = network(tick, state)
            for name, own_name in SPIKING.items():
                fired[name].append(spikes[own_name].numpy().astype(np.uint8))
            for name, own_name in READOUTS.items():
                membranes[name].append(state["v"][own_name].numpy())
    return [{name: np.stack(ticks) for name, ticks in of.items()} for of in (fired, membranes)]


def main():
    parser = argparse.ArgumentParser(description="Run the network on input spikes.")
    parser.add_argument("input", type=Path, help="spikes [ticks, batch, size], .npy, or the first array of an .npz")
    parser.add_argument("output", type=Path, help="an .npz file")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    args = parser.parse_args()
    inputs = np.load(args.input)
    if not isinstance(inputs, np.ndarray):
        inputs = inputs[inputs.files[0]]
    if inputs.ndim != 3 or inputs.shape[2] != INPUT_SIZE or 0 in inputs.shape[:2]:
        parser.error(f"{args.input}: has shape {list(inputs.shape)}, not [ticks, batch, {INPUT_SIZE}]")
    dtype = getattr(torch, args.dtype)
    network = Network().to(dtype).load(Path(__file__).with_suffix(".safetensors"))
    fired, membranes = run(network, inputs, dtype)
    found = {f"spikes.{name}": array for name, array in fired.items()}
@ANSWERS@
    np.savez_compressed(args.output, names=np.array(json.dumps({**SPIKING, **READOUTS})), **found)


if __name__ == "__main__":
    main()
'''
_MAIN_WORDS = _MAIN.replace(
    "@ANSWERS@",
    """    (membrane,) = membranes.values()
    found["logits"] = membrane[TICKS - 1 :: PERIOD] + network.logit_bias.numpy()""",
)
_MAIN_TICKS = _MAIN.replace(
    "@ANSWERS@", """    found.update({f"membrane.{name}": array for name, array in membranes.items()})"""
)
