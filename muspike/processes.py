"""Where a network is trained: on which device, and by which processes together (started by `torchrun`).

Each process takes its share of every batch. Sums over the processes give the result that one process with the whole
batch would have. Only the first process decides, reads and writes; the others follow.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.overrides import TorchFunctionMode

from muspike.arguments import one_of
from muspike.errors import BadInput, Failed, MuspikeError

T = TypeVar("T")
DEVICES = ("auto", "cpu", "cuda")
# How long a process waits for the first one, which may build a corpus or validate. A process that has ended is noticed
# at once, whatever this limit is.
_PATIENCE = datetime.timedelta(days=1)


def find_device(name: str) -> torch.device:
    """The device called `auto`, `cpu` or `cuda`. `auto` is CUDA if torch sees a CUDA device, else the CPU.

    Each process of a machine gets a GPU of its own.

    Raises:
        BadInput: there is no device of that name; or torch sees no CUDA device, or none for this process.
    """
    one_of("device", name, DEVICES)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and count == 0):
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if local >= count:
        raise BadInput(
            f"device cuda: torch {torch.__version__} sees {count} CUDA devices, and process {local + 1} of this "
            "machine needs one of its own; start no more processes than devices, or choose --device cpu"
        )
    return torch.device("cuda", local)


@dataclass(frozen=True)
class Team:
    """The processes of one training: `rank` is the number of this process, from 0, and `size` is their number."""

    rank: int = 0
    size: int = 1

    def share(self, whole: int) -> slice:
        """This process's part of `whole` pieces; `size` must divide `whole`."""
        part = whole // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of `value` over the processes.

        Its gradient in this process is this process's part. The parts of all processes add up to the gradient of the
        mean.
        """
        if self.size == 1:
            return value
        part = value / self.size
        whole = part.detach().clone()
        self._sum(whole)
        return part + (whole - part.detach())

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter], more: torch.Tensor) -> torch.Tensor:
        """Replace the gradient of each parameter by its sum over the processes; return the sum of `more` `[n]`.

        Both travel in one message.
        """
        if self.size == 1:
            return more
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([more, *(g.flatten() for g in gradients)])
        self._sum(flat)
        summed, *parts = torch.split(flat, [more.numel(), *(g.numel() for g in gradients)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return summed

    def decided(self, decide: Callable[[], T]) -> T:
        """Call `decide` in the first process alone and return its result in every process.

        If `decide` raises a MuspikeError, an OSError or a MemoryError, the first process raises it. The other processes
        exit silently with the same exit status.
        """
        if self.size == 1:
            return decide()
        result: T | None = None
        error: Exception | None = None
        if self.rank == 0:
            try:
                result = decide()
            except (MuspikeError, OSError, MemoryError) as raised:
                error = raised
        # [result, exit status of the error or None]
        outcome: list[Any] = [result, error and getattr(error, "exit_status", 1)]
        with self._together():
            distributed.broadcast_object_list(outcome, src=0, device=torch.device("cpu"))
        if error:
            raise error
        decision: T = outcome[0]
        if outcome[1]:
            raise SystemExit(outcome[1])
        return decision

    def drawing(self) -> contextlib.AbstractContextManager[object]:
        """A context in which networks draw this process's share of the random numbers for the whole batch.

        Together, the shares of all processes are the numbers that one process alone would draw.
        """
        return contextlib.nullcontext() if self.size == 1 else _Draws(self)

    def _sum(self, value: torch.Tensor) -> None:
        with self._together():
            distributed.all_reduce(value)

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            cause = str(error).partition("\n")[0]
            raise Failed(f"process {self.rank + 1} of {self.size}: another one is gone: {cause}") from error


ALONE = Team()
CPU = torch.device("cpu")


class _Draws(TorchFunctionMode):
    """Makes torch draw random tensors for the whole batch and keep this process's share.

    The batch is the last axis but one of every random tensor: `[batch, n]` or `[tokens, batch, n]`.
    """

    def __init__(self, team: Team) -> None:
        super().__init__()
        self.team = team

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function not in (torch.rand, torch.randn, torch.randint):
            return function(*args, **(kwargs or {}))
        # The size comes in several forms: rand(2, 3), rand((2, 3)), randint(9, (2, 3)).
        front, size = (args[:-1], args[-1]) if isinstance(args[-1], Sequence) else ((), args)
        whole = [*size[:-2], size[-2] * self.team.size, size[-1]]
        return function(*front, whole, **(kwargs or {}))[..., self.team.share(whole[-2]), :]


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Team]:
    """Join the team that torchrun's variables RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT describe.

    The team is left at the end of the `with` block. Without WORLD_SIZE, or with a value of 1, it is `ALONE`.

    Raises:
        BadInput: a variable is missing or wrong.
        Failed: the processes do not find each other.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        # On CUDA, gradients go through NCCL. Other objects go through gloo there too.
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    except ValueError as error:
        raise BadInput(f"several processes: {error}; start them with torchrun") from error
    except RuntimeError as error:
        raise Failed(f"several processes: do not find each other: {error}") from error
    team = Team(distributed.get_rank(), distributed.get_world_size())
    try:
        yield team
    except KeyboardInterrupt:
        if team.rank == 0:
            raise
        raise SystemExit(1) from None
    finally:
        distributed.destroy_process_group()
