"""The cumulative logit mixed model: ratings on a scale, with crossed random effects, by the Laplace approximation.

    P(rating <= k) = F(threshold_k - eta),   eta = X beta + sum over terms of sd_t * u_t[group],   u ~ N(0, 1)

F is the logistic function. `fit` gives what R's `ordinal::clmm` gives, with the same approximation; tests hold it to
that. Gradients are exact, and the largest term is eliminated, which makes it fast.

With few pieces of a source, likelihood underestimates how much pieces differ, and intervals come out too narrow. So the
analysis asks for `restricted`: beta, and where the scale lies, are integrated out as the random effects are. For a
linear model that is REML (Stroup, Generalized Linear Mixed Models, 2013, section 5.5). `Fit.contrast` adds
Satterthwaite's degrees of freedom as lmerTest computes them (Kuznetsova et al., Journal of Statistical Software 82,
2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.optimize
import scipy.special
import scipy.stats

from muspike.errors import Failed

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_NEWTON_STEPS = 100
_SEARCH_STEPS = 500
_FLAT = 1e-2  # of the log-likelihood: a slope below it is that of a maximum, though the search gave up
_MOST_SD = 20.0
_MOST_EFFECT = 15.0  # logits: odds of three millions; an effect or an error above it has no bound in the data
_NO_MAXIMUM = "the mixed model has no maximum; ratings of a source that are all the lowest or all the highest do that"
_NO_SD = 1e-3
"""A standard deviation below it counts as none: its term changes nothing."""


@dataclass(frozen=True)
class Contrast:
    """An estimate on the scale of logits.

    Attributes:
        value: the estimate.
        error: its standard error.
        df: Satterthwaite's degrees of freedom.
        p: two-sided, of the hypothesis that it is 0.
        low, high: the interval.
    """

    value: float
    error: float
    df: float
    p: float
    low: float
    high: float


@dataclass(frozen=True)
class Joint:
    """A test that several contrasts are 0 together: F with `numerator` and `df` degrees of freedom."""

    f: float
    numerator: int
    df: float
    p: float


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        thresholds: `[points - 1]`, ascending.
        beta: `[effects]`.
        sds: the standard deviation of each random term.
        covariance: of beta, `[effects, effects]`.
        log_likelihood: by Laplace; if `restricted`, with beta integrated out.
        restricted: whether beta was integrated out.
        covariance_of_sds: `[terms, terms]`; rows of terms without spread are 0.
        slopes: the change of the covariance of beta with each sd, `[terms, effects, effects]`.
    """

    thresholds: Floats
    beta: Floats
    sds: Floats
    covariance: Floats
    log_likelihood: float
    restricted: bool
    covariance_of_sds: Floats
    slopes: Floats

    def contrast(self, weights: npt.ArrayLike, level: float = 0.95) -> Contrast:
        """The estimate of `weights @ beta`.

        Args:
            weights: `[effects]`.
            level: of the interval.
        """
        row = np.asarray(weights, float)
        value, variance = float(row @ self.beta), float(row @ self.covariance @ row)
        error, df = math.sqrt(variance), self._df(row)
        p = float(2 * scipy.stats.t.sf(abs(value) / error, df)) if error else math.nan
        reach = float(scipy.stats.t.ppf(0.5 + level / 2, df)) * error
        return Contrast(value, error, df, p, value - reach, value + reach)

    def joint(self, weights: npt.ArrayLike) -> Joint:
        """The test that all rows of `weights @ beta` are 0.

        Args:
            weights: `[contrasts, effects]`, of full rank.
        """
        rows = np.atleast_2d(np.asarray(weights, float))
        covariance = rows @ self.covariance @ rows.T
        values, vectors = np.linalg.eigh(covariance)
        turned = vectors.T @ rows
        number = len(rows)
        f = float(((turned @ self.beta) ** 2 / values).sum() / number)
        dfs = np.array([self._df(row) for row in turned])
        if number == 1:
            df = float(dfs[0])
        elif dfs.min() <= 2:
            df = 2.0
        else:
            excess = float((dfs / (dfs - 2)).sum())
            df = 2 * excess / (excess - number)
        return Joint(f, number, df, float(scipy.stats.f.sf(f, number, df)))

    def _df(self, row: Floats) -> float:
        """2 V^2 / Var(V), where the variance V of the contrast is a function of the estimated sds."""
        variance = row @ self.covariance @ row
        slope = np.einsum("tij,i,j->t", self.slopes, row, row)
        spread = slope @ self.covariance_of_sds @ slope
        return float(np.clip(2 * variance**2 / spread, 1.0, 1e6)) if spread > 0 else 1e6


