"""The pages of the study's admin, behind a login."""

from __future__ import annotations

import math
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from muspike.bench.study import export, live
from muspike.bench.study.database import Database
from muspike.bench.study.pages import OfPost, OfVisit, PostedForm, Server, Visit, cookie_name, is_https, server_of, to
from muspike.bench.study.protection import Attempts, hashed_password, is_password

SHORTEST_PASSWORD = 8
IDLE_S, LONGEST_S = 3600.0, 12 * 3600.0
"""A session ends after so long without a request, and so long after the login."""
_COOKIE = "muspike-admin"
_MOST_SESSIONS = 100

router = APIRouter(prefix="/admin", include_in_schema=False)


@dataclass
class _Session:
    begun_s: float
    seen_s: float


class Admin:
    """The sessions of admins, in memory: they end with the server."""

    def __init__(self) -> None:
        self.attempts = Attempts()
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Lock()

    def is_password(self, password: str, hashed: str | None) -> bool:
        """Whether the password is right. One is tried at a time: each takes memory and a processor."""
        with self._one_at_a_time:
            return hashed is not None and is_password(password, hashed)

    def begin(self) -> str:
        """A new session."""
        token, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            self._sessions = {key: one for key, one in self._sessions.items() if _alive(one, now)}
            while len(self._sessions) >= _MOST_SESSIONS:
                self._sessions.pop(next(iter(self._sessions)))
            self._sessions[token] = _Session(now, now)
        return token

    def holds(self, token: str | None) -> bool:
        """Whether this is the token of a session, which goes on with this request."""
        now = time.monotonic()
        with self._lock:
            session = self._sessions.get(token or "")
            if session is None or not _alive(session, now):
                return False
            session.seen_s = now
            return True

    def end(self, token: str | None) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(token or "", None)


def _alive(session: _Session, now: float) -> bool:
    return now - session.seen_s < IDLE_S and now - session.begun_s < LONGEST_S


def ensure_password(database: Database, given: str | None) -> str | None:
    """Give the study the password of its admin, if one is given or it has none.

    Returns:
        The password that was made up, to be shown once; None: none was.
    """
    stored = database.admin_password()
    if given is not None:
        if stored is None or not is_password(given, stored):  # the same one keeps the token of machines
            database.set_admin_password(hashed_password(given))
        return None
    if stored is not None:
        return None
    made = secrets.token_urlsafe(12)
    database.set_admin_password(hashed_password(made))
    return made


@dataclass(frozen=True)
class OfAdmin:
    """A request of an admin who is logged in."""

    server: Server
    admin: Admin
    session: str

    @property
    def csrf(self) -> str:
        """The token of forms."""
        return self.server.tokens.csrf(self.session)


class NotLoggedIn(HTTPException):
    """The way to the login."""

    def __init__(self) -> None:
        super().__init__(303, headers={"location": "/admin/login"})


async def logged_in(request: Request) -> OfAdmin:
    """An admin's request.

    Raises:
        NotLoggedIn: it is not one.
    """
    admin: Admin = request.app.state.admin
    session = request.cookies.get(cookie_name(request, _COOKIE))
    if session is None or not admin.holds(session):
        raise NotLoggedIn
    return OfAdmin(server_of(request), admin, session)


LoggedIn = Annotated[OfAdmin, Depends(logged_in)]


async def logged_in_post(of: LoggedIn, form: PostedForm) -> OfAdmin:
    """An admin's form.

    Raises:
        NotLoggedIn: the request is not an admin's.
        HTTPException: the form is not of this session (status 403).
    """
    if not of.server.tokens.is_csrf(of.session, form.get("csrf", "")):
        raise HTTPException(403)
    return of


LoggedInPost = Annotated[OfAdmin, Depends(logged_in_post)]


@router.get("/login")
def login(found: OfVisit) -> Response:
    """The form of the login."""
    return _login(found)


def _login(found: Visit, problem: str = "", status: int = 200) -> Response:
    return found.page("admin_login.html", status, problem=problem, language="en", listener=None)


@router.post("/login")
def log_in(found: OfPost, form: PostedForm) -> Response:
    """Begin a session, if the password is right."""
    admin: Admin = found.request.app.state.admin
    address = found.request.client.host if found.request.client else None
    if wait_s := admin.attempts.begin(address):
        seconds = math.ceil(wait_s)
        response = _login(found, f"Too many attempts. Please wait {seconds} seconds.", 429)
        response.headers["retry-after"] = str(seconds)
        return response
    if not admin.is_password(form.get("password", ""), found.server.database.admin_password()):
        return _login(found, "The password is not right.", 422)
    admin.attempts.succeeded(address)
    before = found.request.cookies.get(cookie_name(found.request, _COOKIE))
    admin.end(before)
    response = to("/admin")
    secure = is_https(found.request)
    # No age: the cookie goes with the browser. With https its name demands the path /.
    response.set_cookie(
        cookie_name(found.request, _COOKIE), admin.begin(), path="/", secure=secure, httponly=True, samesite="strict"
    )
    return response


@router.post("/logout")
def log_out(of: LoggedInPost) -> Response:
    """End the session."""
    of.admin.end(of.session)
    return to("/admin/login")


@router.get("")
def overview(of: LoggedIn) -> Response:
    """Progress and results."""
    server = of.server
    found = live.results(server)
    means = {(mean.source, mean.item): mean for mean in found.means}
    hashed = server.database.admin_password() or ""
    shown = server.templates.get_template("admin.html").render(
        t=server.questionnaire.texts,
        title=server.study.title,
        language="en",
        asked_in=server.questionnaire.language,
        listener=None,
        csrf=of.csrf,
        progress=live.progress(server),
        means=means,
        turing=found.turing,
        sources=server.study.sources,
        items=server.questionnaire.items,
        points=len(server.questionnaire.scale),
        tables=export.TABLES,
        token=server.tokens.machine(hashed),
    )
    return Response(shown, media_type="text/html; charset=utf-8")


@router.post("/closed")
def close(of: LoggedInPost, form: PostedForm) -> Response:
    """Close the study for new listeners, or open it again."""
    if (wanted := form.get("closed")) not in ("yes", "no"):
        raise HTTPException(422)
    of.server.database.close_study(wanted == "yes")
    return to("/admin")


@router.get("/answers.json")
def answers_json(of: LoggedIn) -> Response:
    """All answers."""
    found = export.tables(of.server.database.answers(of.server.questionnaire))
    return JSONResponse(found, headers={"content-disposition": 'attachment; filename="answers.json"'})


@router.get("/{table}.csv")
def answers_csv(of: LoggedIn, table: str) -> Response:
    """One table of answers."""
    if table not in export.TABLES:
        raise HTTPException(404)
    content = export.csv(getattr(of.server.database.answers(of.server.questionnaire), table))
    headers = {"content-disposition": f'attachment; filename="{table}.csv"'}
    return Response(content, headers=headers, media_type="text/csv; charset=utf-8")
