"""A network in int8 as an ONNX file, and the receipt: what it costs in bits per note and spikes, and what it saves.

A spiking network needs no quantised activations: its spikes are 0 or 1. Its matrices become int8 with a scale for each
target, the sums are exact integers, and the file is proved equal to the network with these rounded weights. A network
without spikes is quantised by ONNX Runtime (dynamic, a scale for each column of a matrix, weights in 7 of the 8 bits).
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from muspike import corpora
from muspike.checkpoint import Model
from muspike.errors import Failed, MuspikeError
from muspike.evaluation import likelihood
from muspike.export.float_run import interpreted
from muspike.export.onnx_graph import float_products, int8_columns, tell
from muspike.export.onnx_runner import OnnxFile
from muspike.export.recording import LOGITS
from muspike.export.subject import Subject
from muspike.generation import generate
from muspike.hardware.graph import SpikingGraph
from muspike.hardware.weights import Conv, Weights, dense, diagonal, with_values
from muspike.host import completed
from muspike.tokens import Words

PIECES, LENGTH = 8, 256
"""Pieces on which bits per note are measured, and the words of a piece if the model has to compose them."""


def rounded(graph: SpikingGraph) -> SpikingGraph:
    """The graph with the weights that the int8 file holds, in float64."""
    return replace(graph, synapses=[replace(s, weight=_rounded(s.weight)) for s in graph.synapses])


def _rounded(weight: Weights) -> Weights:
    if isinstance(weight, Conv):
        flat = weight.kernel.reshape(len(weight.kernel), -1).T
        numbers, scale = int8_columns(flat)
        return with_values(weight, (numbers * scale).T.reshape(weight.kernel.shape))
    if diagonal(weight) is not None:
        return weight
    numbers, scale = int8_columns(dense(weight).T)
    return np.ascontiguousarray((numbers * scale).T)


def quantised_twin(model: Any, about: dict[str, Any]) -> Any:
    """The ONNX model of a network without spikes, quantised by ONNX Runtime."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="muspike-int8-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        # Products of two activations, as in attention, are products too. A body of a Scan is left alone unless asked.
        options = {"MatMulConstBOnly": False, "EnableSubgraph": True}
        with _quietly():
            # In 7 of the 8 bits: a CPU without VNNI adds two products in 16 bits, which larger weights overflow.
            quantize_dynamic(
                source, target, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8, extra_options=options
            )
        made = onnx.load(target)
    del made.metadata_props[:]
    tell(made, about)
    return made


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the advice from the terminal that ONNX Runtime logs on models that it did not prepare itself."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def check_products(path: Path, model: Any) -> None:
    """Refuse a file in which a product of matrices stayed in floats.

    Raises:
        Failed: there is one; the message names it.
    """
    if left := float_products(model.graph):
        raise Failed(
            f"{path}: {len(left)} products of matrices stayed in float, the first is {left[0]!r}; nothing is written"
        )


def receipt(subject: Subject, path: Path, float_model: Any) -> dict[str, Any]:
    """What the int8 file `path` gives up against the float file, and what it saves.

    Returns:
        `bytes` and `bytes_float32`; of a spiking network `spikes_moved`, the share of spikes that only one of both has,
        on random input or on words that a model composes; of a trained model `bits_per_note` and `bits_per_note_float`
        on `data`.
    """
    found: dict[str, Any] = {"bytes": path.stat().st_size, "bytes_float32": float_model.ByteSize()}
    if subject.twin is None:
        stimulus = subject.stimulus(16, batch=4)
        before = interpreted(subject.graph, stimulus.spikes).spikes
        after = interpreted(rounded(subject.graph), stimulus.spikes).spikes
        either = sum(int((before[name] | after[name]).sum()) for name in before)
        found["spikes_moved"] = sum(int((before[n] != after[n]).sum()) for n in before) / max(either, 1)
    if subject.model is not None:
        pieces, data = _pieces(subject.model)
        file, presentation = OnnxFile(path), subject.presentation
        assert presentation is not None

        def logits(words: torch.Tensor) -> torch.Tensor:
            whole = completed(words.numpy(), presentation)
            return torch.from_numpy(np.asarray(file.run(presentation.spikes(whole)).answers[LOGITS], np.float64))

        found["data"] = data
        found["bits_per_note"] = likelihood(logits, pieces).bits_per_note
        found["bits_per_note_float"] = likelihood(subject.model.network, pieces).bits_per_note
    return found


def _pieces(model: Model) -> tuple[Sequence[Words], str]:
    """Validation pieces of the model's corpus, or, where it is not at hand, pieces that the model composes."""
    try:
        name = str(model.training["corpus"])
        if name not in dict(corpora.built()):  # an export builds no corpus
            raise KeyError(name)
        pieces = list(corpora.load(name).words("validation")[:PIECES])
        return pieces, f"{len(pieces)} validation pieces of {model.training['corpus']}"
    except (MuspikeError, KeyError):
        composed = generate(model.network.runner(), PIECES, LENGTH, seed=0)
        return composed, f"{PIECES} pieces that the model composed, because its corpus is not at hand"
