"""The pages of a study's server: what is sent is stored, once, and nobody gets at what is not theirs."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient

from muspike.bench.study import database, export, listener_pages, questionnaire
from muspike.bench.study import study as studies
from muspike.bench.study.admin_pages import ensure_password
from muspike.bench.study.answers import Answers
from muspike.bench.study.app import create, open_server
from muspike.bench.study.protection import HEADERS, MOST_BYTES, Attempts, Starts
from muspike.bench.study.study import ATTENTION, PAIR, RATING, REPEAT, Study
from small_study import small_study
from study_server import PASSWORD, HttpListener, hidden_fields, radio_groups, sounds


@dataclass
class Place:
    """A study that is served in this process."""

    folder: Path
    study: Study
    app: Any
    open: list[TestClient]

    def client(self, base: str = "http://testserver") -> TestClient:
        """A browser of its own."""
        client = TestClient(self.app, base_url=base, raise_server_exceptions=True)
        client.__enter__()
        self.open.append(client)
        return client

    def listener(self, **how: Any) -> HttpListener:
        """A listener at the first piece."""
        made = HttpListener(self.client(), **how)
        made.begin()
        assert made.path == "/trial/1"
        return made

    def answers(self) -> Answers:
        form = questionnaire.load(self.folder / studies.QUESTIONNAIRE)
        return database.answers(database.url_of(self.folder), self.study, form)

    def admin(self) -> HttpListener:
        """The admin, logged in."""
        made = HttpListener(self.client())
        made.get("/admin/login")
        assert made.post("/admin/login", {"password": PASSWORD}).url.path == "/admin"
        return made


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The server's clock. Every look at it takes ten seconds, more than a piece is long."""
    at = [1e9]

    def now() -> float:
        at[0] += 10
        return at[0]

    monkeypatch.setattr(listener_pages, "now_s", now)
    return at


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with served(tmp_path) as made:
        yield made


@contextlib.contextmanager
def served(folder: Path, change: Callable[[Study], Study] = lambda study: study, **how: Any) -> Iterator[Place]:
    studies.write(folder, change(small_study(folder, **{"excerpts": 2, "screened": False} | how)))
    with opened(folder) as made:
        yield made


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Place]:
    server = open_server(folder, database.url_of(folder))
    ensure_password(server.database, PASSWORD)
    made = Place(folder, server.study, create(server), [])
    yield made
    for client in made.open:
        client.__exit__(None, None, None)
    server.database.close()


# --- the way of a listener -------------------------------------------------------------------------------------------


def test_what_is_sent_is_what_is_stored(tmp_path: Path) -> None:
    with served(tmp_path, screened=True, breaks=3) as place:
        numbers = itertools.count()
        sent: list[dict[str, str]] = []
        listener = HttpListener(
            place.client(),
            choose=lambda name, values: values[next(numbers) % len(values)],
            background={"years_of_lessons": "12", "age": "41"},
        )
        listener.begin()
        assert listener.path == "/trial/1"
        while listener.path != "/thanks":
            chosen = listener.answers() | {"why": f"reason {len(sent)} 音", "plays.0": "2"}
            sent.append(chosen)
            listener.choose = lambda name, values, now=chosen: now[name]  # type: ignore[misc]
            listener.answer(**{name: chosen[name] for name in ("why", "plays.0")})
            listener.choose = lambda name, values: values[next(numbers) % len(values)]
        found = place.answers()
        (person,) = found.listeners.to_dict("records")
        trials = place.study.lists[person["list"]]
        assert len(sent) == len(trials)
        assert (person["group"], person["finished"], person["headphones"]) == ("expert", True, False)
        assert (person["background_age"], person["background_years_of_lessons"]) == ("41", "12")
        asked = [at for at, trial in enumerate(trials) if trial.kind == ATTENTION]
        assert person["attention_asked"] == len(asked) == 1
        assert person["attention_missed"] == sum(int(sent[at]["attention"]) != trials[at].wanted for at in asked)
        stored = {(row.trial, row.item): row.rating for row in found.ratings.itertuples()}
        wanted = {
            (at, name.removeprefix("item.")): int(value)
            for at, chosen in enumerate(sent)
            for name, value in chosen.items()
            if name.startswith("item.")
        }
        assert stored == wanted
        rated = [at for at, trial in enumerate(trials) if trial.kind in (RATING, REPEAT)]
        assert sorted({at for at, _ in stored}) == rated
        assert set(found.ratings["plays"]) == {2}
        for row in found.turing.itertuples():
            chosen = sent[row.trial]
            trial = trials[row.trial]
            assert row.confidence == int(chosen["confidence"]) and row.why == chosen["why"]
            if trial.kind == PAIR:
                heard = trial.stimuli[0 if chosen["turing"] == "first" else 1]
                assert row.said_human == (place.study.stimulus(heard).source == "human")
                assert {row.stimulus, row.other} == set(trial.stimuli) and row.similarity == trial.similarity
                assert place.study.stimulus(row.stimulus).source == "human" != row.source
                assert row.first == (trial.stimuli[0] == row.stimulus)
            else:
                assert row.said_human == (chosen["turing"] == "human")
                assert (row.stimulus, row.source) == (trial.stimuli[0], place.study.stimulus(trial.stimuli[0]).source)
        assert [at for at, trial in enumerate(trials) if trial.kind in (RATING, PAIR)] == found.turing["trial"].tolist()