def fit(
    points: npt.ArrayLike,
    effects: npt.ArrayLike,
    terms: Sequence[npt.ArrayLike],
    *,
    restricted: bool = False,
) -> Fit:
    """Fit the model.

    Args:
        points: `[answers]`, the points of the scale as 0, 1, ... without gaps: each is there at least once.
        effects: `[answers, effects]`, the columns of the fixed effects without an intercept, of full column rank.
        terms: for each random term, the number of the group of each answer, 0, 1, ... without gaps.
        restricted: integrate beta out.

    Raises:
        ValueError: a shape or a number is not as said.
        Failed: the search found no maximum, as when the ratings of a group are all the same.
    """
    model = _Model(points, effects, terms, restricted)
    start = model.start()
    bounds: list[tuple[float | None, float | None]] = [(None, None)] * len(start)
    for number in range(model.terms):
        bounds[len(start) - 1 - number] = (0.0, _MOST_SD)
    found = scipy.optimize.minimize(
        lambda x: _negated(model.value(x)),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _SEARCH_STEPS, "ftol": 1e-12, "gtol": 1e-5},
    )
    if not np.isfinite(found.fun) or np.abs(found.x).max() > 50:
        raise Failed(_NO_MAXIMUM)
    held = np.array([low is not None and value <= low for value, (low, _) in zip(found.x, bounds, strict=True)])
    if not found.success and (steepest := np.abs(found.jac[~held]).max(initial=0)) > _FLAT:
        raise Failed(f"the mixed model's search gave up where the likelihood still rises by {steepest:.2g}")
    fitted = model.fitted(found.x)
    if np.abs(fitted.beta).max(initial=0) > _MOST_EFFECT or np.diag(fitted.covariance).max(initial=0) > _MOST_EFFECT**2:
        raise Failed(_NO_MAXIMUM)
    return fitted


def _negated(of: tuple[float, Floats]) -> tuple[float, Floats]:
    return -of[0], -of[1]


