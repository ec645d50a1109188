"""The Frechet distance of two sets of pieces: of the normal distributions fitted to vectors that describe the pieces.

The Frechet Music Distance of Retkowski, Stepniak & Modrzejewski ("Frechet Music Distance: a metric for generative
symbolic music evaluation", 2024) is this distance on the vectors of CLaMP 2. Here any function from a piece to a vector
can be given. `muspike evaluate` uses the vector of the metrics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from muspike.errors import BadInput
from muspike.midi import Score

Embedding = Callable[[Score], ArrayLike]
"""A function from a piece to a vector, `[dimensions]`, of the same length for all pieces."""


def frechet_distance(generated: ArrayLike, reference: ArrayLike) -> float:
    """The squared Frechet distance of the normal distributions that are fitted to two sets of vectors.

    It is |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), with the means m and the covariances S, divided by n - 1 (Dowson
    & Landau, "The Frechet distance between multivariate normal distributions", J. Multivariate Analysis 12, 1982). The
    smaller the sets, the larger it is: compare values of equal numbers of pieces. The result is nan if a set has fewer
    than two vectors.

    Args:
        generated, reference: `[pieces, dimensions]`, without nan.
    """
    one, other = np.atleast_2d(np.asarray(generated, np.float64)), np.atleast_2d(np.asarray(reference, np.float64))
    if len(one) < 2 or len(other) < 2:
        return math.nan
    centres = one.mean(axis=0) - other.mean(axis=0)
    # S = A^T A, so the eigenvalues of S1 S2 are the squares of the singular values of A1 A2^T: none is negative.
    factors = [(of - of.mean(axis=0)) / math.sqrt(len(of) - 1) for of in (one, other)]
    roots = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    spread = sum(float((factor**2).sum()) for factor in factors)
    return float(max(centres @ centres + spread - 2 * roots, 0.0))


def frechet_music_distance(generated: Iterable[Score], reference: Iterable[Score], embed: Embedding) -> float:
    """The `frechet_distance` of two sets of pieces under an embedding.

    Raises:
        BadInput: the embedding gives vectors of different lengths, something else, or a number that is not finite.
    """
    return frechet_distance(embedded(generated, embed), embedded(reference, embed))


def embedded(pieces: Iterable[Score], embed: Embedding) -> NDArray[np.float64]:
    """The vectors of pieces, `[pieces, dimensions]`.

    Raises:
        BadInput: as `frechet_music_distance`.
    """
    vectors: list[NDArray[Any]] = []
    for number, piece in enumerate(pieces):
        found = embed(piece)
        try:
            vector = np.asarray(found, np.float64)
        except (TypeError, ValueError) as error:
            raise BadInput(
                f"embedding: gives a {type(found).__name__} for piece {number}; a vector of numbers is wanted"
            ) from error
        if vector.ndim != 1 or (vectors and vector.shape != vectors[0].shape):
            wanted = f"{len(vectors[0])} numbers as for piece 0" if vectors else "a vector"
            raise BadInput(f"embedding: gives shape {vector.shape} for piece {number}; {wanted} is wanted")
        if not np.isfinite(vector).all():
            raise BadInput(f"embedding: gives a number that is not finite for piece {number}")
        vectors.append(vector)
    return np.array(vectors)
