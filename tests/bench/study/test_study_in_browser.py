"""A whole session in Debian's Chromium: by mouse, by keyboard alone, on a phone; axe-core finds nothing on any page."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

import chromium
import study_server
from chromium import sync_api
from muspike.bench import audio
from muspike.bench.study import database, questionnaire
from muspike.bench.study import study as studies
from small_study import small_study

if (missing := audio.missing()) is not None:
    pytest.skip(missing, allow_module_level=True)

SECONDS = 0.6


class Mouse:
    """Clicks."""

    def press(self, button: Any) -> None:
        button.click()

    def choose(self, radios: Any, index: int) -> None:
        radios.nth(index).click()

    def write(self, field: Any, text: str) -> None:
        field.click()
        field.type(text)

    def play(self, player: Any) -> None:
        player.locator("button").click()


class Keyboard:
    """Tab, space, enter and arrows: nothing is clicked."""

    def __init__(self, page: Any) -> None:
        self._page = page

    def _reach(self, element: Any, key: str = "Tab") -> None:
        for _ in range(300):
            if element.evaluate("it => it === document.activeElement"):
                seen = self._page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert seen != "none", "the focus is not seen"
                return
            self._page.keyboard.press(key)
        raise AssertionError(f"{element} is not reached by {key}")

    def press(self, button: Any) -> None:
        self._reach(button)
        self._page.keyboard.press("Enter")

    def choose(self, radios: Any, index: int) -> None:
        self._reach(radios.first)
        self._page.keyboard.press("Space")
        for _ in range(index):
            self._page.keyboard.press("ArrowRight")

    def write(self, field: Any, text: str) -> None:
        self._reach(field)
        self._page.keyboard.type(text)

    def play(self, player: Any) -> None:
        self._reach(player.locator("button"))
        self._page.keyboard.press("Space")


class Session:
    """A listener in a browser. Every kind of page is looked at by axe-core and kept as a picture."""

    def __init__(self, browser: Any, name: str, keyboard: bool = False, **context: Any) -> None:
        self.name = name
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.hand = Keyboard(self.page) if keyboard else Mouse()
        self.said = chromium.said(self.page)
        self.looked_at: set[str] = set()

    def look(self, kind: str) -> None:
        """Check the page that is open, once for each kind."""
        if kind in self.looked_at:
            return
        self.looked_at.add(kind)
        assert chromium.fits(self.page), f"{kind} is too wide"
        main = self.page.locator("main").bounding_box()
        for button in self.page.locator("main button:visible").all():
            box = button.bounding_box()
            assert box["x"] >= main["x"] and box["x"] + box["width"] <= main["x"] + main["width"] + 0.5, kind
        chromium.keep(self.page, f"study-{self.name}-{kind}")
        assert chromium.violations(self.page) == [], kind

    def _radios(self, name: str) -> Any:
        return self.page.locator(f'input[type=radio][name="{name}"]')

    def hear_all(self) -> None:
        for player in self.page.locator("[data-player]").all():
            self.hand.play(player)
            sync_api.expect(player).to_have_class(re.compile("done"), timeout=20_000)

    def send(self) -> None:
        self.hand.press(self.page.locator("button.go"))

    def begin(self, address: str) -> None:
        page = self.page
        page.goto(address)
        self.look("welcome")
        box = page.locator("input[type=checkbox]")
        if isinstance(self.hand, Keyboard):
            self.hand._reach(box)
            page.keyboard.press("Space")
        else:
            box.click()
        self.send()
        page.wait_for_url("**/about")
        self.look("about")
        self.hand.write(page.locator("input[type=number]").first, "3")
        self.hand.choose(self._radios("background.profession"), 0)
        self.hand.choose(self._radios("background.plays"), 1)
        self.send()
        page.wait_for_url("**/volume")
        self.look("volume")
        self.hear_all()
        self.send()
        page.wait_for_load_state()

    def headphones(self, answers: dict[str, int]) -> None:
        self.page.wait_for_url("**/headphones")
        self.look("headphones")
        for name, answer in answers.items():
            self.hand.choose(self._radios(name), answer - 1)
        self.look("headphones-chosen")
        self.send()

    def ready(self) -> None:
        self.page.wait_for_url("**/ready")
        self.look("ready")
        self.send()

    def trial(self, number: int) -> None:
        """Answer the page of a trial. The rating of item i is 1 + (trial + i) % 5."""
        page = self.page
        page.wait_for_url(f"**/trial/{number}")
        names = list(dict.fromkeys(page.eval_on_selector_all("input[type=radio]", "all => all.map(it => it.name)")))
        kind = "pair" if page.locator("audio").count() == 2 else "attention" if "attention" in names else "rating"
        self.look(kind)
        self.hear_all()
        for index, name in enumerate(names):
            radios = self._radios(name)
            self.hand.choose(radios, (number + index) % radios.count())
        if page.locator("textarea").count():
            self.hand.write(page.locator("textarea"), "<b>the rhythm & the end</b>")
        self.look(f"{kind}-answered")
        self.send()
        page.wait_for_url(lambda url: not url.endswith(f"/trial/{number}"))
        if page.url.endswith("/break"):
            self.look("break")
            self.hand.press(page.locator("a.go"))

    def close(self) -> None:
        self.context.close()
        assert self.said == []


def study_in(folder: Path, **how: Any) -> studies.Study:
    return small_study(folder, excerpts=2, seconds=SECONDS, **how)


def ratings_of(folder: Path) -> Any:
    study, form = studies.read(folder), questionnaire.load(folder / studies.QUESTIONNAIRE)
    return database.answers(database.url_of(folder), study, form)


@pytest.mark.parametrize(
    ("name", "keyboard", "context"),
    [
        pytest.param("phone", False, {"viewport": {"width": 320, "height": 640}, "has_touch": True}, id="phone"),
        pytest.param("keyboard", True, {"color_scheme": "dark"}, id="keyboard", marks=pytest.mark.nightly),
        pytest.param("mouse", False, {}, id="mouse", marks=pytest.mark.nightly),
    ],
)
def test_a_whole_session(tmp_path: Path, browser: Any, name: str, keyboard: bool, context: dict[str, Any]) -> None:
    study = study_in(tmp_path, screened=True, breaks=3)
    with study_server.running(tmp_path) as server:
        session = Session(browser, name, keyboard, **context)
        session.begin(server.address)
        # Nobody hears the small study's tones: the right answers are known.
        right = {f"{test}.{at}": 1 + at % 3 for test in ("dichotic", "antiphase") for at in range(6)}
        session.headphones(right)
        session.ready()
        total = len(study.lists[0])
        for number in range(1, total + 1):
            session.trial(number)
        session.page.wait_for_url("**/thanks")
        session.look("thanks")
        session.page.goto(f"{server.address}trial/1")  # the back button
        assert session.page.url.endswith("/thanks")
        session.hand.press(session.page.get_by_role("link", name="Delete my answers"))
        session.page.wait_for_url("**/withdraw")
        session.look("withdraw")
        found = ratings_of(tmp_path)
        assert found.listeners["finished"].tolist() == [True]
        assert found.listeners["group"].tolist() == ["amateur"]
        assert found.listeners["headphones"].tolist() == [True]
        first = found.ratings[found.ratings["trial"] == 0]["rating"].tolist()
        assert first == [1 + (1 + index) % 5 for index in range(13)]
        assert set(found.turing["why"]) == {"<b>the rhythm & the end</b>"}
        assert found.ratings["plays"].eq(1).all()
        session.send()
        session.page.wait_for_url("**/withdrawn")
        session.look("withdrawn")
        assert len(ratings_of(tmp_path).ratings) == 0
        session.close()


def at_first_piece(session: Session, server: study_server.Running) -> None:
    """Bring a browser to the first piece, by way of a listener without a browser."""
    with httpx.Client(base_url=server.address, timeout=30, trust_env=False) as client:
        listener = study_server.HttpListener(client)
        listener.begin()
        ((name, value),) = client.cookies.items()
    session.context.add_cookies([{"name": name, "value": value, "url": server.address}])
    session.page.goto(server.address)
    session.page.wait_for_url("**/trial/1")


def choose_all(page: Any) -> None:
    """Choose the first answer of every question."""
    for name in dict.fromkeys(page.eval_on_selector_all("input[type=radio]", "all => all.map(it => it.name)")):
        page.locator(f'input[type=radio][name="{name}"]').first.check()


def test_a_form_waits_for_the_end_of_the_sound_and_counts_how_often_it_was_heard(tmp_path: Path, browser: Any) -> None:
    study_in(tmp_path, screened=False)
    with study_server.running(tmp_path) as server:
        session = Session(browser, "waits", viewport={"width": 800, "height": 700})
        page = session.page
        at_first_piece(session, server)
        choose_all(page)
        page.locator("button.go").click()
        assert page.url.endswith("/trial/1")
        hint = page.locator("[data-hint]")
        sync_api.expect(hint).to_have_text("Please listen to the end first. Then you can send your answers.")
        assert page.evaluate("document.activeElement.className") == "play"
        session.look("hint")
        session.hear_all()
        sync_api.expect(hint).to_be_empty()
        session.hand.play(page.locator("[data-player]"))
        sync_api.expect(page.locator(".heard")).to_have_text("Heard 2 times", timeout=20_000)
        assert page.locator("input[type=radio]:checked").count() > 13
        page.locator("button.go").dblclick()  # twice, as impatient people do
        page.wait_for_url("**/trial/2")
        page.go_back()
        page.wait_for_url("**/trial/2*")
        found = ratings_of(tmp_path)
        assert found.ratings["plays"].tolist() == [2] * 13 and found.ratings["trial"].eq(0).all()
        session.close()


def test_what_is_missing_is_said_in_the_language_of_the_page(tmp_path: Path, browser: Any) -> None:
    study_in(tmp_path, screened=False, languages=("en", "de"))
    texts = questionnaire.translations()["de"].texts
    with study_server.running(tmp_path) as server:
        session = Session(browser, "german", locale="en-GB")
        page = session.page

        def told(field: Any) -> Any:
            session.send()
            return field.evaluate("it => it.validationMessage")

        page.goto(f"{server.address}?language=de")
        box = page.locator("input[type=checkbox]")
        assert told(box) == texts["consent_missing"]
        box.check()
        session.send()
        page.wait_for_url("**/about")
        years, answers = page.locator("input[type=number]").first, page.locator("[name='background.plays']")
        for wrong in ("", "91"):
            years.fill(wrong)
            assert told(years) == texts["number_wrong"].replace("{least}", "0").replace("{most}", "90")
        years.fill("3")
        assert told(answers.first) == told(answers.last) == texts["answer_missing"]
        answers.nth(1).check()
        assert answers.first.evaluate("it => it.validationMessage") == ""
        page.locator("[name='background.profession']").first.check()
        session.send()
        page.wait_for_url("**/volume")
        session.close()


def test_without_scripts_everything_works_and_the_server_watches_the_time(tmp_path: Path, browser: Any) -> None:
    small_study(tmp_path, excerpts=2, seconds=4.0, screened=False)
    with study_server.running(tmp_path) as server:
        session = Session(browser, "plain", java_script_enabled=False)
        page = session.page
        at_first_piece(session, server)
        assert page.locator("audio[controls]").is_visible() and not page.locator(".play").is_visible()
        started = time.monotonic()
        page.goto(f"{server.address}trial/1")
        choose_all(page)
        page.locator("button.go").click()
        quick = time.monotonic() - started < 3.5
        if quick:  # this machine was quick enough to be too soon
            assert "listen to the end" in page.locator("[role=alert]").first.inner_text()
            assert page.locator("input[type=radio]:checked").count() > 13
            (said,) = session.said  # Chromium logs the status of the refusal
            assert "422" in said
            session.said.clear()
            time.sleep(4)
            page.locator("button.go").click()
        page.wait_for_url("**/trial/2")
        session.close()


def test_the_admins_pages_and_those_of_errors(tmp_path: Path, browser: Any) -> None:
    study = small_study(tmp_path, excerpts=2, seconds=0.12, screened=False, languages=("en", "de", "zh"))
    with study_server.running(tmp_path) as server:
        numbers = itertools.count()
        for _ in range(3):
            with httpx.Client(base_url=server.address, timeout=30, trust_env=False) as client:
                listener = study_server.HttpListener(client, lambda name, of: of[(next(numbers) * 7) % len(of)])
                listener.begin()
                for _ in range(len(study.lists[0]) - next(numbers) % 3):
                    time.sleep(0.05)
                    listener.answer()
        for scheme, width in (("light", 1000), ("dark", 360)):
            session = Session(
                browser, f"{scheme}-{width}", color_scheme=scheme, viewport={"width": width, "height": 800}
            )
            page = session.page
            for kind, path in (("login", "admin/login"), ("missing", "nothing"), ("german", "?language=de")):
                page.goto(f"{server.address}{path}")
                session.look(kind)
            page.goto(f"{server.address}admin/login")
            page.get_by_label("Password").fill(study_server.PASSWORD)
            page.locator("button.go").click()
            page.wait_for_url("**/admin")
            session.look("admin")
            with page.expect_download() as got:
                page.get_by_role("link", name="ratings.csv").click()
            assert got.value.path().read_bytes().count(b"\r\n") > 13
            page.get_by_role("button", name="Close it").click()
            page.wait_for_url("**/admin")
            page.goto(server.address)
            session.look("closed")
            page.goto(f"{server.address}admin")
            page.get_by_role("button", name="Open it again").click()
            page.wait_for_url("**/admin")
            session.context.close()
            assert [line for line in session.said if "404" not in line] == []
