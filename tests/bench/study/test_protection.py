"""Passwords, tokens and limits of attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muspike.bench.study.pages import fill, preferred
from muspike.bench.study.protection import Attempts, Starts, Tokens, hashed_password, is_password


def test_only_the_password_is_the_password() -> None:
    hashed = hashed_password("correct horse")
    assert is_password("correct horse", hashed) and not is_password("correct  horse", hashed)
    assert "horse" not in hashed and hashed != hashed_password("correct horse")


@given(st.text(), st.integers(0), st.floats(0, 1e11))
def test_what_is_no_token_is_none_of_ours(text: str, listener: int, now: float) -> None:
    tokens = Tokens(b"secret")
    token = tokens.served(listener, "trial 1", now)
    assert tokens.served_at_s(listener, "trial 1", token) == pytest.approx(now, abs=0.001)
    for other in (text, text + token, token + text, token[1:]):
        assert other == token or tokens.served_at_s(listener, "trial 1", other) is None
    assert tokens.served_at_s(listener + 1, "trial 1", token) is None
    assert tokens.served_at_s(listener, "trial 2", token) is None
    assert Tokens(b"another").served_at_s(listener, "trial 1", token) is None
    assert not tokens.is_csrf("session", text)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_guessing_gets_slower_and_slower_and_is_forgiven_in_time() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    made = 0
    for _ in range(24 * 3600):  # a day, an attempt a second
        made += attempts.begin("198.51.100.1") == 0
        clock.now += 1
    assert made < 130
    assert attempts.begin("198.51.100.2") == 0  # others are let in
    clock.now += Attempts.FORGOTTEN_S + 1
    assert [attempts.begin("198.51.100.1") for _ in range(Attempts.FREE)] == [0.0] * Attempts.FREE


def test_many_addresses_are_slowed_together_and_keep_nobody_out_for_long() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    made = sum(attempts.begin(f"198.51.{index // 250}.{index % 250}") == 0 for index in range(5000))
    assert made == Attempts.FREE_OF_ALL
    assert 0 < attempts.begin("203.0.113.5") <= Attempts.LONGEST_OF_ALL_S
    for index in range(3600):
        made += attempts.begin(f"2001:db8:{index:x}::1") == 0
        clock.now += 1
    assert made < 500
    clock.now += Attempts.LONGEST_OF_ALL_S
    assert attempts.begin("203.0.113.5") == 0


def test_the_addresses_of_one_household_are_one() -> None:
    attempts = Attempts(Clock())
    waits = [attempts.begin(f"2001:db8::{index:x}") for index in range(20)]
    assert waits[Attempts.FREE] > 0 and waits[-1] > 0


def test_addresses_of_ipv4_are_told_apart_on_a_socket_of_ipv6() -> None:
    attempts = Attempts(Clock())
    for _ in range(Attempts.FREE):
        assert attempts.begin("::ffff:198.51.100.1") == 0
    assert attempts.begin("198.51.100.1") > 0
    assert attempts.begin("::ffff:198.51.100.2") == 0
    assert attempts.begin("fe80::1%eth0") == 0


def test_who_knows_the_secret_is_not_slowed() -> None:
    attempts = Attempts(Clock())
    for _ in range(200):
        assert attempts.begin("198.51.100.1") == 0
        attempts.succeeded("198.51.100.1")


def test_a_room_begins_at_once_and_a_program_one_after_another() -> None:
    clock = Clock()
    starts = Starts(clock)
    assert [starts.begin("198.51.100.1") for _ in range(Starts.AT_ONCE)] == [0.0] * Starts.AT_ONCE
    assert starts.begin("198.51.100.1") == pytest.approx(Starts.EVERY_S)
    assert starts.begin("198.51.100.2") == 0  # others are let in
    made = 0
    for _ in range(3600):  # an hour, an attempt a second
        clock.now += 1
        made += starts.begin("198.51.100.1") == 0
    assert made == 3600 / Starts.EVERY_S
    clock.now += Starts.AT_ONCE * Starts.EVERY_S
    assert sum(starts.begin("198.51.100.1") == 0 for _ in range(9999)) == Starts.AT_ONCE


def test_many_addresses_begin_no_more_than_the_disk_bears() -> None:
    starts = Starts(Clock())
    made = sum(starts.begin(f"2001:db8:{index:x}::1") == 0 for index in range(9999))
    assert made == Starts.AT_ONCE_OF_ALL and 0 < starts.begin("203.0.113.5") <= Starts.EVERY_S_OF_ALL + 1e-6


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"), ("de", "de"), ("de-CH, en;q=0.8", "de"), ("en;q=0.2, zh;q=0.9", "zh-Hans"), ("zh-TW", "zh-Hans"),
        ("fr, *;q=0.1", "en"), ("de;q=x", "en"), (";;,,", "en"), ("x" * 9999, "en"),
    ],
)  # fmt: skip
def test_the_language_of_a_browser(accepted: str, language: str) -> None:
    assert preferred(accepted, ("en", "de", "zh-Hans")) == language


def test_a_text_is_filled_and_other_braces_stay() -> None:
    assert fill("{a} of {b}, {c} and { a }", a=1, b="{a}") == "1 of {a}, {c} and { a }"
