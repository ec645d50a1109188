"""The pages that listeners see, from consent to thanks. Each form is stored before the next page is sent."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from muspike.bench.study import steps
from muspike.bench.study.database import Given, Listener, Unavailable, shown_code
from muspike.bench.study.pages import (
    OfPost,
    OfVisit,
    PostedForm,
    Visit,
    cookie_name,
    fill,
    is_https,
    set_session,
    to,
)
from muspike.bench.study.questionnaire import Questionnaire
from muspike.bench.study.study import ATTENTION, AUDIO, BOTH, CHECKS, PAIR, RATING, REPEAT, SINGLE, Study, Trial

_LOG = logging.getLogger("uvicorn.error")

TOLERANCE_S = 0.25
"""An answer may come so much before the sound's length has gone by: decoders differ in how they end an MP3."""
LONGEST_WHY = 1000
"""Characters of a reason."""
MOST_TRIES = 2
"""How often the headphone screening may be answered."""
CONFIDENCES = (1, 2, 3, 4, 5)
_MOST_PLAYS = 99
# What people take to read and answer, for the minutes that the first page promises.
_S_PER_ITEM, _S_PER_TRIAL, _S_BEFORE = 5, 10, 180

router = APIRouter(include_in_schema=False)


class Clock(Protocol):
    """The time in seconds since 1970."""

    def __call__(self) -> float: ...


now_s: Clock = time.time


# --- from consent to the first piece ---------------------------------------------------------------------------------


@router.get("/")
def welcome(found: OfVisit) -> Response:
    """Consent, or the page where the listener is."""
    if found.listener is not None:
        return to(_place(found.listener))
    return _welcome(found)


def _welcome(found: Visit, status: int = 200, **problems: str) -> Response:
    study, asked = found.server.study, found.questionnaire
    return found.page(
        "welcome.html",
        status,
        closed=found.server.database.closed(),
        languages={name: found.server.questionnaires[name].texts["language"] for name in study.languages},
        minutes=minutes(study, asked),
        pieces=len({id for trial in study.lists[0] if trial.kind != ATTENTION for id in trial.stimuli}),
        code=found.request.query_params.get("code", "")[:100],
        **{"problem": "", "code_problem": ""} | problems,
    )


def minutes(study: Study, questionnaire: Questionnaire) -> int:
    """How long a listener takes, roughly, rounded up to five minutes."""
    seconds = {stimulus.id: stimulus.seconds for stimulus in study.stimuli}
    total_s = float(_S_BEFORE)
    for trial in study.lists[0]:
        questions = 1 if trial.kind in (ATTENTION, PAIR) else len(questionnaire.items)
        total_s += _S_PER_TRIAL + _S_PER_ITEM * questions + sum(seconds[id] for id in trial.stimuli)
    return 5 * math.ceil(total_s / 300)


@router.post("/consent")
def consent(found: OfPost, form: PostedForm) -> Response:
    """Begin. The cookie is a new one, so that nobody else can know it."""
    if found.listener is not None:  # sent twice
        return to(_place(found.listener))
    if found.server.database.closed():
        return to("/")
    if form.get("agree") != "yes":
        return _welcome(found, 422, problem=found.questionnaire.texts["consent_missing"])
    if wait_s := found.server.starts.begin(_address(found)):
        return _welcome(found, 429, problem=_after(found, wait_s))
    response = to(f"/{steps.ABOUT}")
    set_session(found.request, response, found.server.database.begin(found.language))
    return response


@router.get("/resume")
def resume(found: OfVisit) -> Response:
    """The personal link: the first page, with the code filled in. Only its button goes on: previews follow links."""
    return _welcome(found)


@router.post("/resume")
def resumed(found: OfPost, form: PostedForm) -> Response:
    """Go on with a personal code."""
    texts = found.questionnaire.texts
    if refused := _wait(found):
        return _welcome(found, 429, code_problem=refused)
    token = found.server.database.resume(form.get("code", ""))
    if token is None:
        return _welcome(found, 422, code_problem=texts["code_unknown"])
    found.server.code_attempts.succeeded(_address(found))
    response = to("/")
    set_session(found.request, response, token)
    return response


def _wait(found: Visit) -> str:
    """Why this address has to wait before it tries another code; empty if it has not."""
    wait_s = found.server.code_attempts.begin(_address(found))
    return _after(found, wait_s) if wait_s else ""


def _after(found: Visit, wait_s: float) -> str:
    return fill(found.questionnaire.texts["too_often"], seconds=math.ceil(wait_s))


def _address(found: Visit) -> str | None:
    return found.request.client.host if found.request.client else None


@router.get("/about")
def about(found: OfVisit) -> Response:
    """The background questions."""
    return _elsewhere(found, steps.ABOUT) or found.page("about.html", values={}, problems={})


