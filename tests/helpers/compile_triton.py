"""Compile every Triton kernel of muspike for GPUs that need not be here; a process of its own, without the interpreter.

It prints a line for each kernel and GPU: the kernel, its compute capability, and the size of its code.
"""

from __future__ import annotations

from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from muspike import kernels_cuda
from muspike.architectures import s_lstm_cuda, s_transformer_cuda

# An A100 and an H100.
CAPABILITIES = (80, 90)
NUMBERS = {
    *("answered", "columns", "idle", "neurons", "row", "rows", "slots"),
    *("start", "stop", "time", "tokens", "values", "width"),
}
BLOCK: dict[str, int] = {"BLOCK": 128}


def kind(kernel: Any, name: str, constants: dict[str, int]) -> str:
    """The type of an argument, as Triton writes it."""
    if name in constants:
        return "constexpr"
    if name in NUMBERS:
        return "i32"
    # A rate is a number for the readout, an array for neurons; idle_decay likewise.
    of_readout = kernel.fn.__name__.startswith("_leaky") and name in ("rate", "idle_decay")
    if name == "alpha" or of_readout:
        return "fp32"
    return "*u8" if name == "memory" else "*fp32"


def main() -> None:
    """Compile them all."""
    kernels: list[tuple[Any, dict[str, int]]] = [
        (kernels_cuda._scan, BLOCK),
        (kernels_cuda._scan_gradient, BLOCK),
        (kernels_cuda._leaky_answers, BLOCK),
        (kernels_cuda._leaky_answers_gradient, BLOCK),
    ]
    for kernel in (s_lstm_cuda._run, s_lstm_cuda._run_back):
        kernels += [(kernel, BLOCK), (kernel, {**BLOCK, "slots": 1})]  # Triton takes a 1 for a constant
    for kernel in (s_transformer_cuda._run, s_transformer_cuda._run_back):
        kernels += [(kernel, {"ROWS": rows, "VALUES": values}) for rows, values in ((8, 16), (128, 16), (1, 1))]
        kernels.append((kernel, {"ROWS": 8, "VALUES": 16, "slots": 1}))
    for kernel, constants in kernels:
        signature = {name: kind(kernel, name, constants) for name in kernel.arg_names}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        for capability in CAPABILITIES:
            options = {"num_warps": 4, "enable_fp_fusion": False}
            made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
            print(kernel.fn.__module__, kernel.fn.__name__, constants, capability, len(made.asm["cubin"]))


if __name__ == "__main__":
    main()
