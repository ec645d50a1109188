"""Pairs are matched so that all together are as alike as they can be."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike.bench.study.excerpts import START, Length, find
from muspike.bench.study.pairs import matched, similarity, vectors
from stored_corpus import write_folder


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 2), st.integers(1, 2), st.integers(0, 2), st.integers(0, 2))
def test_no_other_pairs_are_more_alike_in_all(seed: int, sources: int, number: int, spare: int, more: int) -> None:
    random = np.random.default_rng(seed)
    human = random.standard_normal((sources * number + spare, 3))
    others = {f"s{n}": random.standard_normal((number + more, 3)) for n in range(sources)}
    found = matched(human, others, number)
    used = [one for pairs in found.values() for one, _, _ in pairs]
    assert len(set(used)) == len(used)
    for source, pairs in found.items():
        assert len(pairs) == number and len({other for _, other, _ in pairs}) == number
        for one, other, alike in pairs:
            assert alike == pytest.approx(similarity(human[one : one + 1], others[source][other : other + 1])[0, 0])
    total = sum(alike for pairs in found.values() for _, _, alike in pairs)
    best = 0.0
    tables = [similarity(human, of) for of in others.values()]
    for order in permutations(range(len(human)), sources * number):
        parts = [order[n * number : (n + 1) * number] for n in range(sources)]
        each = [
            max(
                sum(tables[n][one, other] for one, other in zip(part, chosen, strict=True))
                for chosen in permutations(range(number + more), number)
            )
            for n, part in enumerate(parts)
        ]
        best = max(best, sum(each))
    assert total == pytest.approx(best)


def test_the_same_is_wholly_alike_and_random_pieces_are_at_041() -> None:
    random = np.random.default_rng(0)
    table = random.standard_normal((400, 30))
    assert np.diag(similarity(table, table)) == pytest.approx(1)
    different = similarity(table[:200], table[200:])
    assert different.mean() == pytest.approx(1 / (1 + 2**0.5), abs=0.01)
    assert ((different >= 0) & (different <= 1)).all()


def test_pieces_are_described_by_their_metrics(tmp_path: Path) -> None:
    write_folder(tmp_path / "pieces", range(6))
    found = find("x", str(tmp_path / "pieces"), Length(60), 6, START, [0]).excerpts
    table = vectors(found)
    assert table.shape[0] == 6 and table.shape[1] > 10
    assert np.isfinite(table).all()
    assert table.mean(axis=0) == pytest.approx(0, abs=1e-9) and table.std(axis=0) == pytest.approx(1)