@router.post("/about")
def about_answered(found: OfPost, form: PostedForm) -> Response:
    """Store the background, which says the group and the list."""
    if (listener := found.listener) is None or listener.step != steps.ABOUT:
        return to("/")
    answers, problems = background(found.questionnaire, form)
    if problems:
        return found.page("about.html", 422, values=form, problems=problems)
    found.server.database.set_background(listener.id, answers, found.questionnaire.group_of(answers))
    return to(f"/{steps.VOLUME}")


def background(
    questionnaire: Questionnaire, form: Mapping[str, str]
) -> tuple[dict[str, str | int | None], dict[str, str]]:
    """The answers to the background questions, and what is wrong with them, by the id of the question."""
    texts = questionnaire.texts
    answers: dict[str, str | int | None] = {}
    problems = {}
    for question in questionnaire.background:
        given = form.get(f"background.{question.id}", "").strip()
        if not given and question.optional:
            answers[question.id] = None
        elif question.options:
            answers[question.id] = given
            if given not in [option.id for option in question.options]:
                problems[question.id] = texts["answer_missing"]
        elif len(given) < 10 and given.isdecimal() and question.least <= int(given) <= question.most:
            answers[question.id] = int(given)
        else:
            problems[question.id] = fill(texts["number_wrong"], least=question.least, most=question.most)
    return answers, problems


@router.get("/volume")
def volume(found: OfVisit) -> Response:
    """The volume check."""
    return _elsewhere(found, steps.VOLUME) or found.page("volume.html", file=found.server.screening.volume)


@router.post("/volume")
def volume_set(found: OfPost) -> Response:
    """Go on after the volume check."""
    if found.listener is not None:
        found.server.database.move(found.listener.id, steps.VOLUME, steps.after_volume(found.server.study))
    return to("/")


@router.get("/headphones")
def headphones(found: OfVisit) -> Response:
    """The headphone screening."""
    return _elsewhere(found, steps.HEADPHONES) or _headphones(found, {}, {})


def _headphones(found: Visit, values: Mapping[str, str], problems: Mapping[str, str], status: int = 200) -> Response:
    assert found.listener is not None
    failed = found.listener.headphones is False
    tests = found.server.screening.tests
    return found.page("headphones.html", status, tests=tests, failed=failed, values=values, problems=problems)


@router.post("/headphones")
def headphones_answered(found: OfPost, form: PostedForm) -> Response:
    """Judge the headphone screening. Who fails may try once more; who has no headphones goes on without."""
    listener, database = found.listener, found.server.database
    if listener is None or listener.step != steps.HEADPHONES:
        return to("/")
    if form.get("without"):
        database.screened(listener.id, False, steps.READY, answered=False)
        return to("/")
    tests, missing = found.server.screening.tests, found.questionnaire.texts["answer_missing"]
    chosen = {(test.id, at): form.get(f"{test.id}.{at}") for test in tests for at in range(len(test.tries))}
    problems = {f"{id}.{at}": missing for (id, at), value in chosen.items() if value not in ("1", "2", "3")}
    if problems:
        return _headphones(found, form, problems, 422)
    passed = all(test.passed([int(chosen[test.id, at] or 0) for at in range(len(test.tries))]) for test in tests)
    over = passed or listener.headphone_tries + 1 >= MOST_TRIES
    database.screened(listener.id, passed, steps.READY if over else steps.HEADPHONES)
    return to("/")


@router.get("/ready")
def ready(found: OfVisit) -> Response:
    """What comes now."""
    if (elsewhere := _elsewhere(found, steps.READY)) is not None:
        return elsewhere
    return found.page("ready.html", total=len(_trials(found)))


@router.post("/ready")
def begun(found: OfPost) -> Response:
    """Begin with the first piece."""
    if found.listener is not None:
        found.server.database.move(found.listener.id, steps.READY, steps.TRIALS)
    return to("/")


def _place(listener: Listener) -> str:
    return steps.page_of(listener.step, listener.answered)


def _elsewhere(found: Visit, step: str) -> Response | None:
    """The way to where the listener is, if that is not at this step."""
    if found.listener is None:
        return to("/")
    return None if found.listener.step == step else to(_place(found.listener))


# --- the trials ------------------------------------------------------------------------------------------------------


def _trials(found: Visit) -> tuple[Trial, ...]:
    assert found.listener is not None and found.listener.list is not None
    return found.server.study.lists[found.listener.list]