@pytest.mark.parametrize(
    ("background", "group"),
    [
        ({}, "normal"),
        ({"years_of_lessons": "2"}, "amateur"),
        ({"plays": "weekly"}, "amateur"),
        ({"profession": "student"}, "expert"),
        ({"years_of_lessons": "10", "plays": "monthly"}, "expert"),
    ],
)
def test_the_background_gives_the_group(place: Place, background: dict[str, str], group: str) -> None:
    place.listener(background=background)
    assert place.answers().listeners["group"].tolist() == [group]


@pytest.mark.parametrize("years", ["", "-1", "91", "2.5", "many", "1e3", "9" * 400, "٣"])
def test_a_background_that_is_no_answer_is_refused(place: Place, years: str) -> None:
    listener = HttpListener(place.client(), background={"years_of_lessons": years})
    listener.get("/")
    listener.post("/consent", {"agree": "yes"})
    fields = {f"background.{id}": value for id, value in listener.background.items()}
    if years == "٣":  # a digit all the same
        assert listener.post("/about", fields).url.path == "/volume"
        return
    refused = listener.post("/about", fields)
    assert refused.status_code == 422 and "whole number from 0 to 90" in refused.text
    assert 'value="never" checked' in refused.text  # what was right is kept
    assert len(place.answers().listeners) == 0


def test_nobody_begins_without_consent(place: Place) -> None:
    listener = HttpListener(place.client())
    listener.get("/")
    refused = listener.post("/consent", {})
    assert refused.status_code == 422 and 'role="alert"' in refused.text
    for path in ("/about", "/volume", "/ready", "/trial/1", "/break", "/thanks"):
        assert listener.get(path).url.path == "/"


def test_a_form_that_is_sent_twice_counts_once(place: Place) -> None:
    listener = place.listener()
    fields = hidden_fields(listener.page)
    first = {name: values[0] for name, values in radio_groups(listener.page).items()}
    second = {name: values[-1] for name, values in radio_groups(listener.page).items()}
    assert listener.client.post("/trial/1", data=fields | first, follow_redirects=True).url.path == "/trial/2"
    again = listener.client.post("/trial/1", data=fields | second, follow_redirects=True)
    assert again.url.path == "/trial/2" and "already answered" in again.text
    back = listener.client.get("/trial/1", follow_redirects=True)
    assert back.url.path == "/trial/2" and "already answered" in back.text
    found = place.answers()
    assert found.ratings["rating"].tolist() == [1] * 13 and found.ratings["trial"].eq(0).all()


def test_many_copies_of_a_form_at_the_same_moment_count_once(place: Place) -> None:
    listener = place.listener()
    fields = hidden_fields(listener.page)
    groups = radio_groups(listener.page)
    cookies = dict(listener.client.cookies)
    ends: list[str] = []

    def send(which: int) -> None:
        client = TestClient(place.app, cookies=cookies)
        chosen = {name: values[which % len(values)] for name, values in groups.items()}
        ends.append(client.post("/trial/1", data=fields | chosen, follow_redirects=False).headers["location"])

    threads = [threading.Thread(target=send, args=(which,)) for which in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ends) == 8
    found = place.answers()
    assert len(found.ratings) == 13 and len(found.turing) == 1
    # All ratings are those of one copy.
    assert len(set(found.ratings["rating"])) == 1