class _Model:
    """The approximated likelihood as a function of x.

    x is the first threshold, the logs of the gaps between thresholds, beta and the sds. If beta is integrated out, an
    intercept is too, and then the mean of the thresholds is 0: x is the logs of the gaps, and the sds.
    """

    def __init__(
        self, points: npt.ArrayLike, effects: npt.ArrayLike, terms: Sequence[npt.ArrayLike], restricted: bool
    ) -> None:
        self.y: Ints = np.asarray(points, np.int64)
        self.x = np.asarray(effects, float).reshape(len(self.y), -1)
        self.groups = [np.asarray(term, np.int64) for term in terms]
        self.sizes = [int(group.max()) + 1 for group in self.groups]
        self.points = int(self.y.max()) + 1
        self.restricted = restricted
        if self.points < 2 or not (np.bincount(self.y) > 0).all():
            raise ValueError("points: at least two, 0, 1, ... without gaps")
        self.terms = len(self.groups)
        # The term with the most groups is eliminated first: its block of the Hessian is diagonal.
        self.first = int(np.argmax(self.sizes))
        self.others = [number for number in range(self.terms) if number != self.first]
        self.beta_columns = np.column_stack([np.ones(len(self.x)), self.x]) if restricted else self.x[:, :0]
        self._gaps = self.points - 2
        self._ahead = 0 if restricted else 1  # of the gaps in x
        self._u = [np.zeros(size) for size in self.sizes]
        self._b = np.zeros(self.beta_columns.shape[1])

    # --- parameters ------------------------------------------------------------------------------------------------

    def start(self) -> Floats:
        """Thresholds of the answers without effects, beta 0, sds of 0.7."""
        shares = (np.bincount(self.y, minlength=self.points).cumsum() / len(self.y))[:-1]
        thresholds = scipy.special.logit(shares) * 1.2
        if self.restricted:
            self._b[0] = -thresholds.mean()
        return self.packed(thresholds, np.zeros(self.x.shape[1]), np.full(self.terms, 0.7))

    def packed(self, thresholds: Floats, beta: Floats, sds: Floats) -> Floats:
        """The vector x."""
        gaps = np.log(np.diff(thresholds))
        return np.concatenate([gaps, sds] if self.restricted else [thresholds[:1], gaps, beta, sds])

    def _unpacked(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        end = self._ahead + self._gaps
        rises = np.concatenate([[0.0], np.exp(np.clip(x[self._ahead : end], -40, 40)).cumsum()])
        thresholds = rises - rises.mean() if self.restricted else x[0] + rises
        return thresholds, x[end : len(x) - self.terms], x[len(x) - self.terms :]

    # --- the inner maximum -----------------------------------------------------------------------------------------

    def _eta(self, fixed: Floats, b: Floats, u: Sequence[Floats], sds: Floats) -> Floats:
        eta = fixed + self.beta_columns @ b
        for group, values, sd in zip(self.groups, u, sds, strict=True):
            eta = eta + sd * values[group]
        return eta

    def _log_likelihood(self, a: Floats, b: Floats, gap: Floats) -> float:
        """The sum of log(F(a) - F(b)), in a form that loses nothing far out."""
        logs = scipy.special.log_expit(a) + scipy.special.log_expit(-b) + np.log1p(-np.exp(-gap))
        return float(logs.sum())

    def _at(self, thresholds: Floats, eta: Floats) -> tuple[Floats, Floats, Floats]:
        """Upper and lower threshold of each answer less eta, and their distance."""
        ends = np.concatenate([[-np.inf], thresholds, [np.inf]])
        high, low = ends[self.y + 1], ends[self.y]
        return high - eta, low - eta, high - low

    def _blocks(self, weights: Floats, sds: Floats) -> tuple[Floats, Floats, Floats]:
        """The Hessian of the penalised likelihood: diagonal of the first term, its columns to the rest, the rest."""
        first, size = self.groups[self.first], self.sizes[self.first]
        diagonal = 1 + sds[self.first] ** 2 * np.bincount(first, weights, size)
        columns = [self._of_beta(first, size, weights) * sds[self.first]]
        width = self._b.size + sum(self.sizes[t] for t in self.others)
        rest = np.zeros((width, width))
        start = self._b.size
        rest[:start, :start] = self.beta_columns.T @ (weights[:, None] * self.beta_columns)
        for t in self.others:
            group, count = self.groups[t], self.sizes[t]
            cross = np.bincount(first * count + group, weights, size * count).reshape(size, count)
            columns.append(sds[self.first] * sds[t] * cross)
            here = slice(start, start + count)
            rest[here, here] = np.diag(1 + sds[t] ** 2 * np.bincount(group, weights, count))
            rest[here, : self._b.size] = sds[t] * self._of_beta(group, count, weights)
            rest[: self._b.size, here] = rest[here, : self._b.size].T
            begin = self._b.size
            for s in self.others[: self.others.index(t)]:
                earlier = self.sizes[s]
                pair = np.bincount(group * earlier + self.groups[s], weights, count * earlier).reshape(count, earlier)
                rest[here, begin : begin + earlier] = sds[t] * sds[s] * pair
                rest[begin : begin + earlier, here] = rest[here, begin : begin + earlier].T
                begin += earlier
            start += count
        return diagonal, np.concatenate(columns, axis=1), rest

    def _of_beta(self, group: Ints, size: int, weights: Floats) -> Floats:
        columns = [np.bincount(group, weights * column, size) for column in self.beta_columns.T]
        return np.asarray(np.array(columns).T.reshape(size, self._b.size), float)  # an empty list gives no columns

    def _transposed(self, values: Floats, sds: Floats) -> tuple[Floats, Floats]:
        """A' values: of the first term, and of beta and the other terms."""
        parts = [self.beta_columns.T @ values]
        parts += [sds[t] * np.bincount(self.groups[t], values, self.sizes[t]) for t in self.others]
        first = sds[self.first] * np.bincount(self.groups[self.first], values, self.sizes[self.first])
        return first, np.concatenate(parts)

    def _split(self, rest: Floats) -> tuple[Floats, list[Floats]]:
        """Of what stands behind the first term: the part of beta, and of each other term."""
        ends = np.cumsum([self._b.size, *(self.sizes[t] for t in self.others)])
        return rest[: ends[0]], [rest[a:b] for a, b in pairwise(ends)]

    def _together(self, first: Floats, rest: Floats) -> tuple[Floats, list[Floats]]:
        beta, parts = self._split(rest)
        u = [first] * self.terms
        for t, part in zip(self.others, parts, strict=True):
            u[t] = part
        return beta, u

    def _mode(self, thresholds: Floats, fixed: Floats, sds: Floats) -> tuple[Floats, _Solver, float]:
        """Newton's method from the last maximum: eta there, the factors of the Hessian, and the penalised value."""
        b, u = self._b, self._u

        def penalised(b: Floats, u: Sequence[Floats]) -> float:
            eta = self._eta(fixed, b, u, sds)
            return self._log_likelihood(*self._at(thresholds, eta)) - 0.5 * float(sum(part @ part for part in u))

        value = penalised(b, u)
        if not math.isfinite(value):
            b, u = np.zeros_like(b), [np.zeros(size) for size in self.sizes]
            value = penalised(b, u)
        for _ in range(_NEWTON_STEPS):
            eta = self._eta(fixed, b, u, sds)
            above, below, _gap = self._at(thresholds, eta)
            high, low = scipy.special.expit(above), scipy.special.expit(below)
            solver = _Solver(*self._blocks(high * (1 - high) + low * (1 - low), sds))
            first, rest = self._transposed(high + low - 1, sds)
            others = np.concatenate([np.zeros(self._b.size), *(u[t] for t in self.others)])
            gradient = first - u[self.first], rest - others
            step = solver.solve(*gradient)
            if float(gradient[0] @ step[0] + gradient[1] @ step[1]) < 1e-12:
                break
            step_b, step_u = self._together(*step)
            share = 1.0
            while share > 1e-6:
                tried = b + share * step_b, [part + share * of for part, of in zip(u, step_u, strict=True)]
                new = penalised(*tried)
                if new >= value - 1e-10:
                    break
                share /= 2
            else:
                break
            (b, u), value = tried, new
        self._b, self._u = b, list(u)
        return eta, solver, value

    # --- the outer function and its gradient -----------------------------------------------------------------------

    def value(self, x: Floats) -> tuple[float, Floats]:
        """The approximated log-likelihood and its gradient."""
        thresholds, beta, sds = self._unpacked(x)
        fixed = self.x @ beta if not self.restricted else np.zeros(len(self.y))
        if np.diff(thresholds, prepend=-np.inf).min() < 1e-12 or np.abs(thresholds).max() > 1e3:
            return -1e300, np.zeros_like(x)
        eta, solver, value = self._mode(thresholds, fixed, sds)
        above, below, gap = self._at(thresholds, eta)
        high, low = scipy.special.expit(above), scipy.special.expit(below)
        f_high, f_low = high * (1 - high), low * (1 - low)  # densities
        d_high, d_low = f_high * (1 - 2 * high), f_low * (1 - 2 * low)  # their slopes
        weights = f_high + f_low
        leverage = self._leverage(solver, sds)
        # How log|H| / 2 changes with eta, and through eta with the mode.
        through = solver.solve(*self._transposed(-0.5 * leverage * (d_high + d_low), sds))
        moved = self._product(*through, sds)  # A v: what a change of the score of each answer does

        # Thresholds: the answers at point k have it as their upper, those at k + 1 as their lower end.
        apart = np.exp(-gap) / -np.expm1(-gap)  # 0 at the ends of the scale
        cut_high = (1 - high) + apart - 0.5 * leverage * d_high - moved * f_high
        cut_low = -low - apart - 0.5 * leverage * d_low - moved * f_low
        counts = np.bincount(self.y, cut_high, self.points)[:-1] + np.bincount(self.y, cut_low, self.points)[1:]
        gradient = np.empty_like(x)
        cuts = self.points - 1
        rises = counts[::-1].cumsum()[::-1][1:]  # a gap moves the thresholds above it
        if self.restricted:
            rises = rises - counts.sum() * np.arange(cuts - 1, 0, -1) / cuts
        else:
            gradient[0] = counts.sum()
        end = self._ahead + self._gaps
        gradient[self._ahead : end] = rises * np.exp(x[self._ahead : end])

        # Anything that moves eta: the score, log|H| directly, and through the mode.
        score = high + low - 1
        of_eta = score + 0.5 * leverage * (d_high + d_low) + moved * weights
        if not self.restricted:
            gradient[end : len(x) - self.terms] = self.x.T @ of_eta
        _, v = self._together(*through)
        inverse = self._together(solver.diagonal_first, np.diag(solver.inverse_rest))[1]
        for t in range(self.terms):
            u, sd = self._u[t][self.groups[t]], sds[t]
            # d/d sd of A' W A beyond what W does: 2 / sd (1 - H^-1) on the block; its limit at sd = 0 is 0.
            shrunk = (self.sizes[t] - inverse[t].sum()) / sd if sd > 0 else 0.0
            gradient[len(x) - self.terms + t] = float(of_eta @ u) - shrunk - float(v[t][self.groups[t]] @ score)
        return value - 0.5 * solver.log_determinant, gradient

    def _product(self, first: Floats, rest: Floats, sds: Floats) -> Floats:
        """A v, for each answer."""
        b, u = self._together(first, rest)
        return self._eta(np.zeros(len(self.y)), b, u, sds)

    def _leverage(self, solver: _Solver, sds: Floats) -> Floats:
        """The diagonal of A H^-1 A', for each answer."""
        first = self.groups[self.first]
        total = sds[self.first] ** 2 * solver.diagonal_first[first]
        cross, inverse = solver.cross, solver.inverse_rest
        edges = dict(zip(self.others, self._starts(), strict=True))
        beta = self._b.size
        if beta:
            total = total + np.einsum("ij,ij->i", self.beta_columns @ inverse[:beta, :beta], self.beta_columns)
            total += 2 * sds[self.first] * np.einsum("ij,ij->i", cross[first, :beta], self.beta_columns)
        for t in self.others:
            place = edges[t] + self.groups[t]
            total = total + sds[t] ** 2 * np.diag(inverse)[place]
            total += 2 * sds[self.first] * sds[t] * cross[first, place]
            if beta:
                total += 2 * sds[t] * np.einsum("ij,ij->i", inverse[place, :beta], self.beta_columns)
            for s in self.others[: self.others.index(t)]:
                total += 2 * sds[t] * sds[s] * inverse[place, edges[s] + self.groups[s]]
        return np.asarray(total)

    def _starts(self) -> list[int]:
        return list(np.cumsum([self._b.size, *(self.sizes[t] for t in self.others)])[:-1])

    # --- the end ---------------------------------------------------------------------------------------------------

    def fitted(self, x: Floats) -> Fit:
        """What is known at the maximum."""
        value, _ = self.value(x)
        thresholds, beta, sds = self._unpacked(x)
        free = np.ones(len(x), bool)
        free[len(x) - self.terms :] = sds > _NO_SD
        of_x = np.zeros((len(x), len(x)))
        of_x[np.ix_(free, free)] = _inverse(-self._hessian(x)[np.ix_(free, free)])
        at_sds = slice(len(x) - self.terms, None)
        if self.restricted:
            thresholds, beta = thresholds - self._b[0], self._b[1:].copy()
            covariance = self._covariance_of_beta(x, of_x, free)
        else:
            here = slice(self.points - 1, len(x) - self.terms)
            covariance = of_x[here, here]
        slopes = np.zeros((self.terms, self.x.shape[1], self.x.shape[1]))
        for t in range(self.terms):
            if sds[t] > _NO_SD:
                slopes[t] = self._slope_of_covariance(x, t)
        spread = of_x[at_sds, at_sds]
        return Fit(thresholds, beta, sds.copy(), covariance, value, self.restricted, spread, slopes)

    def _hessian(self, x: Floats) -> Floats:
        """By central differences of the exact gradient."""
        rows = []
        for number in range(len(x)):
            step = np.zeros_like(x)
            step[number] = 1e-4 * max(1.0, abs(x[number]))
            if number >= len(x) - self.terms:
                step[number] = min(step[number], max(x[number] / 2, 1e-6))
            rows.append((self.value(x + step)[1] - self.value(x - step)[1]) / (2 * step[number]))
        table = np.array(rows)
        return np.asarray((table + table.T) / 2)

    def _covariance_of_beta(self, x: Floats, of_x: Floats, free: npt.NDArray[np.bool_]) -> Floats:
        """What it is at these thresholds and sds, and what their own uncertainty adds."""
        inner = self._inner_covariance(x)
        moves = np.zeros((len(self._b), len(x)))
        for number in np.flatnonzero(free):
            step = np.zeros_like(x)
            step[number] = 1e-4 * max(1.0, abs(x[number]))
            if number >= len(x) - self.terms:
                step[number] = min(step[number], max(x[number] / 2, 1e-6))
            ends = []
            for sign in (1, -1):
                self.value(x + sign * step)
                ends.append(self._b.copy())
            moves[:, number] = (ends[0] - ends[1]) / (2 * step[number])
        return inner + (moves @ of_x @ moves.T)[1:, 1:]

    def _inner_covariance(self, x: Floats) -> Floats:
        """The covariance of beta if gaps and sds were known: from the Hessian of intercept, beta and random effects."""
        thresholds, beta, sds = self._unpacked(x)
        if self.restricted:
            _, solver, _ = self._mode(thresholds, np.zeros(len(self.y)), sds)
            return solver.inverse_rest[1 : self._b.size, 1 : self._b.size]
        twin = _Model(self.y, self.x, self.groups, True)
        twin._b = np.concatenate([[-thresholds.mean()], beta])
        twin._u = [part.copy() for part in self._u]
        return twin._inner_covariance(twin.packed(thresholds, beta, sds))

    def _slope_of_covariance(self, x: Floats, term: int) -> Floats:
        at = len(x) - self.terms + term
        step = np.zeros_like(x)
        step[at] = min(1e-3, x[at] / 2)
        return np.asarray((self._inner_covariance(x + step) - self._inner_covariance(x - step)) / (2 * step[at]))


class _Solver:
    """Solves with a Hessian whose first block is diagonal, by its Schur complement.

    Attributes:
        log_determinant: of the whole.
        inverse_rest: the block of the inverse behind the first term.
        diagonal_first: the diagonal of the inverse's first block.
        cross: the block of the inverse between the two.
    """

    def __init__(self, diagonal: Floats, columns: Floats, rest: Floats) -> None:
        self._diagonal, self._scaled = diagonal, columns / diagonal[:, None]
        self._columns, self._rest = columns, rest
        complement = rest - columns.T @ self._scaled
        try:
            self._factor = scipy.linalg.cho_factor(complement, lower=True)
        except scipy.linalg.LinAlgError as error:
            raise Failed("the mixed model cannot be fitted: its effects cannot be told apart") from error
        self._kept: dict[str, Floats] = {}

    def solve(self, first: Floats, rest: Floats) -> tuple[Floats, Floats]:
        below = scipy.linalg.cho_solve(self._factor, rest - self._scaled.T @ first)
        return first / self._diagonal - self._scaled @ below, below

    @property
    def log_determinant(self) -> float:
        return float(np.log(self._diagonal).sum() + 2 * np.log(np.diag(self._factor[0])).sum())

    @property
    def inverse_rest(self) -> Floats:
        if "rest" not in self._kept:
            self._kept["rest"] = scipy.linalg.cho_solve(self._factor, np.eye(len(self._rest)))
        return np.asarray(self._kept["rest"])

    @property
    def cross(self) -> Floats:
        if "cross" not in self._kept:
            self._kept["cross"] = -self._scaled @ self.inverse_rest
        return np.asarray(self._kept["cross"])

    @property
    def diagonal_first(self) -> Floats:
        return np.asarray(1 / self._diagonal - np.einsum("ij,ij->i", self.cross, self._scaled))


def _inverse(matrix: Floats) -> Floats:
    """The inverse of an information matrix.

    Raises:
        Failed: it is not positive: the search did not end at a maximum.
    """
    try:
        factor = scipy.linalg.cho_factor(matrix, lower=True)
    except scipy.linalg.LinAlgError as error:
        raise Failed("the mixed model has no clear maximum; there are too few answers for it") from error
    return np.asarray(scipy.linalg.cho_solve(factor, np.eye(len(matrix))))
