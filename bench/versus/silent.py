"""How many neurons of the models that ship never spike on the validation split of their corpus.

    python bench/versus/silent.py > docs/results/logs/silent.txt

The float networks read the whole pieces. Populations that a composite keeps to itself are left out.
"""

from __future__ import annotations

import numpy as np
import torch

from muspike import corpora, load_model
from muspike.model_folder import shipped_models
from muspike.network import Network


def main() -> None:
    """Print a line for each population of each model."""
    torch.set_flush_denormal(True)
    print(f"{'':<16}{'population':<14}{'neurons':>8}{'silent':>8}")
    for name in shipped_models():
        model = load_model(name)
        network = model.network
        assert isinstance(network, Network)
        spikes = {population: torch.zeros(network.populations[population].size) for population in network.recordable}
        with torch.no_grad():
            for piece in corpora.load(str(model.training["corpus"])).evaluated("validation"):
                words = torch.from_numpy(np.asarray(piece, np.int64)[:, None])
                for population, found in network(words, network.recordable)[1].items():
                    spikes[population] += found.sum((0, 1, 2))
        for population, counts in spikes.items():
            print(f"{name:<16}{population:<14}{len(counts):>8}{int((counts == 0).sum()):>8}", flush=True)


if __name__ == "__main__":
    main()
