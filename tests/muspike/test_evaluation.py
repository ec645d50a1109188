"""Intervals of the likelihood, over pieces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from muspike import tokens
from muspike.errors import BadInput
from muspike.evaluation import Likelihood, likelihood
from noise_corpus import noise_corpus


def of(bits: list[float], notes: list[int]) -> Likelihood:
    return Likelihood({"pitch": sum(bits)}, sum(notes), 0, np.array([bits, notes], float).T)


def logits_of(words: torch.Tensor) -> torch.Tensor:
    return torch.linspace(0, 1, tokens.N_AXONS).expand(*words.shape[:2], -1)


def test_the_single_pieces_add_up_and_do_not_change_the_sum() -> None:
    pieces = [piece.words for piece in noise_corpus([40, 60, 40, 90], train=2, validation=1, name="noise").pieces]
    whole, each = likelihood(logits_of, pieces), likelihood(logits_of, pieces, each=True, at_once=100)
    assert each == likelihood(logits_of, pieces, at_once=100)
    assert each.of_pieces is not None and each.of_pieces.shape == (4, 2)
    assert each.of_pieces.sum(0) == pytest.approx([whole.bits_per_note * whole.notes, whole.notes])
    for piece in pieces:
        alone = likelihood(logits_of, [piece])
        assert np.isclose(each.of_pieces, [alone.bits_per_note * alone.notes, alone.notes], rtol=1e-5).all(1).any()


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    held = 0
    for trial in range(200):
        notes = random.integers(40, 200, 40)
        bits = notes * (3 + 0.5 * random.standard_normal(40))
        low, high = of(bits.tolist(), notes.tolist()).interval(seed=trial)
        held += low <= 3 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_a_change_is_surer_than_its_two_ends() -> None:
    random = np.random.default_rng(2)
    notes = random.integers(40, 200, 40)
    bits = notes * (3 + 0.5 * random.standard_normal(40))
    first, second = of(bits.tolist(), notes.tolist()), of((bits * 1.01).tolist(), notes.tolist())
    change, low, high = second.change_from(first)
    assert change == pytest.approx(0.01) and low == pytest.approx(0.01) and high == pytest.approx(0.01)
    assert np.ptp(first.interval()) > 0.1


def test_what_has_no_single_pieces_has_no_interval() -> None:
    with pytest.raises(BadInput, match="has no single pieces; ask for them with each=True"):
        Likelihood({"pitch": 3.0}, 1, 1).interval()
    with pytest.raises(BadInput, match="a change is that of the same pieces"):
        of([1, 2], [1, 1]).change_from(of([1, 2], [1, 2]))


def test_one_piece_has_its_value_for_an_interval() -> None:
    assert of([6.0], [2]).interval() == (3.0, 3.0)