def test_an_answer_before_the_end_of_the_piece_is_refused_and_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [5e8]
    monkeypatch.setattr(listener_pages, "now_s", lambda: now[0])
    seconds = place.study.stimuli[0].seconds
    listener = place.listener()
    chosen = {name: values[-1] for name, values in radio_groups(listener.page).items()}
    now[0] += seconds - listener_pages.TOLERANCE_S - 0.01
    refused = listener.post("/trial/1", chosen | {"why": "hasty"})
    assert refused.status_code == 422 and "listen to the end" in refused.text
    assert refused.text.count(" checked") == len(chosen) and ">hasty</textarea>" in refused.text
    assert len(place.answers().ratings) == 0
    now[0] += 0.02  # the time of the first page counts
    assert listener.post("/trial/1", chosen).url.path == "/trial/2"
    assert len(place.answers().ratings) == 13


def test_a_clock_that_is_set_back_keeps_nobody_for_long(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5e8]
    monkeypatch.setattr(listener_pages, "now_s", lambda: now[0])
    listener = place.listener()
    now[0] -= 3600
    assert listener.post("/trial/1", listener.answers()).status_code == 422
    now[0] += place.study.stimuli[0].seconds
    assert listener.post("/trial/1", listener.answers()).url.path == "/trial/2"


def test_nobody_makes_the_time_of_a_page_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    other = place.listener()
    other_token = hidden_fields(other.page)["served"]
    monkeypatch.setattr(listener_pages, "now_s", lambda: 6e9)
    listener = place.listener()
    token = hidden_fields(listener.page)["served"]
    at, _, signed = token.partition(".")
    for forged in (
        "",
        "0",
        "0.",
        f"{int(at) - 10**6}.{signed}",
        f"{at}.{signed[:-1]}",
        other_token,
        "x.y",
        "é.é",
        "1" * 900,
    ):
        assert listener.post("/trial/1", listener.answers() | {"served": forged}).status_code == 422, forged
    assert len(place.answers().ratings) == 0


@pytest.mark.parametrize("value", [None, "", "0", "6", "-1", "2.0", "१", "1 ", "two", "1" * 50])
def test_an_answer_that_is_missing_or_none_is_named_and_the_others_kept(place: Place, value: str | None) -> None:
    listener = place.listener()
    chosen = {name: values[1] for name, values in radio_groups(listener.page).items()}
    del chosen["item.melody"]
    refused = listener.post("/trial/1", chosen | ({} if value is None else {"item.melody": value}))
    assert refused.status_code == 422
    assert re.findall(r'id="wrong-([^"]+)"', refused.text) == ["item.melody"]
    assert refused.text.count(" checked") == len(chosen)
    assert len(place.answers().ratings) == 0


def test_trials_cannot_be_skipped(place: Place) -> None:
    listener = place.listener()
    fields = hidden_fields(listener.page) | listener.answers()
    for number in (2, 3, 99, 0, -1, 10**30):
        assert listener.client.post(f"/trial/{number}", data=fields).url.path == "/trial/1"
    assert len(place.answers().ratings) == 0


def test_plays_are_counted_within_what_the_time_allows(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5e8]
    monkeypatch.setattr(listener_pages, "now_s", lambda: now[0])
    listener = place.listener()
    now[0] += 3.5 * place.study.stimuli[0].seconds
    listener.answer(**{"plays.0": "77"})
    now[0] += 3.5 * place.study.stimuli[0].seconds
    listener.answer(**{"plays.0": "-5"})
    assert place.answers().ratings.groupby("trial")["plays"].first().tolist() == [4, 1]


def test_an_interrupted_listener_goes_on_elsewhere_with_the_code(place: Place) -> None:
    listener = place.listener()
    listener.answer()
    assert listener.get("/").url.path == "/trial/2"  # the same browser goes on by its cookie
    code = listener.code
    link = re.search(r'href="(/resume\?code=[^"]+)"', listener.page)
    assert link is not None
    other = HttpListener(place.client())
    assert code in other.get(link[1]).text
    assert len(place.answers().listeners) == 1  # a preview of the link changes nothing
    assert other.get("/trial/2").url.path == "/"
    other.get("/")
    assert other.post("/resume", {"code": f" {code.lower().replace('-', ' ')} "}).url.path == "/trial/2"
    assert listener.get("/trial/2").url.path == "/"  # the cookie before no longer counts
    other.answer()
    found = place.answers()
    assert len(found.listeners) == 1 and sorted(set(found.ratings["trial"])) == [0, 1]