@router.get("/trial/{number}")
def trial(found: OfVisit, number: int) -> Response:
    """The page of a trial, counted from 1. Whoever is at another one is brought there."""
    if (elsewhere := _elsewhere(found, steps.TRIALS)) is not None:
        return elsewhere
    assert found.listener is not None
    if number - 1 != found.listener.answered:
        return to(_place(found.listener) + ("?note=before" if number - 1 < found.listener.answered else ""))
    return _trial(found, {})


def _trial(
    found: Visit,
    values: Mapping[str, str],
    problems: Mapping[str, str] | None = None,
    problem: str = "",
    status: int = 200,
) -> Response:
    """The page of the listener's trial. `values` were chosen before; the time of the first page stays."""
    assert found.listener is not None
    at, trials, texts = found.listener.answered, _trials(found), found.questionnaire.texts
    one, study = trials[at], found.server.study
    noted = found.request.query_params.get("note") == "before" and not problem
    tokens = found.server.tokens
    served, now = values.get("served", ""), now_s()
    before = tokens.served_at_s(found.listener.id, _page(at), served)
    if before is None or before > now:  # a clock that was set back would keep the listener here
        served = tokens.served(found.listener.id, _page(at), now)
    asks = Asked.of(one, study)
    wanted = "" if one.wanted is None else found.questionnaire.scale[one.wanted - 1]
    return found.page(
        "trial.html",
        status,
        number=at + 1,
        total=len(trials),
        asks=asks,
        sounds=one.stimuli,
        attention=fill(texts["attention_statement"], point=wanted),
        served=served,
        values=values,
        problems=problems or {},
        problem=problem,
        note=texts["already_answered"] if noted else "",
        longest_why=LONGEST_WHY,
        confidences=CONFIDENCES,
        most_plays=_MOST_PLAYS,
    )


def _page(trial: int) -> str:
    return f"trial {trial}"


@dataclass(frozen=True)
class Asked:
    """What the page of a trial asks."""

    items: bool
    attention: bool
    single: bool
    pair: bool
    why: bool

    @classmethod
    def of(cls, trial: Trial, study: Study) -> Asked:
        """What it asks of a trial of this kind."""
        single = trial.kind == RATING and study.turing in (SINGLE, BOTH)
        pair = trial.kind == PAIR
        return cls(
            items=trial.kind in (RATING, REPEAT),
            attention=trial.kind == ATTENTION,
            single=single,
            pair=pair,
            why=study.ask_why and (single or pair),
        )


@router.post("/trial/{number}")
def trial_answered(found: OfPost, form: PostedForm, number: int) -> Response:
    """Store the answers of a trial, once, and go on."""
    listener = found.listener
    if listener is None or listener.step != steps.TRIALS or number - 1 != listener.answered:
        return trial(found, number)
    texts, at, study = found.questionnaire.texts, listener.answered, found.server.study
    one = _trials(found)[at]
    given, problems = read_answers(one, study, found.questionnaire, form)
    length_s = sum(study.stimulus(id).seconds for id in one.stimuli)
    served_s = found.server.tokens.served_at_s(listener.id, _page(at), form.get("served", ""))
    passed_s = 0.0 if served_s is None else now_s() - served_s
    if passed_s < length_s - TOLERANCE_S:
        return _trial(found, form, problems, texts["too_soon"], 422)
    if given is None:
        return _trial(found, form, problems, texts["errors_heading"], 422)
    plays = min(_plays(form, len(one.stimuli)), 1 + int(passed_s / max(length_s, 0.1)))
    try:
        database = found.server.database
        if database.answer(listener.id, at, Given(plays, **given)) != "stored":
            return to("/")
    except Unavailable:
        return _trial(found, form, {}, texts["not_saved"], 503)
    done = at + 1
    if done < len(_trials(found)) and study.breaks and done % study.breaks == 0:
        return to("/break")
    return to(f"/trial/{done + 1}" if done < len(_trials(found)) else "/thanks")


def read_answers(
    trial: Trial, study: Study, questionnaire: Questionnaire, form: Mapping[str, str]
) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """What a form answers to a trial, as the arguments of `Given`, and what is missing, by the name of the field."""
    asks, points = Asked.of(trial, study), len(questionnaire.scale)
    given: dict[str, Any] = {}
    wanted: dict[str, range | tuple[str, ...]] = {}
    if asks.items:
        wanted |= {f"item.{item.id}": range(1, points + 1) for item in questionnaire.items}
    if asks.attention:
        wanted["attention"] = range(1, points + 1)
    if asks.single:
        wanted["turing"] = ("human", "machine")
    if asks.pair:
        wanted["turing"] = ("first", "second")
    if asks.single or asks.pair:
        wanted["confidence"] = range(CONFIDENCES[0], CONFIDENCES[-1] + 1)
    chosen: dict[str, str] = {}
    for name, allowed in wanted.items():
        value = form.get(name, "")
        if value in (allowed if isinstance(allowed, tuple) else {str(point) for point in allowed}):
            chosen[name] = value
    missing = questionnaire.texts["answer_missing"]
    if problems := {name: missing for name in wanted if name not in chosen}:
        return None, problems
    if asks.items:
        given["ratings"] = {item.id: int(chosen[f"item.{item.id}"]) for item in questionnaire.items}
    if asks.attention:
        given["point"] = int(chosen["attention"])
    if asks.single or asks.pair:
        given["said_human"] = _said_human(trial, study, chosen["turing"])
        given["confidence"] = int(chosen["confidence"])
        given["why"] = (form.get("why", "").strip()[:LONGEST_WHY] or None) if asks.why else None
    return given, {}


