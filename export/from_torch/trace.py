"""Follow every value of a module's forward pass from layer to layer, whatever code lies between them.

A module is run once as it is, to see how often each layer is called and what it gives. Then it is run again with layers
that compute nothing: each gives tags, numbers that occur only once. A tag that reaches another layer says where that
value is from: which layer, which call, which place. So a forward may loop over time, reshape, cut, stack and pad as it
likes. Where values are added, the module is run once more for each layer, with the tags of that layer alone. What is
neither a tag nor a sum of tags has been computed between the layers, and cannot be followed.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from muspike.errors import BadInput, Failed

Integers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

MOST_VALUES = 50_000_000
"""The most values that a run is followed in: inputs and outputs of all layers, over all ticks."""
_TAG_BITS = 50  # sums of a few tags are exact in float64
_ODD = 0x9E3779B97F4A7C15 | 1  # an odd factor permutes the numbers of _TAG_BITS bits
# Functions that move values, or add them. fmt: off
_MOVES = frozenset(
    (
        "__get__",
        "__getitem__",
        "__setitem__",
        "__len__",
        "__iter__",
        "__add__",
        "__radd__",
        "__iadd__",
        "add",
        "add_",
        "sum_to_size",
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "permute",
        "transpose",
        "t",
        "contiguous",
        "clone",
        "detach",
        "detach_",
        "cpu",
        "to",
        "stack",
        "cat",
        "unbind",
        "split",
        "chunk",
        "select",
        "narrow",
        "index_select",
        "expand",
        "expand_as",
        "repeat",
        "repeat_interleave",
        "tile",
        "movedim",
        "flip",
        "roll",
        "pad",
        "zeros_like",
        "zeros",
        "new_zeros",
        "size",
        "dim",
        "numel",
        "shape",
        "is_floating_point",
        "float",
        "double",
        "type",
        "requires_grad_",
        "empty_like",
        "concat",
        "concatenate",
        "vstack",
        "hstack",
        "swapaxes",
        "unfold",
        "as_strided",
        "__format__",
        "__repr__",
        "item",
        "tolist",
        "numpy",
    )
)
# fmt: on

# Functions that take numbers of one precision only.
_PRODUCTS = frozenset(
    ("linear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "einsum", "conv1d", "conv2d", "bilinear")
)


@dataclass(eq=False)
class Call:
    """A call of a layer.

    Attributes:
        path: the layer's path in the module.
        number: how many calls of it came before.
        shape: the shape of its data.
        sources: for each layer that the data is from (several: a sum), an array of `shape`: the number of each value in
            the run, or -1 where there is none.
        names: the functions of torch that the data passed through, apart from those that only move values or add.
        computed: whether the data is neither values of layers nor a sum of them.
        states: how many tensors of state it was given.
        state: why the layer's state is not what its last call left; None: it is.
    """

    path: str
    number: int
    shape: tuple[int, ...]
    sources: list[Integers] = field(default_factory=list)
    names: str = ""
    computed: bool = False
    states: int = 0
    state: str | None = None


@dataclass(frozen=True)
class Block:
    """Values that one tensor holds: the sample (path ""), or what a call gives."""

    path: str
    number: int
    port: int
    start: int
    shape: tuple[int, ...]


@dataclass(eq=False)
class Trace:
    """What a run of a module was like.

    Attributes:
        calls: by path, the calls of each layer in order.
        blocks: where values are from, in order of their numbers.
        returned: the numbers of the values in each tensor that the module returned; -2 where they were computed.
        outputs: by path, what each call gave in the run as it is: the tensors in order.
    """

    calls: dict[str, list[Call]]
    blocks: list[Block]
    returned: list[Integers]
    outputs: dict[str, list[list[torch.Tensor]]]

    def __post_init__(self) -> None:
        self._starts = np.array([block.start for block in self.blocks])

    def block_of(self, numbers: Integers) -> Integers:
        """The block of each value, by its place in `blocks`; -1 for no value."""
        return np.where(numbers < 0, -1, np.searchsorted(self._starts, numbers, side="right") - 1)


def prepared(module: nn.Module, resets: Callable[[nn.Module], object]) -> nn.Module:
    """A copy of a module in float64 and in evaluation, at rest. The module stays as it is."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        for held in (vars(part), part._buffers, getattr(part, "_memories", {})):
            for value in held.values():
                if isinstance(value, torch.Tensor) and not value.is_leaf:  # of a training step; it cannot be copied
                    memo[id(value)] = value.detach().clone()
    for part in reversed(list(module.modules())):  # children first
        # sinabs copies its layers by a method of its own, which fails on a layer that holds another.
        if hasattr(type(part), "__deepcopy__"):
            twin = type(part).__new__(type(part))
            twin.__dict__.update(copy.deepcopy(part.__dict__, memo))
            memo[id(part)] = twin
    made = copy.deepcopy(module, memo).cpu().double().eval()
    resets(made)
    return made


