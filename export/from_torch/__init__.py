"""A torch module of Norse, snnTorch, SpikingJelly or sinabs as a NIR graph, proved against its own forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from muspike.errors import BadInput

if TYPE_CHECKING:
    import nir


def to_nir(module: Any, sample: Any = None, **options: Any) -> nir.NIRGraph:
    """Convert a network of muspike, or any torch module of spiking neurons, to a NIR graph.

    >>> from muspike import load_model
    >>> from muspike.export import to_nir
    >>> graph = to_nir(load_model("s-rnn").network)
    >>> graph.metadata["dt"]
    0.001

    A module is proved: every spike of every layer equals that of its own forward pass, on the sample and on random
    spikes.

    Args:
        module: a `muspike.Network`; or a torch module with neurons of Norse, snnTorch, SpikingJelly or sinabs.
        sample: what the module's forward takes: spikes. A `Network` needs none.
        options: `dt_s`, `per_tick`, `allow`, `seed`, as `muspike.export.from_torch.convert.convert` takes them; of a
            `Network`: `metadata`.

    Raises:
        BadInput: a chip cannot run the module; the message names the layer, its setting, and what to do.
        Failed: the graph is not equal to the module.
    """
    from muspike.network import Network

    if isinstance(module, Network):
        from muspike.export.to_nir_file import to_nir as of_network

        return of_network(module, **options)
    if sample is None:
        raise BadInput("to_nir: a torch module needs a sample of its input: to_nir(module, sample)")
    from muspike.export.from_torch.convert import from_torch

    return from_torch(module, sample, **options)
