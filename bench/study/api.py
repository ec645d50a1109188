"""What machines ask a study's server for: progress, results and answers, as JSON. `/api/openapi.json` describes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from muspike import __version__
from muspike.bench.study import export, live
from muspike.bench.study.database import Unavailable
from muspike.bench.study.pages import Server, server_of
from muspike.bench.study.protection import is_token

_bearer = HTTPBearer(auto_error=False, description="The token that the admin's page shows.")


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


class Open(BaseModel):
    """Whether new listeners may begin."""

    closed: bool = Field(description="true: new listeners are turned away; those who have begun may finish")


class AllAnswers(BaseModel):
    """The three tables of answers. docs/study.md of muspike says what their columns mean."""

    listeners: list[dict[str, Any]]
    ratings: list[dict[str, Any]]
    turing: list[dict[str, Any]]


def authorised(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Server:
    """The server, for whoever has the token.

    Raises:
        HTTPException: the token is missing or wrong (status 401).
    """
    server = server_of(request)
    hashed = server.database.admin_password()
    wanted = None if hashed is None else server.tokens.machine(hashed)
    if given is None or wanted is None or not is_token(wanted, given.credentials):
        raise HTTPException(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})
    return server


Authorised = Annotated[Server, Depends(authorised)]


def api() -> FastAPI:
    """The application for machines, which is mounted at `/api`."""
    responses: dict[int | str, dict[str, Any]] = {
        401: {"model": Problem, "description": "the token is missing or wrong"},
        503: {"model": Problem, "description": "the database does not answer; try again"},
    }
    bare: dict[str, Any] = {"docs_url": None, "redoc_url": None, "redirect_slashes": False}
    made = FastAPI(title="A listening study", version=__version__, responses=responses, **bare)

    @made.get("/progress")
    def progress(server: Authorised) -> live.Progress:
        """How many listeners of each group have started and finished."""
        return live.progress(server)

    @made.get("/results")
    def results(server: Authorised) -> live.Results:
        """Means per source and item, and Turing answers, so far."""
        return live.results(server)

    @made.get("/answers")
    def answers(server: Authorised) -> AllAnswers:
        """All answers."""
        return AllAnswers(**export.tables(server.database.answers(server.questionnaire)))

    @made.get(
        "/answers/{table}.csv",
        response_class=Response,
        responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    )
    def table(server: Authorised, table: Literal["listeners", "ratings", "turing"]) -> Response:
        """One table of answers as CSV."""
        content = export.csv(getattr(server.database.answers(server.questionnaire), table))
        return Response(content, media_type="text/csv; charset=utf-8")

    @made.put(
        "/closed",
        responses={
            400: {"model": Problem, "description": "the body is no JSON"},
            413: {"content": {"text/plain": {}}, "description": "the body is too large"},
        },
    )
    def close(server: Authorised, wanted: Open) -> Open:
        """Close the study for new listeners, or open it again."""
        server.database.close_study(wanted.closed)
        return Open(closed=server.database.closed())

    @made.exception_handler(Unavailable)
    def unavailable(_: Request, __: Exception) -> Response:
        return JSONResponse({"detail": "the database does not answer; try again"}, 503, {"retry-after": "10"})

    @made.exception_handler(RequestValidationError)
    def invalid(_: Request, error: Exception) -> Response:
        # What was sent is not told again: NaN and halves of characters are no JSON.
        assert isinstance(error, RequestValidationError)
        told = [{name: one[name] for name in ("type", "loc", "msg")} for one in error.errors()]
        return JSONResponse({"detail": told}, 422)

    return made
