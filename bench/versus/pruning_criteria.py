"""Which weights to prune: the criteria of the literature and `muspike.pruning.scores`, at equal operations saved.

A model loses weights without any training after it, until a note takes a given share of its synaptic operations, each
spike paying for the weights that are left. What the criteria differ in is the likelihood of the validation split.

    python bench/versus/pruning_criteria.py [--model s-rnn] [--left 0.6 0.4]
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping

import torch

from muspike import corpora, pruning
from muspike.checkpoint import load_model
from muspike.evaluation import likelihood, lined_up
from muspike.network import Network
from muspike.tables import text_table

Scores = Mapping[str, torch.Tensor]


def magnitude(network: Network) -> Scores:
    """One threshold for all weights."""
    return {name: w.detach().abs() for name, w in network.weights.items()}


def magnitude_per_matrix(network: Network) -> Scores:
    """The same share of each matrix: the rank of a weight in its matrix (Han et al. 2015, arXiv 1506.02626)."""
    return {
        name: (w.detach().abs().flatten().argsort().argsort() / w.numel()).view_as(w)
        for name, w in network.weights.items()
    }


def lamp(network: Network) -> Scores:
    """w^2 over the sum of the squares that are not smaller, in its matrix (LAMP; Lee et al. 2021, arXiv 2010.07611)."""
    found = {}
    for name, w in network.weights.items():
        squares, order = (w.detach().flatten() ** 2).sort()
        rest = squares.flip(0).cumsum(0).flip(0)
        score = torch.empty_like(squares)
        score[order] = squares / rest
        found[name] = score.view_as(w)
    return found


def operations(network: Network, rates: Mapping[str, float]) -> float:
    """Synaptic operations in a tick, if each spike pays for the weights that are not 0."""
    sources = {s.name: s.source for s in network.synapses}
    return sum(rates[sources[name]] * int(w.count_nonzero()) for name, w in network.weights.items())


def pruned(network: Network, scores: Scores, rates: Mapping[str, float], left: float) -> Network:
    """A copy without the weights of the lowest scores, so that the share `left` of the operations is left."""
    every, most = torch.cat([score.flatten() for score in scores.values()]), operations(network, rates)
    low, high = 0.0, 1.0
    for _ in range(16):
        middle = (low + high) / 2
        made = copy.deepcopy(network)
        threshold = every.kthvalue(max(1, int(middle * len(every)))).values
        with torch.no_grad():
            for name, w in made.weights.items():
                w.mul_(scores[name] > threshold)
        low, high = (middle, high) if operations(made, rates) > left * most else (low, middle)
    return made


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="s-rnn")
    options.add_argument("--left", nargs="+", type=float, default=[0.6, 0.4])
    args = options.parse_args()
    model = load_model(args.model)
    network, corpus = model.spiking, corpora.load(model.training["corpus"])
    train = corpus.evaluated("train")[:16]
    rates = pruning.population_rates(network, lined_up(train, [0] * len(train), 256)[0])
    criteria: Mapping[str, Callable[[], Scores]] = {
        "magnitude, one threshold": lambda: magnitude(network),
        "magnitude, per matrix": lambda: magnitude_per_matrix(network),
        "LAMP": lambda: lamp(network),
        "share of what the target hears (muspike prune)": lambda: pruning.scores(network, rates),
    }
    rows = []
    for left in args.left:
        for name, scores in criteria.items():
            made = pruned(network, scores(), rates, left)
            validation = corpus.evaluated("validation")
            bits = likelihood(lambda words, made=made: made(words)[0], validation).bits_per_note  # type: ignore[misc]
            rows.append([name, f"{100 * left:g} %", f"{100 * pruning.sparsity(made):.1f} %", f"{bits:.3f}"])
    print("\n".join(text_table(["criterion", "operations left", "zeros", "bits per note"], rows)))


if __name__ == "__main__":
    main()
