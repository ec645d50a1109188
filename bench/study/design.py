"""Who hears what, in which order.

A listener rates as many excerpts of each source as of any other. The orders are a Williams design (E. J. Williams,
"Experimental designs balanced for the estimation of residual effects of treatments", Australian J. Chemistry 2, 1949):
over one round of its orders, every treatment stands at every place equally often, and follows every other equally
often. The treatments here are slots: "the third excerpt of s-rnn that this listener hears". So over all sequences

- every source stands at every place equally often, and so does every single excerpt;
- every source follows every other equally often. It follows itself a little less often: `per_source - 1` times where
  another follows `per_source` times, because no excerpt follows itself.

A listener who hears some of the excerpts only gets the next ones of each source in the next round of orders; over all
rounds, every excerpt is heard equally often. What is counted here is what is rated. Attention checks stand between;
repeats and pairs come after.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from muspike.bench.study.study import ATTENTION, PAIR, RATING, REPEAT, Trial
from muspike.errors import BadInput

MOST_LISTS = 2000
"""Sequences of trials in a study. Far more listeners than any study has had would still each have one of their own."""

_DRAWS = 200  # labellings among which the one with the shortest runs is taken


@dataclass(frozen=True)
class Pair:
    """Two excerpts of which a listener says which one a human composed.

    Attributes:
        human: id of the excerpt of the human source.
        other: id of the other one.
        source: source of the other one.
        similarity: of the two, in [0, 1].
    """

    human: str
    other: str
    source: str
    similarity: float


def williams(treatments: int) -> npt.NDArray[np.int64]:
    """The orders of a Williams design, `[orders, treatments]`: as many as treatments, or twice as many if their number
    is odd.

    >>> from muspike.bench.study.design import williams
    >>> williams(4).tolist()
    [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]
    """
    steps = np.arange(treatments)
    first = np.where(steps % 2, (steps + 1) // 2, -(steps // 2)) % treatments
    orders = (first + np.arange(treatments)[:, None]) % treatments
    return np.concatenate([orders, orders[:, ::-1]]) if treatments % 2 else orders


def lists(
    rated: Mapping[str, Sequence[str]],
    per_source: int,
    *,
    pairs: Sequence[Pair] = (),
    attention: int = 0,
    repeats: int = 0,
    points: int = 5,
    seed: int = 0,
) -> tuple[tuple[Trial, ...], ...]:
    """The sequences of trials of a study.

    A sequence has the rated excerpts, with attention checks between them, then the repeats, then the pairs.

    Args:
        rated: by source, ids of its excerpts that are rated; equally many of each source.
        per_source: how many of each source a listener rates.
        pairs: every listener hears all of them. The human excerpt is offered first in half of the sequences.
        attention: attention checks in each sequence, at drawn places that are neither the first nor the last. They play
            an excerpt that was rated before.
        repeats: how many of the rated excerpts are rated again, after all others. They are drawn from the first half,
            from one source after another.
        points: of the scale, from which attention checks draw the one that they ask for.
        seed: of all that is drawn.

    Raises:
        BadInput: the numbers do not fit each other, or would give more than `MOST_LISTS` sequences.
    """
    sources = list(rated)
    numbers = {len(ids) for ids in rated.values()}
    if len(sources) < 2 or len(numbers) != 1:
        raise BadInput("design: expected two or more sources with equally many excerpts each")
    (excerpts,) = numbers
    if not 1 <= per_source <= excerpts:
        raise BadInput(f"design: a listener rates {per_source} excerpts of each source, expected 1 to {excerpts}")
    trials = len(sources) * per_source
    if attention > (most := max(0, (trials - 1) // 2)):
        raise BadInput(f"design: {attention} attention checks among {trials} rated excerpts, expected at most {most}")
    if repeats > trials // 2:
        raise BadInput(f"design: {repeats} repeats of {trials} rated excerpts, expected at most {trials // 2}")
    random = np.random.default_rng(seed)
    orders = williams(trials)
    orders = orders[random.permutation(len(orders))]
    rounds = excerpts // math.gcd(excerpts, per_source)
    if (number := len(orders) * rounds) > MOST_LISTS:
        raise BadInput(
            f"design: {number:,} sequences would balance {per_source} of {excerpts} excerpts from {len(sources)} "
            f"sources, expected at most {MOST_LISTS:,}; a listener could rate another number of them, such as "
            f"{_divisor_near(excerpts, per_source)}"
        )
    slots = _labelled(orders, len(sources), per_source, random)
    shuffled = {source: random.permutation(np.asarray(ids)).tolist() for source, ids in rated.items()}
    pair_orders = williams(len(pairs)) if pairs else np.zeros((1, 0), np.int64)
    together = math.lcm(len(orders), rounds)
    made = []
    for number in range(len(orders) * rounds):
        # Every combination of an order and a round comes once, and neighbours differ in both.
        order, turn = orders[(number + number // together) % len(orders)], number % rounds
        ids = [
            shuffled[sources[slots[slot, 0]]][(turn * per_source + slots[slot, 1]) % excerpts]
            for slot in order.tolist()
        ]
        of = [sources[slots[slot, 0]] for slot in order.tolist()]
        again = _repeated(ids, of, sources, number, repeats, random)
        trials_here = _with_checks(ids, again, attention, points, random)
        trials_here += [Trial(REPEAT, (id,)) for id in again]
        for place in pair_orders[number // 2 % len(pair_orders)].tolist():
            pair = pairs[place]
            heard = (pair.human, pair.other)
            human_first = (_rank(pairs, place) + sources.index(pair.source) + number) % 2 == 0
            trials_here.append(Trial(PAIR, heard if human_first else heard[::-1], similarity=pair.similarity))
        made.append(tuple(trials_here))
    return tuple(made)


def _divisor_near(number: int, wanted: int) -> int:
    return min((d for d in range(1, number + 1) if number % d == 0), key=lambda d: abs(d - wanted))


def _labelled(
    orders: npt.NDArray[np.int64], sources: int, per_source: int, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The source and the number of each slot, `[slots, 2]`: those with the shortest runs of some that are drawn.

    The design is balanced under any; a plain one would show a pattern to the listener.
    """
    best, shortest = None, math.inf
    plain = np.repeat(np.arange(sources), per_source)
    for _ in range(_DRAWS):
        drawn = random.permutation(plain)
        longest = max(len(list(run)) for order in drawn[orders] for _, run in groupby(order.tolist()))
        if longest < shortest:
            best, shortest = drawn, longest
    assert best is not None
    numbers = np.zeros(len(best), np.int64)
    for source in range(sources):
        numbers[best == source] = random.permutation(per_source)
    return np.stack([best, numbers], axis=1)


