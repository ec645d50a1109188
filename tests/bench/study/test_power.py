"""The power analysis against textbook values, and against ratings that are drawn as it assumes."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("statsmodels", reason="the extra study is not installed")

from scipy import stats

from muspike.bench.study import power
from muspike.bench.study.new import Settings
from muspike.bench.study.power import Assumed, Design

PLAIN = Assumed(sd=1, listener=0, taste=0, piece=0, turing_listener=0, turing_piece=0)
DESIGN = Design(sources=2, excerpts=8, per_source=8, turing_answers=8, turing_pieces=8, groups=1)


def test_with_one_independent_rating_each_it_is_the_paired_t_test_of_the_textbook() -> None:
    """34 pairs find a difference of half its standard deviation, at 5 % with power 0.8 (Cohen 1988, table 2.4.1)."""
    design = replace(DESIGN, per_source=1, assumed=PLAIN)
    # The difference of two independent ratings has the variance 2.
    assert power.listeners_for(lambda n: power.power_of_difference(design, 0.5 * math.sqrt(2), n), 0.8) == 34


def test_between_groups_it_is_the_t_test_of_two_samples_of_the_textbook() -> None:
    """64 in each group find half a standard deviation (Cohen 1988, table 2.4.1)."""
    design = replace(DESIGN, per_source=1, assumed=PLAIN, groups=2)
    found = power.listeners_for(lambda n: power.power_between_groups(design, 0.5 * math.sqrt(2), n), 0.8)
    assert found == 64


def drawn_answers(design: Design, share: float, listeners: int, random: np.random.Generator) -> np.ndarray:
    """Right answers `[listeners, pieces]`, human pieces before others, of a study without effects of pieces."""
    of, number = design.assumed, design.sources * design.turing_pieces
    spread = math.sqrt(of.turing_listener * share * (1 - share))
    chance = np.clip(share + spread * random.normal(size=(listeners, 1)), 0, 1)
    return random.random((listeners, number)) < chance


@pytest.mark.parametrize("sources", [2, 4])
def test_a_t_test_of_drawn_turing_answers_finds_as_often_as_it_says(sources: int) -> None:
    """Human pieces and others are one half each, and so is the criterion's part of the level."""
    random = np.random.default_rng(0)
    design = replace(DESIGN, sources=sources, assumed=replace(power.assumed(), turing_piece=0.0))
    share, listeners, runs, found = 0.56, 20, 1500, 0
    for _ in range(runs):
        right = drawn_answers(design, share, listeners, random)
        of_each = (right[:, :8].mean(axis=1) + right[:, 8:].mean(axis=1)) / 2
        found += stats.ttest_1samp(of_each, 0.5).pvalue < design.alpha / 2
    assert found / runs == pytest.approx(power.power_of_turing(design, share, listeners), abs=0.04)


def test_over_drawn_pieces_the_share_of_right_answers_varies_as_it_says() -> None:
    """The share at which the power is one half is as many standard errors from chance as t is there."""
    random = np.random.default_rng(1)
    of, listeners, share = DESIGN.assumed, 2000, 0.6
    shares = []
    for _ in range(1500):
        pieces = math.sqrt(of.turing_piece * share * (1 - share)) * random.normal(size=16)
        shares.append(np.clip(share + pieces, 0, 1).mean())
    error = math.sqrt(share * (1 - share) * of.turing_piece * (1 / 8 + 1 / 8) / 4)
    assert np.std(shares) == pytest.approx(error, rel=0.05)
    power_here = stats.nct.sf(stats.t.ppf(1 - 0.0125, 14), 14, 0.1 / error)
    assert power.power_of_turing(DESIGN, share, listeners) == pytest.approx(power_here, abs=0.02)


def test_levels_are_those_of_the_families_of_the_plan() -> None:
    design = replace(DESIGN, sources=4, groups=3)
    assert design.alpha_of_one == 0.05 / 9  # three groups, each of three sources against the human one
    assert design.alpha_of_turing == 0.05 / 6  # three groups, d' and criterion
    found = power.analyse(replace(DESIGN, excerpts=24), 0.5, 0.65)
    all_groups = power.analyse(replace(DESIGN, excerpts=24, groups=3), 0.5, 0.65)
    assert found.listeners is not None and all_groups.together == math.ceil(found.listeners / 3)
    assert all_groups.wanted == max(all_groups.listeners or 0, all_groups.turing or 0)


def drawn(design: Design, effect: float, listeners: int, random: np.random.Generator) -> np.ndarray:
    """Mean ratings `[listeners, 2]` of two sources, as the analysis assumes them."""
    of, k = design.assumed, design.per_source
    pieces = random.normal(0, math.sqrt(of.piece), (2, design.excerpts))
    level = random.normal(0, math.sqrt(of.listener), (listeners, 1, 1))
    taste = random.normal(0, math.sqrt(of.taste), (listeners, 2, 1))
    rest = random.normal(0, math.sqrt(of.rest), (listeners, 2, k))
    ratings = level + taste + pieces[None, :, :k] + rest
    ratings[:, 1] -= effect
    return np.asarray(ratings.mean(axis=2))


def test_a_t_test_of_drawn_ratings_finds_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    fixed = replace(DESIGN, assumed=replace(power.assumed(), piece=0.0))
    effect, listeners, runs = 0.3, 20, 2000
    found = 0
    for _ in range(runs):
        ratings = drawn(fixed, effect, listeners, random)
        found += stats.ttest_rel(ratings[:, 0], ratings[:, 1]).pvalue < 0.05
    assert found / runs == pytest.approx(power.power_of_difference(fixed, effect, listeners), abs=0.035)