def run(module: nn.Module, sample: torch.Tensor) -> Any:
    """What a module from `prepared` gives for a sample, computed in float64."""

    def widened(part: nn.Module, given: tuple[Any, ...]) -> Any:
        return pytree.tree_map(_widened, given)

    hook = torch_module.register_module_forward_pre_hook(widened)
    try:
        with torch.no_grad(), _Widening():
            return module(sample.double() if sample.is_floating_point() else sample)
    except (BadInput, Failed):
        raise
    except Exception as error:
        raise BadInput(f"the module does not run on a sample of shape {list(sample.shape)}: {_line(error)}") from error
    finally:
        hook.remove()


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _widened(value: Any) -> Any:
    narrow = isinstance(value, torch.Tensor) and value.dtype in (torch.float32, torch.float16, torch.bfloat16)
    return value.double() if narrow else value


def tensors_of(value: Any) -> list[torch.Tensor]:
    """The tensors in what a layer takes or gives, in order."""
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def trace(module: nn.Module, fresh: Callable[[], nn.Module], paths: Sequence[str], sample: torch.Tensor) -> Trace:
    """Follow the values of a sample through a module.

    Args:
        module: from `prepared`.
        fresh: gives the module at rest once more, for each further run.
        paths: the layers that values are followed between.
        sample: what the module takes.

    Raises:
        BadInput: the module does not run on the sample, or does another thing in each run; or there are too many
            values.
    """
    outputs = {path: [] for path in paths}  # type: dict[str, list[Any]]
    with _hooked(module, paths, lambda path, out: outputs[path].append(out)):
        run(module, sample)
    tracer = _Tracer(fresh, paths, sample.detach(), outputs)
    return tracer.trace()