def test_a_closed_study_turns_new_listeners_away_and_lets_others_finish(place: Place) -> None:
    listener = place.listener()
    late = HttpListener(place.client())
    late.get("/")
    admin = place.admin()
    admin.post("/admin/closed", {"closed": "yes"})
    assert "<b>closed</b>" in admin.get("/admin").text
    assert "This study is over" in late.post("/consent", {"agree": "yes"}).text
    assert 'action="/consent' not in HttpListener(place.client()).get("/").text
    while listener.path != "/thanks":
        listener.answer()
    assert place.answers().listeners["finished"].tolist() == [True]
    for nonsense in ({}, {"closed": "x"}):  # opens nothing
        assert admin.post("/admin/closed", nonsense).status_code == 422
        assert "<b>closed</b>" in admin.get("/admin").text
    admin.post("/admin/closed", {"closed": "no"})
    assert 'action="/consent' in HttpListener(place.client()).get("/").text


def test_withdrawing_leaves_nothing(place: Place) -> None:
    stays, goes = place.listener(), place.listener()
    stays.answer(why="this stays")
    goes.answer(why="this is to be forgotten")
    code = goes.code
    stranger = HttpListener(place.client())
    stranger.get("/withdraw")
    wrong = stranger.post("/withdraw", {"code": "AAAA-AAAA-AAAA-AAAA"})
    assert wrong.status_code == 422 and len(place.answers().listeners) == 2
    assert stranger.post("/withdraw", {"code": code}).url.path == "/withdrawn"
    found = place.answers()
    assert len(found.listeners) == 1 and found.turing["why"].tolist() == ["this stays"]
    assert goes.answer().url.path == "/"  # the page of somebody who is gone
    assert goes.get("/trial/2").url.path == "/"
    files = b"".join(path.read_bytes() for path in place.folder.glob("study.db*"))
    assert b"this stays" in files and b"to be forgotten" not in files
    assert "1 listener withdrew" in place.admin().get("/admin").text


def test_a_page_is_in_the_language_that_the_browser_or_the_listener_prefers(tmp_path: Path) -> None:
    text = questionnaire.path_of("muspike").read_text(encoding="utf-8")
    german = text.replace('language = "en"', 'language = "de"').replace('"Take part"', '"Mitmachen"')
    # A translation has no rules of its own.
    german = re.sub(r"(?m)^(least|most|optional) = .*$|^any_of = \[\n(.*\n)*?\]$", "", german)
    small = small_study(tmp_path, excerpts=2, screened=False)
    (tmp_path / "questionnaire.de.toml").write_text(german.replace('"About you"', '"Über Sie"'), encoding="utf-8")
    studies.write(tmp_path, replace(small, languages=("en", "de")))
    with opened(tmp_path) as place:
        client = place.client()
        assert 'lang="en"' in client.get("/", headers={"accept-language": "fr"}).text
        assert "Mitmachen" in client.get("/", headers={"accept-language": "fr, de-AT;q=0.8, en;q=0.5"}).text
        assert "Mitmachen" in client.get("/?language=de", headers={"accept-language": "en"}).text
        assert 'lang="en"' in place.client().get("/?language=<script>").text
        listener = HttpListener(client)
        listener.get("/?language=de")
        action = re.search(r'action="(/consent[^"]*)"', listener.page)
        assert action is not None
        assert '<html lang="de">' in listener.post(action[1], {"agree": "yes"}).text
        assert "Über Sie" in listener.page