def _said_human(trial: Trial, study: Study, said: str) -> bool:
    if trial.kind != PAIR:
        return said == "human"
    chosen = trial.stimuli[0 if said == "first" else 1]
    return study.stimulus(chosen).source == study.human


def _plays(form: Mapping[str, str], sounds: int) -> int:
    """How often the page says that it was heard: the most of its sounds; at least once."""
    said = [form.get(f"plays.{at}", "1") for at in range(sounds)]
    return max(1, *(min(int(plays), _MOST_PLAYS) for plays in said if plays.isdecimal() and len(plays) < 5), 1)


@router.get("/break")
def pause(found: OfVisit) -> Response:
    """A break between two trials."""
    if (elsewhere := _elsewhere(found, steps.TRIALS)) is not None:
        return elsewhere
    assert found.listener is not None
    return found.page(
        "break.html", done=found.listener.answered, total=len(_trials(found)), after=_place(found.listener)
    )


@router.get("/thanks")
def thanks(found: OfVisit) -> Response:
    """The end, with the personal code."""
    return _elsewhere(found, steps.DONE) or found.page("thanks.html")


# --- sounds ----------------------------------------------------------------------------------------------------------


class _Sound(FileResponse):
    """A sound. The name, the time and the size on the disk say nothing of where a piece comes from.

    It is asked for in parts by some browsers, so ranges are answered.

    Raises:
        HTTPException: the file has gone since the server was started (status 503). The log says which.
    """

    chunk_size = 2**20

    def __init__(self, path: Path, tag: str) -> None:
        if not path.is_file():
            _LOG.error("%s: has gone since the server was started; put it back, and listeners can go on", path)
            raise HTTPException(503)
        headers = {
            "cache-control": "private, max-age=86400",
            "etag": f'"{tag}"',
            "last-modified": "Thu, 01 Jan 1970 00:00:00 GMT",
        }
        super().__init__(path, headers=headers, media_type="audio/mpeg")


@router.get("/sound/{id}.mp3")
def sound(found: OfVisit, id: str) -> Response:
    """A piece of the listener's present page. No other piece, of theirs or of others', is given away."""
    listener, server = found.listener, found.server
    if listener is None or listener.step != steps.TRIALS or id not in _trials(found)[listener.answered].stimuli:
        raise HTTPException(404)
    return _Sound(server.folder / AUDIO / f"{id}.mp3", server.study.stimulus(id).audio_sha256[:32])


@router.get("/check/{file}")
def check(found: OfVisit, file: str) -> Response:
    """A sound of the volume check or the headphone screening."""
    screening = found.server.screening
    known = {screening.volume, *(one.file for test in screening.tests for one in test.tries)}
    if found.listener is None or file not in known:
        raise HTTPException(404)
    return _Sound(found.server.folder / CHECKS / file, file.removesuffix(".mp3"))


# --- withdrawing -----------------------------------------------------------------------------------------------------


@router.get("/withdraw")
def withdraw(found: OfVisit) -> Response:
    """Where a personal code has all answers deleted."""
    return _withdraw(found, shown_code(found.listener.code) if found.listener else "")


def _withdraw(found: Visit, code: str, problem: str = "", status: int = 200) -> Response:
    return found.page("withdraw.html", status, code=code, problem=problem)


@router.post("/withdraw")
def withdrawn(found: OfPost, form: PostedForm) -> Response:
    """Delete all answers of a listener."""
    code = form.get("code", "")
    if refused := _wait(found):
        return _withdraw(found, code[:100], refused, 429)
    if not found.server.database.withdraw(code):
        return _withdraw(found, code[:100], found.questionnaire.texts["code_unknown"], 422)
    found.server.code_attempts.succeeded(_address(found))
    response = to("/withdrawn")
    response.delete_cookie(cookie_name(found.request), path="/", secure=is_https(found.request), httponly=True)
    return response


@router.get("/withdrawn")
def after_withdrawal(found: OfVisit) -> Response:
    """All answers are deleted."""
    return found.page("withdrawn.html")
