"""The design is balanced: sources, places, neighbours, repeats, sides of a pair."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike.bench.study.design import MOST_LISTS, Pair, lists, williams
from muspike.bench.study.study import ATTENTION, PAIR, RATING, REPEAT, Trial
from muspike.errors import BadInput


def rated_of(sources: int, excerpts: int) -> dict[str, list[str]]:
    return {f"source{s}": [f"{s}-{e}" for e in range(excerpts)] for s in range(sources)}


def heard(trials: tuple[Trial, ...], kind: str) -> list[str]:
    return [trial.stimuli[0] for trial in trials if trial.kind == kind]


def source_of(id: str) -> str:
    return f"source{id.partition('-')[0]}"


@given(st.integers(2, 40))
def test_a_williams_design_has_every_treatment_at_every_place_and_after_every_other(treatments: int) -> None:
    orders = williams(treatments).tolist()
    times = 2 if treatments % 2 else 1
    assert len(orders) == times * treatments
    assert all(sorted(order) == list(range(treatments)) for order in orders)
    at = Counter((place, t) for order in orders for place, t in enumerate(order))
    assert len(at) == treatments**2 and set(at.values()) == {times}
    after = Counter(pair for order in orders for pair in pairwise(order))
    assert len(after) == treatments * (treatments - 1) and set(after.values()) == {times}


sizes = st.tuples(st.integers(2, 5), st.integers(1, 9)).flatmap(
    lambda n: st.tuples(st.just(n[0]), st.just(n[1]), st.integers(1, n[1]))
)


@settings(deadline=None, max_examples=25)
@given(sizes, st.integers(0, 2**32 - 1))
def test_every_listener_hears_each_source_equally_often_and_no_excerpt_twice(
    size: tuple[int, int, int], seed: int
) -> None:
    sources, excerpts, per_source = size
    for trials in lists(rated_of(sources, excerpts), per_source, seed=seed):
        ids = heard(trials, RATING)
        assert len(set(ids)) == len(ids) == sources * per_source
        assert set(Counter(map(source_of, ids)).values()) == {per_source}


@settings(deadline=None, max_examples=25)
@given(sizes, st.integers(0, 2**32 - 1))
def test_over_all_lists_excerpts_places_and_neighbours_are_balanced(size: tuple[int, int, int], seed: int) -> None:
    sources, excerpts, per_source = size
    made = [heard(trials, RATING) for trials in lists(rated_of(sources, excerpts), per_source, seed=seed)]
    each = Counter(id for ids in made for id in ids)
    assert len(each) == sources * excerpts and len(set(each.values())) == 1
    at = Counter((place, source_of(id)) for ids in made for place, id in enumerate(ids))
    assert len(set(at.values())) == 1
    after = Counter((source_of(one), source_of(other)) for ids in made for one, other in pairwise(ids))
    different = {after[pair] for pair in after if pair[0] != pair[1]}
    same = {after[f"source{s}", f"source{s}"] for s in range(sources)}
    assert len(different) == 1 and len(same) == 1
    # As slots drawn without replacement would have it: per_source to per_source - 1.
    assert different.pop() * (per_source - 1) == same.pop() * per_source
    single = Counter((place, id) for ids in made for place, id in enumerate(ids))
    assert len(set(single.values())) == 1, "every excerpt stands at every place equally often"


@settings(deadline=None, max_examples=15)
@given(sizes, st.integers(0, 4), st.integers(0, 4), st.integers(2, 7), st.integers(0, 1000))
def test_attention_checks_and_repeats_keep_their_places(
    size: tuple[int, int, int], attention: int, repeats: int, points: int, seed: int
) -> None:
    sources, excerpts, per_source = size
    count = sources * per_source
    attention, repeats = min(attention, (count - 1) // 2), min(repeats, count // 2)
    made = lists(
        rated_of(sources, excerpts), per_source, attention=attention, repeats=repeats, points=points, seed=seed
    )
    by_source: Counter[str] = Counter()
    for trials in made:
        kinds = [trial.kind for trial in trials]
        assert kinds.count(ATTENTION) == attention and kinds.count(REPEAT) == repeats
        assert kinds[count + attention :] == [REPEAT] * repeats, "repeats come last"
        ratings = kinds[: count + attention]
        assert ratings[0] == ratings[-1] == RATING
        assert (ATTENTION, ATTENTION) not in pairwise(ratings)
        seen: list[str] = []
        for trial in trials:
            if trial.kind == ATTENTION:
                assert trial.stimuli[0] in seen and trial.wanted in range(1, points + 1)
            seen.append(trial.stimuli[0])
        again = heard(trials, REPEAT)
        assert len(set(again)) == len(again) and set(again) <= set(heard(trials, RATING))
        by_source.update(map(source_of, again))
        if attention <= points:
            wanted = [trial.wanted for trial in trials if trial.kind == ATTENTION]
            assert len(set(wanted)) == len(wanted)
    if repeats:
        assert set(by_source.values()) == {len(made) * repeats // sources}


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 4), st.integers(1, 5), st.integers(1, 5), st.integers(0, 1000))
def test_the_human_piece_of_a_pair_is_first_in_half_of_the_lists(
    sources: int, excerpts: int, each: int, seed: int
) -> None:
    pairs = [Pair(f"h{s}.{n}", f"o{s}.{n}", f"source{s}", 0.5) for s in range(1, sources) for n in range(each)]
    made = lists(rated_of(sources, excerpts), excerpts, pairs=pairs, seed=seed)
    first = Counter(trial.stimuli[0] for trials in made for trial in trials if trial.kind == PAIR)
    for pair in pairs:
        assert first[pair.human] == first[pair.other] == len(made) / 2
    for trials in made:
        asked = [trial for trial in trials if trial.kind == PAIR]
        assert sorted(tuple(sorted(trial.stimuli)) for trial in asked) == sorted((p.human, p.other) for p in pairs)
        assert abs(2 * sum(trial.stimuli[0].startswith("h") for trial in asked) - len(pairs)) <= max(1, sources - 1)
        assert [trial.kind for trial in trials][-len(pairs) :] == [PAIR] * len(pairs)


def test_attention_checks_and_repeats_are_drawn_anew_in_each_list() -> None:
    made = lists(rated_of(2, 8), 8, attention=2, repeats=2, seed=1)
    places = {tuple(n for n, trial in enumerate(trials) if trial.kind == ATTENTION) for trials in made}
    assert len(places) > len(made) / 2


def test_runs_of_one_source_stay_short() -> None:
    for seed in range(5):
        for trials in lists(rated_of(2, 8), 8, seed=seed):
            sources = [source_of(id) for id in heard(trials, RATING)]
            assert not any(len(set(sources[n : n + 5])) == 1 for n in range(len(sources) - 4))


def test_the_seed_decides() -> None:
    rated = rated_of(3, 5)
    assert lists(rated, 3, attention=2, seed=4) == lists(rated, 3, attention=2, seed=4)
    assert lists(rated, 3, attention=2, seed=4) != lists(rated, 3, attention=2, seed=5)


@pytest.mark.parametrize(
    ("sources", "excerpts", "per_source", "more", "told"),
    [
        (1, 4, 4, {}, "two or more sources"),
        (2, 4, 5, {}, "a listener rates 5 excerpts of each source, expected 1 to 4"),
        (2, 4, 0, {}, "a listener rates 0"),
        (2, 2, 2, {"attention": 2}, "2 attention checks among 4 rated excerpts, expected at most 1"),
        (2, 2, 2, {"repeats": 3}, "3 repeats of 4 rated excerpts, expected at most 2"),
        (5, 97, 6, {}, f"expected at most {MOST_LISTS:,}"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    sources: int, excerpts: int, per_source: int, more: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadInput, match=told):
        lists(rated_of(sources, excerpts), per_source, **more)