def test_errors_and_a_withdrawal_are_told_in_the_language_of_the_listener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path, languages=("en", "de")) as place:
        listener = HttpListener(place.client("https://testserver"))
        listener.client.headers["accept-language"] = "en"
        assert "muspike-study-language" not in listener.get("/").headers["set-cookie"]  # as the browser has it
        kept = listener.get("/?language=de").headers["set-cookie"]
        assert kept.startswith("__Host-muspike-study-language=de;") and "Max-Age" not in kept
        assert "HttpOnly" in kept and "Secure" in kept
        assert 'lang="de"' in listener.get("/nothing").text
        listener.get("/")
        assert 'lang="de"' in listener.post("/consent", {"agree": "yes"}).text
        listener.client.cookies.delete("__Host-muspike-study-language")  # as when a browser was closed
        listener.get("/about")
        for path, status in (("/nothing", 404), ("/trial/x", 404), ("/consent", 405)):
            page = listener.client.put(path) if status == 405 else listener.client.get(path)
            assert (page.status_code, 'lang="de"' in page.text) == (status, True)
        assert 'lang="de"' in listener.client.post("/about", data={}).text  # without its token
        listener.get("/withdraw")
        code = re.findall(r'name="code" value="([^"]+)"', listener.page)[0]
        assert 'lang="de"' in listener.post("/withdraw", {"code": code}).text and listener.path == "/withdrawn"
        assert place.client().get("/nothing?language=de").text.count('lang="de"') == 1

        def fail(*_: object) -> None:
            raise database.Unavailable("study.db: the disk is full")

        monkeypatch.setattr(database.Database, "listener", fail)
        page = listener.get("/?language=zz")
        assert page.status_code == 503 and 'lang="de"' in page.text


def test_who_has_no_headphones_goes_on_at_once_and_the_tables_say_so(tmp_path: Path) -> None:
    with served(tmp_path, screened=True) as place:
        listener = HttpListener(place.client())
        listener.get("/")
        listener.post("/consent", {"agree": "yes"})
        listener.post("/about", {f"background.{id}": value for id, value in listener.background.items()})
        listener.post("/volume", {})
        assert listener.path == "/headphones" and 'name="without"' in listener.page
        assert listener.post("/headphones", {"without": "yes"}).url.path == "/ready"
        assert place.answers().listeners["headphones"].tolist() == [False]


