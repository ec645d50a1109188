"""The mixed model: equal to R's `ordinal::clmm`, its gradient, its approximation taken literally, what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pandas", reason="the extra study is not installed")

import pandas as pd
import scipy.optimize
import scipy.special

from muspike.bench.study import mixed_model
from muspike.errors import Failed

HERE = Path(__file__).parent
KINDS = ("three terms", "two terms", "two points")


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return pd.read_csv(HERE / "mixed_model.csv")


def arguments(kind: str, data: pd.DataFrame) -> tuple[Any, Any, list[Any]]:
    source = np.column_stack([data["source"] == 2, data["source"] == 3]).astype(float)
    group = (data["group"] == 2).to_numpy(float)[:, None]
    terms = [data["listener"] - 1, data["piece"] - 1]
    if kind == "three terms":
        together = pd.factorize(data["listener"] * 10 + data["source"])[0]
        return data["rating"] - 1, np.column_stack([source, group, source * group]), [*terms, together]
    return (data["rating"] > 3).astype(int) if kind == "two points" else data["rating"] - 1, source, terms


def assert_equal(found: mixed_model.Fit, wanted: dict[str, Any]) -> None:
    assert found.log_likelihood == pytest.approx(wanted["log_likelihood"], abs=1e-5)
    for name in ("thresholds", "beta", "sds"):
        np.testing.assert_allclose(getattr(found, name), wanted[name], atol=2e-3, err_msg=name)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), wanted["errors"], rtol=5e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_equal_to_what_r_gave(kind: str, data: pd.DataFrame) -> None:
    wanted = json.loads((HERE / "mixed_model.json").read_text(encoding="utf-8"))
    assert_equal(mixed_model.fit(*arguments(kind, data)), wanted[kind])


@pytest.mark.nightly
@pytest.mark.skipif(
    shutil.which("Rscript") is None, reason="R is not installed (on Debian: apt install r-cran-ordinal)"
)
def test_r_still_gives_it(data: pd.DataFrame) -> None:
    script = [str(HERE / "mixed_model.R"), str(HERE / "mixed_model.csv")]
    result = subprocess.run(["Rscript", *script], capture_output=True, text=True, check=False)
    if "there is no package called" in result.stderr:
        pytest.skip("R has no package ordinal (on Debian: apt install r-cran-ordinal)")
    assert result.returncode == 0, result.stderr
    for kind, wanted in json.loads(result.stdout).items():
        assert_equal(mixed_model.fit(*arguments(kind, data)), wanted)


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_the_function(kind: str, restricted: bool, data: pd.DataFrame) -> None:
    model = mixed_model._Model(*arguments(kind, data), restricted)
    x = model.start()
    x = x + np.random.default_rng(0).normal(size=len(x)) * 0.1
    _, gradient = model.value(x)
    for number, slope in enumerate(gradient):
        step = np.zeros_like(x)
        step[number] = 1e-5
        assert slope == pytest.approx((model.value(x + step)[0] - model.value(x - step)[0]) / 2e-5, abs=1e-4)


@pytest.mark.parametrize("restricted", [False, True])
def test_the_approximation_is_laplace_taken_literally(restricted: bool, data: pd.DataFrame) -> None:
    y, effects, terms = arguments("two terms", data)
    model = mixed_model._Model(y, effects, terms, restricted)
    x = model.start()
    thresholds, beta, sds = model._unpacked(x)
    columns = [np.eye(term.max() + 1)[term] * sd for term, sd in zip(terms, sds, strict=True)]
    own = np.column_stack([np.ones(len(y)), effects]) if restricted else np.zeros((len(y), 0))
    a = np.column_stack([own, *columns])
    penalty = np.repeat([0.0, 1.0], [own.shape[1], a.shape[1] - own.shape[1]])
    ends = np.concatenate([[-np.inf], thresholds, [np.inf]])

    def negated(v: Any) -> float:
        eta = a @ v + (0 if restricted else effects @ beta)
        likelihood = scipy.special.expit(ends[y + 1] - eta) - scipy.special.expit(ends[y] - eta)
        return float(-np.log(likelihood).sum() + 0.5 * penalty @ v**2)

    mode = scipy.optimize.minimize(negated, np.zeros(a.shape[1]), method="BFGS", options={"gtol": 1e-5}).x
    eta = a @ mode + (0 if restricted else effects @ beta)
    high, low = scipy.special.expit(ends[y + 1] - eta), scipy.special.expit(ends[y] - eta)
    weights = high * (1 - high) + low * (1 - low)
    hessian = a.T @ (weights[:, None] * a) + np.diag(penalty)
    wanted = -negated(mode) - 0.5 * np.linalg.slogdet(hessian)[1]
    assert model.value(x)[0] == pytest.approx(wanted, abs=1e-4)


def test_few_pieces_make_wider_intervals_and_few_degrees_of_freedom(data: pd.DataFrame) -> None:
    plain = mixed_model.fit(*arguments("two terms", data))
    restricted = mixed_model.fit(*arguments("two terms", data), restricted=True)
    assert (np.diag(restricted.covariance) > np.diag(plain.covariance)).all()
    assert (restricted.sds >= plain.sds - 1e-3).all()
    of = restricted.contrast([1.0, 0.0])
    assert 5 < of.df < 60  # 15 pieces of three sources; answers are 300 and more
    assert of.low < of.value < of.high and 0 < of.p < 1
    joint = restricted.joint([[1.0, 0.0]])
    assert joint.f == pytest.approx((of.value / of.error) ** 2)
    assert joint.p == pytest.approx(of.p, rel=1e-6) and joint.df == pytest.approx(of.df, rel=1e-6)


def test_a_term_without_spread_costs_nothing() -> None:
    random = np.random.default_rng(1)
    y = random.integers(0, 3, 200)
    found = mixed_model.fit(y, np.zeros((200, 0)), [np.arange(200) % 10], restricted=True)
    assert found.sds[0] < 0.3 and np.isfinite(found.log_likelihood)


def test_a_search_that_gives_up_is_said(data: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed_model, "_SEARCH_STEPS", 2)
    with pytest.raises(Failed, match="search gave up"):
        mixed_model.fit(*arguments("two terms", data))


def test_joint_degrees_of_freedom_are_those_of_lmertest(monkeypatch: pytest.MonkeyPatch) -> None:
    """`get_Fstat_ddf` of lmerTest 3.1: of one contrast its own; 2 if one has 2 or fewer; else by the mean of F."""
    fit = mixed_model.Fit(np.zeros(1), np.ones(3), np.ones(1), np.diag([1.0, 2.0, 3.0]), 0.0, True, *[np.zeros(1)] * 2)

    def joint_df(*dfs: float) -> float:
        left = list(dfs)
        monkeypatch.setattr(mixed_model.Fit, "_df", lambda self, row: left.pop())
        return fit.joint(np.eye(3)[: len(dfs)]).df

    assert joint_df(1.5) == 1.5
    assert joint_df(1.5, 2.1) == 2.0
    excess = 5 / 3 + 8 / 6 + 12 / 10
    assert joint_df(5, 8, 12) == pytest.approx(2 * excess / (excess - 3))


def test_what_has_no_maximum_is_said() -> None:
    y = np.repeat([0, 1, 2, 0], [20, 20, 20, 30])
    effects = (np.arange(90) >= 60).astype(float)[:, None]  # its ratings are all the lowest
    with pytest.raises(Failed, match="mixed model"):
        mixed_model.fit(y, effects, [np.arange(90) % 9])
    with pytest.raises(ValueError, match="without gaps"):
        mixed_model.fit([0, 2, 0, 2], np.zeros((4, 0)), [[0, 1, 0, 1]])