def _repeated(
    ids: Sequence[str],
    of: Sequence[str],
    sources: Sequence[str],
    number: int,
    repeats: int,
    random: np.random.Generator,
) -> list[str]:
    """The ids that are rated again, from one source after another."""
    found: list[str] = []
    for repeat in range(repeats):
        source = sources[(number + repeat) % len(sources)]
        mine = [place for place, name in enumerate(of) if name == source and ids[place] not in found]
        early = [place for place in mine if place < len(ids) // 2]
        # The last one would be heard twice in a row.
        late = [place for place in mine if place < len(ids) - 1] or mine
        found.append(ids[int(random.choice(early or late))])
    return found


def _with_checks(
    ids: Sequence[str], again: Sequence[str], attention: int, points: int, random: np.random.Generator
) -> list[Trial]:
    """The rated trials with attention checks between them, which are never neighbours."""
    # A check comes after so many rated trials. Drawn so, no two places are neighbours.
    places = np.sort(random.choice(len(ids) - attention, attention, replace=False)) + np.arange(attention) + 1
    wanted = random.permutation(np.tile(np.arange(1, points + 1), attention // points + 1)[: max(attention, points)])
    checks = dict(zip(places.tolist(), wanted.tolist(), strict=False))
    made, used = [], set(again)
    for place, id in enumerate(ids):
        if place in checks:
            heard = [known for known in ids[:place] if known not in used] or list(ids[:place])
            replayed = heard[int(random.integers(len(heard)))]
            used.add(replayed)
            made.append(Trial(ATTENTION, (replayed,), wanted=checks[place]))
        made.append(Trial(RATING, (id,)))
    return made


def _rank(pairs: Sequence[Pair], place: int) -> int:
    """How many pairs of the same source stand before this one."""
    return sum(pair.source == pairs[place].source for pair in pairs[:place])