def test_every_text_of_the_questionnaire_is_shown_and_every_shown_text_is_there() -> None:
    folder = Path(listener_pages.__file__).parent
    sources = [*folder.glob("templates/*.html"), folder / "listener_pages.py", folder / "app.py", folder / "pages.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    used = set(re.findall(r"\bt\.(\w+)", text)) | set(re.findall(r'texts\["(\w+)"\]', text))
    used |= {f"screening_{id}" for id in ("dichotic", "antiphase")} | {f"confidence_{level}" for level in range(1, 6)}
    used |= {f"{kind}_{part}" for kind in ("expired", "missing", "unavailable") for part in ("heading", "text")}
    assert used == set(questionnaire.load().texts)


# --- what nobody may do ----------------------------------------------------------------------------------------------


def test_every_answer_has_the_headers_and_no_page_is_cached(place: Place) -> None:
    listener = place.listener()
    for path in (
        "/",
        "/trial/1",
        "/nothing",
        "/admin/login",
        "/api/progress",
        "/api/openapi.json",
        "/sound/x.mp3",
        "/withdraw",
    ):
        response = listener.client.get(path, follow_redirects=False)
        assert {name: response.headers.get(name) for name in HEADERS} == HEADERS, path
        assert response.headers["cache-control"] == "no-store", path
    page = listener.get("/trial/1").text
    assert "style=" not in page and "onclick" not in page and not re.search(r"<script(?! src=)", page)
    assert not re.search(r'(?:src|href|action)="(?!/|#)', page)  # nothing is asked for outside


def test_forms_of_other_sites_and_browsers_are_refused(place: Place) -> None:
    listener, other = place.listener(), place.listener()
    fields = hidden_fields(listener.page) | listener.answers()
    foreign = hidden_fields(other.page)["csrf"]
    client = listener.client
    for token in ("", "0" * 64, foreign, "é"):
        assert client.post("/trial/1", data=fields | {"csrf": token}).status_code == 403
    assert client.post("/trial/1", data=fields, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.post("/trial/1", json=fields).status_code == 415
    assert client.post("/trial/1", files={"file": b"x"}, data=fields).status_code == 415
    assert len(place.answers().ratings) == 0
    for path in ("/consent", "/about", "/volume", "/headphones", "/ready", "/resume", "/withdraw", "/admin/login"):
        assert client.post(path, data={"csrf": "x"}).status_code == 403, path


def test_the_cookie_is_a_new_one_once_there_is_something_to_steal(place: Place) -> None:
    planted = "A" * 43
    listener = HttpListener(place.client())
    listener.client.cookies.set("muspike-study", planted, domain="testserver.local")
    assert "set-cookie" not in listener.get("/").headers  # the browser has one
    assert listener.post("/consent", {"agree": "yes"}).url.path == "/about"
    assert listener.client.cookies["muspike-study"] != planted
    attacker = TestClient(place.app, cookies={"muspike-study": planted})
    assert attacker.get("/about", follow_redirects=True).url.path == "/"


def test_cookies_are_for_http_alone_and_for_https_where_there_is_https(place: Place) -> None:
    plain = place.client().get("/").headers["set-cookie"].lower()
    assert "httponly" in plain and "samesite=lax" in plain and "secure" not in plain
    secure = place.client("https://testserver").get("/").headers["set-cookie"].lower()
    assert secure.startswith("__host-") and "secure" in secure and "path=/" in secure
    admin = HttpListener(place.client("https://testserver"))
    admin.get("/admin/login")
    kept = (
        admin.client.post(
            "/admin/login", data=hidden_fields(admin.page) | {"password": PASSWORD}, follow_redirects=False
        )
        .headers["set-cookie"]
        .lower()
    )
    assert "samesite=strict" in kept and "httponly" in kept and "secure" in kept and kept.startswith("__host-")


def test_a_listener_gets_the_sounds_of_the_present_page_alone(place: Place) -> None:
    listener = place.listener()
    (mine,) = sounds(listener.page)
    got = listener.client.get(mine)
    assert got.status_code == 200 and got.headers["content-type"] == "audio/mpeg"
    assert got.content == (place.folder / "audio" / Path(mine).name).read_bytes()
    part = listener.client.get(mine, headers={"range": "bytes=10-19"})
    assert part.status_code == 206 and part.content == got.content[10:20]
    told = json.dumps(dict(got.headers)).lower() + mine
    assert not any(source in told for source in place.study.sources) and "1970" in got.headers["last-modified"]
    others = [f"/sound/{stimulus.id}.mp3" for stimulus in place.study.stimuli if stimulus.id not in mine]
    assert [listener.client.get(path).status_code for path in others] == [404] * len(others)
    assert place.client().get(mine).status_code == 404
    listener.answer()
    assert listener.client.get(mine).status_code == 404


def test_a_sound_that_has_gone_is_named_in_the_log_until_it_is_back(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    listener = place.listener()
    (mine,) = sounds(listener.page)
    file = place.folder / "audio" / Path(mine).name
    content = file.read_bytes()
    file.unlink()
    got = listener.client.get(mine)
    assert got.status_code == 503 and got.headers["retry-after"]
    assert str(file) in caplog.text and "put it back" in caplog.text
    file.write_bytes(content)
    assert listener.client.get(mine).content == content


@pytest.mark.parametrize(
    "path",
    [
        "/sound/..%2Fstudy.json.mp3", "/sound/../study.db", "/check/..%2Fstudy.db", "/check/screening.json",
        "/check/%2e%2e/study.json", "/static/..%2Fapp.py", "/static/study.css/..", "/static/%2Fetc%2Fpasswd",
        "/check//etc/passwd", "/sound/%00.mp3", "/admin/..%2F..%2Fstudy.csv", "/study.db",
    ],
)  # fmt: skip
def test_no_path_leads_to_other_files(place: Place, path: str) -> None:
    listener = place.listener()
    response = listener.client.get(path, follow_redirects=True)
    assert response.status_code in (404, 405) or response.url.path in ("/", "/trial/1", "/admin/login")
    assert b"secret" not in response.content and b"SQLite" not in response.content


def test_what_people_write_is_text_everywhere(tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"

    def change(study: Study) -> Study:
        named = tuple(
            replace(one, source=script, origin=f"{script}.mid") if one.source != "human" else one
            for one in study.stimuli
        )
        return replace(study, title=script, sources=("human", script), stimuli=named)

    with served(tmp_path, change) as place:
        listener = place.listener()
        chosen = listener.answers()
        del chosen["confidence"]
        again = listener.post("/trial/1", chosen | {"why": f"</textarea>{script}", "item.melody": f'">{script}'})
        assert again.status_code == 422 and script not in again.text
        assert "&lt;/textarea&gt;&lt;script&gt;" in again.text
        listener.answer(why=script)
        for path in (
            f"/withdraw?code={script}",
            f"/resume?code=%22%3E{script}",
            f"/{script}",
            f"/trial/1?note={script}",
        ):
            assert script not in listener.client.get(path).text
        admin = place.admin()
        assert script not in admin.page and "&lt;script&gt;" in admin.page
        assert admin.client.get("/admin/turing.csv").headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("text", ["' OR 1=1 --", '"; DROP TABLE listeners; --', "%", "\x00", "\ud800", "A" * 5000])
def test_codes_are_no_sql_and_no_patterns(place: Place, text: str) -> None:
    place.listener()
    stranger = HttpListener(place.client())
    stranger.get("/")
    typed = text.encode(errors="replace").decode()
    assert stranger.post("/resume", {"code": typed}).status_code == 422
    stranger.get("/withdraw")
    assert stranger.post("/withdraw", {"code": typed}).status_code == 422
    assert len(place.answers().listeners) == 1


def test_codes_and_passwords_are_not_to_be_tried_out(place: Place) -> None:
    for attempts in (place.app.state.server.code_attempts, place.app.state.admin.attempts):
        attempts._clock = lambda: 0.0  # however slow this machine is
    stranger = HttpListener(place.client())
    said = []
    for _ in range(12):
        stranger.get("/withdraw")
        said.append(stranger.post("/withdraw", {"code": "BBBB"}).status_code)
    assert said == [422] * Attempts.FREE + [429] * (12 - Attempts.FREE)
    said = []
    for _ in range(12):
        stranger.get("/admin/login")
        said.append(stranger.post("/admin/login", {"password": "password"}).status_code)
    assert said == [422] * Attempts.FREE + [429] * (12 - Attempts.FREE)
    stranger.get("/admin/login")
    assert stranger.post("/admin/login", {"password": PASSWORD}).status_code == 429  # also the right one waits


def test_a_program_that_agrees_again_and_again_is_slowed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Starts, "AT_ONCE", 3)
    place.app.state.server.starts._clock = lambda: 0.0  # however slow this machine is
    said = []
    for _ in range(5):
        program = HttpListener(place.client())
        program.get("/")
        assert program.post("/consent", {}).status_code == 422  # who does not agree is not counted
        said.append(program.post("/consent", {"agree": "yes"}).status_code)
    assert said == [200, 200, 200, 429, 429] and "5 seconds" in program.page
    connection = sqlite3.connect(place.folder / "study.db")
    assert connection.execute("SELECT count(*) FROM listeners").fetchone() == (3,)
    connection.close()


def test_bodies_have_a_limit(place: Place) -> None:
    client = place.client()
    large = b"a=" + b"x" * MOST_BYTES
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("/consent", content=large, headers=form).status_code == 413

    def chunks() -> Iterator[bytes]:  # no length is told beforehand
        for _ in range(20):
            yield b"x" * 8192

    assert client.post("/consent", content=chunks(), headers=form).status_code == 413
    many = "&".join(f"f{index}=1" for index in range(2000))
    assert client.post("/consent", content=many, headers=form).status_code in (400, 403)


def test_nothing_of_the_browser_is_stored(place: Place) -> None:
    marks = {"user-agent": "secret-agent/7", "x-forwarded-for": "203.0.113.77", "referer": "http://secret.example/"}
    client = place.client()
    client.headers.update(marks)
    HttpListener(client).begin()
    connection = sqlite3.connect(place.folder / "study.db")
    dump = "\n".join(connection.iterdump())
    connection.close()
    assert "listeners" in dump
    for mark in ("secret", "203.0.113", "testclient", "127.0.0.1", "example", *client.cookies.values()):
        # The study's own secret is a column.
        assert mark not in dump.replace("secret VARCHAR(64)", "").replace("\tsecret", ""), mark


def test_an_error_page_says_what_to_do_and_shows_no_trace(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = place.listener()

    def fail(*_: object) -> None:
        raise database.Unavailable("study.db: the disk is full")

    store = database.Database.answer
    monkeypatch.setattr(database.Database, "answer", fail)
    chosen = listener.answers()
    kept = listener.post("/trial/1", chosen | {"why": "still here"})
    assert kept.status_code == 503 and "still here" in kept.text and kept.text.count(" checked") == len(chosen)
    assert "study.db" not in kept.text
    monkeypatch.setattr(database.Database, "answer", store)
    assert listener.post("/trial/1", chosen).url.path == "/trial/2"  # sent again from that page
    monkeypatch.setattr(database.Database, "listener", fail)
    page = listener.client.get("/trial/2")
    assert page.status_code == 503 and "try again" in page.text and page.headers["retry-after"]
    assert "study.db" not in page.text


def test_a_defect_is_told_and_has_a_page_with_the_headers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = place.listener()
    (mine,) = sounds(listener.page)

    def defect(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(listener_pages, "_Sound", defect)
    with pytest.raises(RuntimeError, match="a defect"):  # what the log has
        listener.client.get(mine)
    client = TestClient(place.app, cookies=dict(listener.client.cookies), raise_server_exceptions=False)
    shown = client.get(mine)
    assert shown.status_code == 500 and "try again" in shown.text and "Traceback" not in shown.text
    assert {name: shown.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize("host", ["evil.example", "[", "[::1", "a b", "evil.example/x?", "\xff", "a:99999999"])
def test_no_name_that_a_request_makes_up_is_led_to(place: Place, host: str) -> None:
    for path in ("/about/", "/admin/", "/trial/1/", "/api/progress/", "/", "/about"):
        response = place.client().get(path, headers={"host": host.encode("latin-1")}, follow_redirects=False)
        assert response.status_code in (200, 303, 404)
        assert response.headers.get("location", "/").startswith("/")


# --- the admin -------------------------------------------------------------------------------------------------------


def test_the_admin_sees_progress_and_means_and_exports(place: Place) -> None:
    first = place.listener(choose=lambda name, values: values[0])
    while first.path != "/thanks":
        first.answer(why="=HYPERLINK(1)")
    second = place.listener(background={"profession": "student"}, choose=lambda name, values: values[-1])
    second.answer()
    admin = place.admin()
    text = re.sub(r"<[^>]+>|\s+", " ", admin.page)
    assert re.search(r"Experts +0 +4 +1 ", text) and re.search(r"Other listeners +1 +4 +0 ", text)
    found = place.answers()
    rated = found.ratings[(found.ratings["item"] == "melody") & ~found.ratings["repeat"]]
    for source in place.study.sources:
        of = rated[rated["source"] == source]["rating"]
        assert f"{of.mean():.2f}" in text
    table = admin.client.get("/admin/ratings.csv").text.splitlines()
    assert len(table) == 1 + len(found.ratings)
    assert "'=HYPERLINK(1)" in admin.client.get("/admin/turing.csv").text
    answers = admin.client.get("/admin/answers.json").json()
    assert [row["why"] for row in answers["turing"]].count("=HYPERLINK(1)") == len(found.turing) - 1
    assert len(answers["listeners"]) == 2


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠"])
def test_no_reason_is_a_formula(first: str) -> None:
    told = export.csv(pd.DataFrame({"why": pd.Series([f"{first}1", "a=1", None], dtype="string")})).decode()
    assert [row[0] for row in csv.reader(io.StringIO(told))] == ["why", f"'{first}1", "a=1", ""]


def test_the_pages_of_the_admin_are_the_admins(place: Place) -> None:
    listener = place.listener()
    paths = ("/admin", "/admin/ratings.csv", "/admin/answers.json")
    for path in paths:
        response = listener.client.get(path, follow_redirects=False)
        assert response.status_code == 303 and response.headers["location"] == "/admin/login"
    for path in ("/admin/closed", "/admin/logout"):
        assert listener.client.post(path, data={"closed": "yes"}, follow_redirects=False).status_code == 303
    assert not place.app.state.server.database.closed()
    admin = place.admin()
    assert admin.client.post("/admin/closed", data={"closed": "yes"}).status_code == 403  # without its token
    assert admin.client.post("/admin/closed", data=hidden_fields(listener.page) | {"closed": "yes"}).status_code == 403
    cookies = dict(admin.client.cookies)
    admin.post("/admin/logout", {})
    again = TestClient(place.app, cookies=cookies)
    assert again.get("/admin", follow_redirects=False).headers["location"] == "/admin/login"


def test_a_password_is_made_once_and_another_one_takes_its_place(tmp_path: Path) -> None:
    study = small_study(tmp_path, excerpts=2)
    for given, expected in ((None, True), (None, False), ("a new password", False)):
        opened = database.Database(database.url_of(tmp_path), study)
        made = ensure_password(opened, given)
        assert (made is not None) == expected
        stored = opened.admin_password()
        assert stored is not None and (made or "a new password") not in stored
        opened.close()
