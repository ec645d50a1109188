"""Trained spiking networks on neuromorphic hardware, and what they cost there; proved on symbolic music."""

from typing import TYPE_CHECKING

from muspike.public import lazily

if TYPE_CHECKING:  # the same names, for type checkers
    from muspike import architectures as architectures
    from muspike import corpora as corpora
    from muspike import metrics as metrics
    from muspike import midi as midi
    from muspike import tokens as tokens
    from muspike.checkpoint import Model as Model
    from muspike.checkpoint import load_model as load_model
    from muspike.checkpoint import save_model as save_model
    from muspike.errors import BadInput as BadInput
    from muspike.errors import Failed as Failed
    from muspike.evaluation import firing_rate as firing_rate
    from muspike.evaluation import likelihood as likelihood
    from muspike.generation import Sampling as Sampling
    from muspike.generation import generate as generate
    from muspike.generation import write_pieces as write_pieces
    from muspike.host import Timing as Timing
    from muspike.metrics import evaluate as evaluate
    from muspike.midi import Score as Score
    from muspike.model_folder import shipped_models as shipped_models
    from muspike.network import Network as Network
    from muspike.network import Population as Population
    from muspike.network import Synapse as Synapse
    from muspike.recipe import Recipe as Recipe
    from muspike.recipe import train as train
    from muspike.tokens import decode as decode
    from muspike.tokens import encode as encode

__version__ = "0.1.0"

__getattr__, __dir__ = lazily(
    __name__,
    {
        "checkpoint": "Model load_model save_model",
        "errors": "BadInput Failed",
        "evaluation": "firing_rate likelihood",
        "generation": "Sampling generate write_pieces",
        "midi": "Score",
        "model_folder": "shipped_models",
        "host": "Timing",
        "network": "Network Population Synapse",
        "recipe": "Recipe train",
        "tokens": "decode encode",
        "metrics": "evaluate",
    },
    submodules=("architectures", "corpora", "metrics", "midi", "tokens"),
)

__all__ = __dir__()
