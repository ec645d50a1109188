"""What all pages of a study's server share: its parts, templates, cookies, forms and answers of errors."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import jinja2
from fastapi import Depends, Request
from markupsafe import Markup, escape
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from muspike.bench.study.database import Database, Listener, shown_code
from muspike.bench.study.protection import Attempts, Starts, Tokens
from muspike.bench.study.questionnaire import Questionnaire
from muspike.bench.study.screening import Screening
from muspike.bench.study.study import Study
from muspike.hardware.running.page import environment

MOST_FIELDS = 500
"""Fields of a form."""
_SESSION = re.compile(r"[A-Za-z0-9_-]{43}")
_COOKIE = "muspike-study"
_LANGUAGE_COOKIE = "muspike-study-language"


@dataclass(frozen=True)
class Server:
    """The parts of a running server.

    Attributes:
        folder: of the study.
        study: the study.
        questionnaires: the questionnaire by language.
        screening: the checks of sound.
        database: the answers.
        tokens: of forms.
        templates: of pages.
        code_attempts: attempts to name a personal code.
        starts: of new listeners.
    """

    folder: Path
    study: Study
    questionnaires: Mapping[str, Questionnaire]
    screening: Screening
    database: Database
    tokens: Tokens
    templates: jinja2.Environment
    code_attempts: Attempts
    starts: Starts

    @property
    def questionnaire(self) -> Questionnaire:
        """In the first language."""
        return self.questionnaires[self.study.languages[0]]


def templates() -> jinja2.Environment:
    """The templates of the pages."""
    made = environment("muspike.bench.study")
    made.filters |= {"fill": fill, "paragraphs": _paragraphs, "shown_code": shown_code}
    return made


def fill(text: str, **values: object) -> str:
    """A text with values in the places of their names in braces. Other braces stay."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def _paragraphs(text: str) -> Markup:
    parts = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    return Markup("\n").join(Markup("<p>{}</p>").format(escape(part)) for part in parts)


# --- cookies and forms -----------------------------------------------------------------------------------------------


def server_of(request: Request) -> Server:
    """The server that answers a request."""
    found: Server = request.app.state.server
    return found


def is_https(request: Request) -> bool:
    """Whether the browser asks by https. The host, which a request may make up, has no part in it."""
    return bool(request.scope["scheme"] == "https")


def cookie_name(request: Request, name: str = _COOKIE) -> str:
    """The name of a cookie. With https, browsers take it from this very host alone (`__Host-`)."""
    return f"__Host-{name}" if is_https(request) else name


def session_of(request: Request) -> str | None:
    """What the browser's cookie holds; None if it has none of ours."""
    found = request.cookies.get(cookie_name(request))
    return found if found is not None and _SESSION.fullmatch(found) else None


def set_session(request: Request, response: Response, session: str) -> None:
    """Give the browser a cookie. It stays for half a year, so that interrupted listeners can go on."""
    secure = is_https(request)
    response.set_cookie(
        cookie_name(request), session, max_age=180 * 86400, path="/", secure=secure, httponly=True, samesite="lax"
    )


class Visit:
    """One request of a browser.

    Attributes:
        request: the request.
        server: the server.
        session: what the cookie holds, or will hold.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.server = server_of(request)
        self.session = session_of(request) or secrets.token_urlsafe(32)

    @cached_property
    def listener(self) -> Listener | None:
        """Whose cookie it is; None: nobody's who has agreed to take part."""
        return self.server.database.listener(self.session) if session_of(self.request) else None

    @property
    def csrf(self) -> str:
        """The token of the forms on the page."""
        return self.server.tokens.csrf(self.session)

    @property
    def language(self) -> str:
        """The language of the page: the listener's, or that of `language_of`."""
        languages = self.server.study.languages
        if self.listener is not None and self.listener.language in languages:
            return self.listener.language
        return language_of(self.request, languages)

    @property
    def questionnaire(self) -> Questionnaire:
        """In the language of the page."""
        return self.server.questionnaires[self.language]

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page, made of a template."""
        shown = self.server.templates.get_template(template)
        of = {
            "t": self.questionnaire.texts,
            "title": self.questionnaire.title,
            "language": self.language,
            "csrf": self.csrf,
            "listener": self.listener,
            "questionnaire": self.questionnaire,
            "study": self.server.study,
        }
        response = HTMLResponse(shown.render(of | values), status)
        if session_of(self.request) is None:
            set_session(self.request, response, self.session)
        if _remembered(self.request, self.server.study.languages) != self.language:
            _remember(self.request, response, self.language)
        return response


def language_of(request: Request, languages: Sequence[str]) -> str:
    """The language of a page for which nobody is looked up in the database: the one that the address names, or that of
    the last page where it was not the browser's, or the first that the browser prefers."""
    asked = request.query_params.get("language")
    return asked if asked is not None and asked in languages else _remembered(request, languages)


def _remembered(request: Request, languages: Sequence[str]) -> str:
    found = request.cookies.get(cookie_name(request, _LANGUAGE_COOKIE), "")
    return found if found in languages else preferred(request.headers.get("accept-language", ""), languages)


def _remember(request: Request, response: Response, language: str) -> None:
    """Give the browser a cookie with the language of its pages. It is needed where the session is not known: on pages
    of errors, and after a withdrawal. It goes with the browser."""
    secure, name = is_https(request), cookie_name(request, _LANGUAGE_COOKIE)
    response.set_cookie(name, language, path="/", secure=secure, httponly=True, samesite="lax")


def preferred(accepted: str, languages: Sequence[str]) -> str:
    """The first of `languages` that a browser accepts (RFC 9110, Accept-Language), or the first of all."""
    wanted = []
    for part in accepted.split(",")[:20]:
        tag, _, weight = part.strip().lower().partition(";q=")
        try:
            wanted.append((-float(weight or 1), tag))
        except ValueError:
            continue
    for _, tag in sorted(wanted, key=lambda pair: pair[0]):
        for language in languages:
            if tag.split("-")[0] == language.lower().split("-")[0]:
                return language
    return languages[0]


async def visit(request: Request) -> Visit:
    """A request that only reads. It is made without a thread; the page looks the listener up in its own."""
    return Visit(request)


async def posted_form(request: Request) -> dict[str, str]:
    """The fields of a form that was sent.

    Raises:
        HTTPException: it is no such form (status 415), or came from another site (403).
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403)
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise HTTPException(415)
    form: FormData = await request.form(max_files=0, max_fields=MOST_FIELDS)
    # PostgreSQL takes no null characters, and no encoding takes halves of characters.
    return {name: _clean(value) for name, value in form.items() if isinstance(value, str)}


def _clean(text: str) -> str:
    return text.replace("\0", "").encode(errors="replace").decode()


PostedForm = Annotated[dict[str, str], Depends(posted_form)]
OfVisit = Annotated[Visit, Depends(visit)]


async def posted(found: OfVisit, form: PostedForm) -> Visit:
    """A request that sends a form of ours.

    Raises:
        HTTPException: the form is not of this browser (status 403).
    """
    if not found.server.tokens.is_csrf(found.session, form.get("csrf", "")):
        raise HTTPException(403)
    return found


OfPost = Annotated[Visit, Depends(posted)]


def to(path: str) -> RedirectResponse:
    """Go on with the page at `path`, by GET."""
    return RedirectResponse(path, 303)
