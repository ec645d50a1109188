"""The web application of a study: `create` puts its pages together."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from muspike.bench.study import admin_pages, listener_pages, screening
from muspike.bench.study import study as studies
from muspike.bench.study.admin_pages import Admin
from muspike.bench.study.api import api
from muspike.bench.study.database import CONNECTIONS, Database, Unavailable, Url
from muspike.bench.study.pages import Server, language_of, server_of, templates
from muspike.bench.study.protection import HEADERS, Attempts, Protected, Starts, Tokens
from muspike.bench.study.questionnaire import translations
from muspike.errors import BadInput
from muspike.files import check_file

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_ERRORS = {403: "expired", 404: "missing", 405: "missing", 500: "unavailable", 503: "unavailable"}


def open_server(folder: Path, url: Url) -> Server:
    """Read a study and open its database.

    Args:
        folder: of the study.
        url: of the database.

    Raises:
        BadInput: the study, its questionnaire, a sound or the database is missing or damaged.
    """
    study = studies.read(folder)
    questionnaires = translations(folder / studies.QUESTIONNAIRE)
    if absent := [language for language in study.languages if language not in questionnaires]:
        raise BadInput(f"{folder}: has no questionnaire in {absent[0]}, which {studies.STUDY} names")
    first = questionnaires[study.languages[0]]
    groups = [group.id for group in first.groups]
    studies.check_asked(study, groups, len(first.scale), str(folder / studies.STUDY))
    checks = screening.read(folder)
    for stimulus in study.stimuli:
        check_file(folder / studies.AUDIO / f"{stimulus.id}.mp3")
    files = [checks.volume, *(one.file for test in checks.tests for one in test.tries if study.screening)]
    for file in files:
        check_file(folder / studies.CHECKS / file)
    database = Database(url, study)
    tokens = Tokens(database.secret)
    return Server(folder, study, questionnaires, checks, database, tokens, templates(), Attempts(), Starts())


def create(server: Server) -> FastAPI:
    """The application on an open study. Its admin has the password whose hash is in the database."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # More threads than connections would only wait for these.
        anyio.to_thread.current_default_thread_limiter().total_tokens = CONNECTIONS
        yield

    # A redirect from /about/ to /about would lead to whatever host the request names.
    bare: dict[str, Any] = {"docs_url": None, "redoc_url": None, "openapi_url": None, "redirect_slashes": False}
    app = FastAPI(title="A listening study", lifespan=lifespan, **bare)
    app.state.server = server
    app.state.admin = Admin()
    static = _static()
    server.templates.globals["static"] = {name: tag for name, (_, tag) in static.items()}
    app.include_router(listener_pages.router)
    app.include_router(admin_pages.router)

    @app.get("/static/{name}", include_in_schema=False)
    def file(name: str) -> Response:
        if name not in static:
            raise HTTPException(404)
        cache = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(static[name][0], headers=cache, media_type=_TYPES[Path(name).suffix])

    machine = api()
    machine.state.server = server
    app.mount("/api", machine)
    app.add_exception_handler(Unavailable, _page_of_error)
    app.add_exception_handler(HTTPException, _page_of_error)
    app.add_exception_handler(RequestValidationError, _page_of_error)
    app.add_exception_handler(Exception, _page_of_defect)
    app.add_middleware(Protected)
    return app


def _static() -> dict[str, tuple[bytes, str]]:
    """The files of `static/` by name, with a tag that changes when they do."""
    found = {}
    for entry in (resources.files("muspike.bench.study") / "static").iterdir():
        content = entry.read_bytes()
        found[entry.name] = (content, hashlib.sha256(content).hexdigest()[:12])
    return found


def _page_of_error(request: Request, error: Exception) -> Response:
    """A page that says in plain words what is wrong. It asks the database for nothing."""
    of_kind = {Unavailable: 503, RequestValidationError: 404}
    status = error.status_code if isinstance(error, HTTPException) else of_kind.get(type(error), 500)
    if 300 <= status < 400:
        return RedirectResponse(error.headers["location"], status)  # type: ignore[attr-defined]
    server = server_of(request)
    language = language_of(request, server.study.languages)
    questionnaire = server.questionnaires[language]
    kind = _ERRORS.get(status)
    texts = questionnaire.texts
    page = server.templates.get_template("error.html").render(
        t=texts,
        title=questionnaire.title,
        language=language,
        listener=None,
        heading=texts[f"{kind}_heading"] if kind else HTTPStatus(status).phrase,
        text=texts[f"{kind}_text"] if kind else HTTPStatus(status).description,
    )
    headers = dict(getattr(error, "headers", None) or {})
    if status == 503:
        headers["retry-after"] = "10"
    return HTMLResponse(page, status, headers)


def _page_of_defect(request: Request, error: Exception) -> Response:
    """The page of an error that nobody foresaw, which goes on to the log. It passes `Protected`, hence the headers."""
    response = _page_of_error(request, error)
    response.headers.update(HEADERS | {"cache-control": "no-store"})
    return response