class _Tracer:
    def __init__(
        self, fresh: Callable[[], nn.Module], paths: Sequence[str], sample: torch.Tensor, outputs: dict[str, list[Any]]
    ) -> None:
        self.fresh, self.paths, self.sample, self.outputs = fresh, paths, sample, outputs
        self.blocks = [Block("", 0, 0, 0, tuple(sample.shape))]
        start = sample.numel()
        for path in paths:
            for number, out in enumerate(outputs[path]):
                for port, tensor in enumerate(tensors_of(out)):
                    self.blocks.append(Block(path, number, port, start, tuple(tensor.shape)))
                    start += tensor.numel()
        if start > MOST_VALUES:
            raise BadInput(
                f"the layers give {start:,} values on this sample, at most {MOST_VALUES:,} can be followed: give a "
                "sample with fewer sequences or ticks"
            )
        numbers = np.arange(1, start + 1, dtype=np.uint64) * np.uint64(_ODD)  # modulo 2^64
        self.sizes = (numbers & np.uint64(2**_TAG_BITS - 1)).astype(np.int64)
        signs = np.where((numbers >> np.uint64(57)) & np.uint64(1), 1, -1)
        self.tags = (self.sizes * signs).astype(np.float64)
        self.order = np.argsort(self.sizes)
        self.sorted = self.sizes[self.order]
        self.by_call = {(b.path, b.number, b.port): b for b in self.blocks}

    def trace(self) -> Trace:
        calls, values, returned = self._tagged(None)
        flat = [call for path in self.paths for call in calls[path]]
        missing = [call for call in flat if self._follow(call, values[call.path][call.number])]
        if missing:
            self._sums(calls, values, missing)
        found = [self.numbers(leaf.detach().double().numpy()) for leaf in returned if leaf.is_floating_point()]
        tensors = {path: [tensors_of(out) for out in outs] for path, outs in self.outputs.items()}
        return Trace(calls, self.blocks, found, tensors)

    def numbers(self, values: Doubles) -> Integers:
        """The number of each value; -1 for 0, -2 for what is no tag."""
        size = np.abs(values)
        known = np.isfinite(size) & (size < 2.0**_TAG_BITS) & (size == np.floor(size))
        whole = np.where(known, size, 0).astype(np.int64)
        place = np.minimum(np.searchsorted(self.sorted, whole), len(self.sorted) - 1)
        number = self.order[place]
        right = (self.sorted[place] == whole) & (self.tags[number] == values)
        return np.asarray(np.where(values == 0, -1, np.where(right, number, -2)))

    def _follow(self, call: Call, values: Doubles) -> bool:
        """Look the values of a call up; True if some are no tags."""
        numbers = self.numbers(values)
        if (numbers == -2).any():
            return True
        call.sources = [numbers]
        return False

    def _sums(self, calls: dict[str, list[Call]], values: dict[str, list[Doubles]], missing: list[Call]) -> None:
        """Find what the data of these calls is a sum of."""
        total = {id(call): np.zeros(call.shape) for call in missing}
        for active in ["", *self.paths]:
            _, alone, _ = self._tagged(active)
            for call in missing:
                value = alone[call.path][call.number]
                if value.any():
                    numbers = self.numbers(value)
                    call.computed |= bool((numbers == -2).any())
                    call.sources.append(numbers)
                    total[id(call)] += value
        for call in missing:
            call.computed |= bool((total[id(call)] != values[call.path][call.number]).any())

    def _tagged(self, active: str | None) -> tuple[dict[str, list[Call]], dict[str, list[Doubles]], list[torch.Tensor]]:
        """Run with tags, of the layer `active` alone or of all: the calls, their data, and what was returned."""
        calls: dict[str, list[Call]] = {path: [] for path in self.paths}
        values: dict[str, list[Doubles]] = {path: [] for path in self.paths}
        names = _Names()
        module = self.fresh()

        def tag(block: Block) -> torch.Tensor:
            tags = self.tags[block.start : block.start + math.prod(block.shape)].reshape(block.shape)
            return torch.from_numpy(tags.copy() if active in (None, block.path) else np.zeros(block.shape))

        def stub(path: str) -> Callable[..., Any]:
            def forward(*given: Any, **named: Any) -> Any:
                number = len(calls[path])
                if number >= len(self.outputs[path]):
                    raise BadInput(
                        f"module {path!r}: is called more often or seldom for other values; a chip's wiring is fixed"
                    )
                first, *rest = [*given, *named.values()]
                call = Call(path, number, tuple(first.shape))
                if active is None:
                    call.states = len(tensors_of(rest))
                    call.state = self._state(path, number, tensors_of(rest))
                    call.names = names.told(first)
                calls[path].append(call)
                values[path].append(first.detach().double().numpy().copy())
                leaves, spec = pytree.tree_flatten(self.outputs[path][number])
                made, port = [], 0
                for leaf in leaves:
                    if isinstance(leaf, torch.Tensor):
                        leaf = tag(self.by_call[path, number, port])
                        port += 1
                    made.append(leaf)
                return pytree.tree_unflatten(made, spec)

            return forward

        with contextlib.ExitStack() as undo:
            for path in self.paths:
                undo.enter_context(_replaced(module.get_submodule(path), stub(path)))
            undo.enter_context(names)
            returned = run(module, tag(self.blocks[0]))
        for path in self.paths:
            if len(calls[path]) != len(self.outputs[path]):
                raise BadInput(
                    f"module {path!r}: is called more often or seldom for other values; a chip's wiring is fixed"
                )
        return calls, values, tensors_of(returned)

    def _state(self, path: str, number: int, states: list[torch.Tensor]) -> str | None:
        for state in states:
            if not state.is_floating_point():
                continue
            numbers = self.numbers(state.detach().double().numpy())
            if number == 0:
                if (numbers != -1).any():
                    return "it does not start from a state of 0"
                continue
            own = np.zeros(numbers.shape, bool)
            for block in self.blocks:
                if (block.path, block.number) == (path, number - 1):
                    own |= (numbers >= block.start) & (numbers < block.start + math.prod(block.shape))
            if not own.all():
                return f"before its call {number} its state is changed, or replaced by another"
        return None


