"""Pruning: training goes on while more and more weights become 0 for good, the smallest first.

On a chip a synapse costs energy whenever its source spikes, so weights of 0 that are not stored save it.

- **Which weights.** The magnitude of a weight counts in relation to what its target hears (`scores`). A neuron sums
  spikes of rate r through weights w, so a weight adds about r w^2 to the variance of the sum, and costs r operations a
  tick. What it adds for each operation is w^2, and it matters as much as it is of the whole variance. So the weights
  with the smallest w^2 / (sum of r w^2 over all that reach the target) go first. One threshold holds for the whole
  network. Among the weights of one neuron this is magnitude pruning (Han et al. 2015, arXiv 1506.02626).
- **When.** The share of weights that are 0 grows from s0 to s by the cubic schedule of Zhu & Gupta 2017 (arXiv
  1710.01878, eq. 1): s + (s0 - s) (1 - t / n)^3 at step t of the first n steps. The other steps only train what is
  left.
- **For good.** A weight of 0 stays exactly 0: it gets no gradient, and the optimiser's momentum does not move it. So
  the weights themselves say what is pruned, and a run goes on from its state as any other does.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from muspike import training
from muspike.checkpoint import Model
from muspike.corpora import Corpus
from muspike.network import Network
from muspike.processes import ALONE, CPU, Team
from muspike.ranges import at_least, check, setting, share, share_below_1
from muspike.tokens import Words

# A share of this much of the model's own learning rate, which was for weights drawn at random.
LEARNING_RATE_SHARE = 0.3


@dataclasses.dataclass(frozen=True)
class Settings(training.Settings):
    """How to prune.

    Attributes:
        sparsity: share of the trained weights between neurons that are 0 at the end.
        pruning_share: share of the steps in which weights become 0; the rest trains what is left.
        prune_every: number of steps from one choice of weights to the next.

    Raises:
        BadInput: a value is outside its range.
    """

    sparsity: float = setting(0.5, share_below_1())
    pruning_share: float = setting(0.5, share())
    prune_every: int = setting(10, at_least(1))

    def __post_init__(self) -> None:
        check(self, "pruning")

    @property
    def pruning_steps(self) -> int:
        """The number of steps in which weights become 0, n in the schedule."""
        return max(1, round(self.steps * self.pruning_share))


def sparsity(network: Network) -> float:
    """The share of the trained weights between neurons that are 0."""
    weights = list(network.weights.values())
    left = sum(int(w.count_nonzero()) for w in weights)
    of = sum(int(w.numel()) for w in weights)
    return 1 - left / of


def scheduled(before: float, after: float, done: float) -> float:
    """The sparsity when the share `done`, 0 to 1, of the pruning steps is over; it grows from `before` to `after`."""
    return after + (before - after) * (1 - min(1.0, done)) ** 3


def scores(network: Network, rates: Mapping[str, float]) -> dict[str, torch.Tensor]:
    """How much each trained weight matters, `[target, source]`, by synapse; comparable over the whole network.

    Args:
        network: the network.
        rates: spikes per neuron and tick, by population, of all populations that spike and of the input.
    """
    sources = {s.name: (s.source, s.target) for s in network.synapses}
    variance: dict[str, torch.Tensor] = {}
    weights = {name: w.detach() for name, w in network.weights.items()}
    for name, w in weights.items():
        source, target = sources[name]
        variance[target] = variance.get(target, 0) + rates[source] * (w**2).sum(1)
    least = torch.finfo(torch.float32).tiny
    return {name: w.abs() / variance[sources[name][1]].clamp_min(least).sqrt()[:, None] for name, w in weights.items()}


@torch.no_grad()
def population_rates(network: Network, words: torch.Tensor) -> dict[str, float]:
    """Spikes per neuron and tick of every population that spikes, and of the input, on `words` `[tokens, batch, 7]`.

    `words` may have labels too.
    """
    rates: dict[str, torch.Tensor] = {}
    network.eval()
    network(words, regularise=rates)
    # A word is a spike on one axon for each of its values, in each tick in which it is presented.
    timing, axons = network.timing, network.populations[network.input].size
    heard = (network.axons(words) >= 0).sum(-1).float().mean().item() * timing.ticks / (timing.period * axons)
    return {name: float(rate) for name, rate in rates.items()} | {network.input: heard}


class Run(training.Run):
    """One pruning of a model in a folder. Arguments and errors are those of `training.Run`; `initial` is the model.

    The model that is kept is the best one of those with all the zeros.
    """

    settings: Settings

    def __init__(
        self,
        folder: Path,
        initial: Model,
        settings: Settings,
        corpus: Corpus,
        *,
        device: torch.device = CPU,
        teacher: Model | None = None,
        team: Team = ALONE,
        grid: training.Grid | None = None,
    ) -> None:
        about = (initial.architecture, initial.settings)
        super().__init__(
            folder, *about, settings, corpus, device=device, initial=initial, teacher=teacher, team=team, grid=grid
        )
        begun = initial.spiking
        self._before = sparsity(begun)
        batch, *_ = training.draw_batch(corpus.words("train"), settings, 0, self.labels["train"])
        self._rates = population_rates(begun, batch)
        self._kept = {name: w.detach() != 0 for name, w in self._weights.items()}
        for name, w in self._weights.items():
            w.register_hook(lambda gradient, name=name: gradient * self._kept[name])  # type: ignore[no-untyped-call]

    @property
    def _weights(self) -> Mapping[str, torch.nn.Parameter]:
        assert isinstance(self.network, Network)
        return dict(self.network.weights.items())

    def step(self, pieces: Sequence[Words]) -> float:
        """See `training.Run`. The weights to prune are chosen before the step."""
        settings, step = self.settings, self.progress.step
        last = settings.pruning_steps
        if ((step + 1) % settings.prune_every == 0 and step + 1 < last) or step + 1 == last:
            self._prune(scheduled(self._before, settings.sparsity, (step + 1) / last))
        bits = super().step(pieces)
        self._hold()
        return bits

    def is_best(self, bits: float) -> bool:
        """See `training.Run`. A model that is not pruned to the end is none."""
        return self.progress.step >= self.settings.pruning_steps and super().is_best(bits)

    def model(self) -> Model:
        """See `training.Run`. The record says what share of the weights is 0."""
        model = super().model()
        record = {"sparsity": sparsity(model.spiking), "rates": self._rates}
        return dataclasses.replace(model, training={**model.training, "pruned": record})

    def told(self, point: Mapping[str, float | None]) -> str:
        """See `training.Run`."""
        return f", {100 * point['sparsity']:.1f} % of the weights are 0"  # type: ignore[operator]

    def observed(self) -> dict[str, float | None]:
        """See `training.Run`."""
        assert isinstance(self.network, Network)
        return {"sparsity": sparsity(self.network)}

    def _prune(self, wanted: float) -> None:
        """Set the least important weights to 0, until the share `wanted` of all is 0."""
        assert isinstance(self.network, Network)
        found = scores(self.network, self._rates)
        every = torch.cat([score.flatten() for score in found.values()])
        if (zeros := math.floor(wanted * len(every))) < 1:
            return
        threshold = every.kthvalue(zeros).values
        self._kept = {name: self._kept[name] & (score > threshold) for name, score in found.items()}
        self._hold()

    @torch.no_grad()
    def _hold(self) -> None:
        for name, w in self._weights.items():
            w.mul_(self._kept[name])