def test_over_drawn_pieces_the_difference_varies_as_it_says() -> None:
    random = np.random.default_rng(1)
    of, listeners = DESIGN.assumed, 30
    differences = [np.subtract(*drawn(DESIGN, 0.0, listeners, random).mean(axis=0)) for _ in range(6000)]
    expected = 2 * of.taste / listeners + 2 * of.rest / (listeners * 8) + 2 * of.piece / 8
    assert np.var(differences) == pytest.approx(expected, rel=0.06)


@settings(deadline=None, max_examples=15)
@given(
    st.integers(2, 6), st.integers(2, 30), st.integers(1, 30), st.integers(3, 200), st.floats(0.05, 2), st.booleans()
)
def test_more_listeners_pieces_and_effect_never_have_less_power(
    sources: int, excerpts: int, per_source: int, listeners: int, effect: float, general: bool
) -> None:
    per_source = min(per_source, excerpts)
    design = replace(DESIGN, sources=sources, excerpts=excerpts, per_source=per_source)

    def found(design: Design = design, effect: float = effect, listeners: int = listeners) -> float:
        return power.power_of_difference(design, effect, listeners, general=general)

    base = found()
    assert 0 <= base <= 1
    least = base - 1e-4  # noncentral t of scipy is that wrong where the power is nearly 1
    assert found(listeners=listeners + 1) >= least
    assert found(effect=effect * 1.1) >= least
    assert found(design=replace(design, excerpts=excerpts + 1)) >= least
    assert found(design=replace(design, sources=sources + 1)) <= base + 1e-4
    assert power.power_of_difference(design, effect, listeners, general=False) >= least


@pytest.mark.parametrize("general", [True, False])
def test_the_smallest_finds_have_the_wanted_power(general: bool) -> None:
    for listeners in (26, 76, 100):
        size = power.smallest_difference(DESIGN, listeners, general=general)
        share = power.smallest_share(DESIGN, listeners, general=general)
        assert size is not None and share is not None
        assert power.power_of_difference(DESIGN, size, listeners, general=general) == pytest.approx(0.8, abs=0.005)
        assert power.power_of_turing(DESIGN, share, listeners, general=general) == pytest.approx(0.8, abs=0.005)


def test_where_listeners_do_not_suffice_it_says_how_many_pieces_do() -> None:
    design = replace(DESIGN, sources=6, per_source=2, turing_answers=2)
    found = power.analyse(design, 0.5, None)
    assert found.listeners is None and found.excerpts is not None and found.listeners_here is not None
    enough = replace(design, excerpts=found.excerpts)
    assert power.power_of_difference(enough, 0.5, 2 * found.listeners_here) >= 0.8
    assert power.power_of_difference(replace(design, excerpts=found.excerpts - 1), 0.5, 2 * found.listeners_here) < 0.8
    assert found.wanted == found.listeners_here
    assert f"with {found.excerpts}, {2 * found.listeners_here} listeners do" in found.sentences()[0]


def test_d_prime() -> None:
    """Macmillan & Creelman 2005: 0.76 right answers are d' 1 in pairs; 0.69 in single pieces."""
    assert power.d_prime(0.5, pairs=True) == 0
    assert power.d_prime(0.76, pairs=True) == pytest.approx(1, abs=0.01)
    assert power.d_prime(0.6915, pairs=False) == pytest.approx(1, abs=0.001)


def test_a_hundred_experts_find_smaller_differences_than_the_26_of_the_paper() -> None:
    rows = {row.listeners: row for row in power.analyse(DESIGN, 0.5, 0.65).rows}
    assert list(rows) == [26, 50, 76, 100]
    sizes = [row.difference_here or 0.0 for row in rows.values()]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] > 0


def test_all_that_is_assumed_says_so() -> None:
    assert {constant.tag for constant in power.constants().values()} == {"assumed"}
    assert power.assumed().rest > 0


def test_the_page_has_the_numbers_of_the_code() -> None:
    text = (Path(__file__).parents[3] / "docs" / "study.md").read_text(encoding="utf-8")
    rows = []
    for excerpts in (8, 12, 16, 24):
        found = Settings(excerpts=excerpts).power_analysis(2)
        finds = [f"{row.difference:.2f} SD" for row in found.rows if row.listeners != 50]
        needs = (found.listeners_here, found.listeners, found.together)
        rows.append(f"| {excerpts} | {' | '.join([*map(power._number, needs), *finds])} |")
    assert re.findall(r"^\| \d.* SD \|$", text, re.MULTILINE) == rows, "\n".join(rows)
    few, many = (row for row in Settings().power_analysis(2).rows if row.listeners in (26, 100))
    told = " ".join(text.split())
    assert few.share_here and many.share_here
    assert f"find {many.difference_here:.2f} SD where 26 find {few.difference_here:.2f} SD" in told
    assert f"{100 * many.share_here:.0f} % right answers where 26 find {100 * few.share_here:.0f} %" in told
    for name, constant in power.constants().items():
        assert f"{name.removeprefix('turing_')} {constant.value:.2f}" in text or name in ("sd", "taste"), name
    assert "0.05, piece 0.10; in the Turing test, listener 0.05 and piece 0.10" in text