class _Widening(TorchFunctionMode):
    """Give products float64 alone, where a forward makes tensors of its own in float32."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in _PRODUCTS:
            args, kwargs = pytree.tree_map(_widened, (args, kwargs or {}))
        return func(*args, **(kwargs or {}))


class _Names(TorchFunctionMode):
    """Remember by which functions of torch a tensor was computed, and keep tags in float64."""

    def __init__(self) -> None:
        super().__init__()
        self._by: dict[int, tuple[torch.Tensor, frozenset[str]]] = {}

    def told(self, tensor: torch.Tensor) -> str:
        """The functions that computed a tensor, in words."""
        _, names = self._by.get(id(tensor), (None, frozenset()))
        return ", ".join(sorted(names))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        if name in ("float", "half", "bfloat16", "to", "type") and _narrows(name, args, kwargs):
            return args[0]
        out = func(*args, **kwargs)
        made = [leaf for leaf in _leaves(out) if leaf.is_floating_point()]
        if made:
            names = frozenset().union(*(self._by[id(x)][1] for x in _leaves((args, kwargs)) if id(x) in self._by))
            if name not in _MOVES:
                names |= {name}
            for leaf in made:
                self._by[id(leaf)] = (leaf, names)
        return out


def _kept(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _leaves(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in _leaves(part)]
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in _leaves(part)]
    return []


def _narrows(name: str, args: Any, kwargs: Any) -> bool:
    """Whether a function would make a float64 tensor one of fewer digits."""
    if not args or not isinstance(args[0], torch.Tensor) or args[0].dtype != torch.float64:
        return False
    if name in ("float", "half", "bfloat16"):
        return True
    for value in (*args[1:], *kwargs.values()):
        kind = value.dtype if isinstance(value, torch.Tensor) else value
        if isinstance(kind, torch.dtype) and kind.is_floating_point and kind != torch.float64:
            return True
    return False


@contextlib.contextmanager
def _replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]


@contextlib.contextmanager
def _hooked(module: nn.Module, paths: Sequence[str], after: Callable[[str, Any], None]) -> Iterator[None]:
    """Call `after` with what each of the layers gives."""
    with contextlib.ExitStack() as undo:
        for path in paths:
            part = module.get_submodule(path)

            def gave(_: Any, given: Any, out: Any, path: str = path) -> None:
                after(path, pytree.tree_map(_kept, out))

            undo.callback(part.register_forward_hook(gave).remove)
        yield


def recorded(module: nn.Module, paths: Sequence[str], sample: torch.Tensor) -> Mapping[str, list[list[torch.Tensor]]]:
    """What each of the layers gives in a run: by path, for each call, its tensors."""
    outputs: dict[str, list[list[torch.Tensor]]] = {path: [] for path in paths}
    with _hooked(module, paths, lambda path, out: outputs[path].append(tensors_of(out))):
        run(module, sample)
    return outputs
