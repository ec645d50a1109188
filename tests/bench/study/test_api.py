"""What machines are told, held against its own description by schemathesis."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

from muspike.bench.study import database, listener_pages
from muspike.bench.study.admin_pages import ensure_password
from muspike.bench.study.app import create, open_server
from small_study import small_study
from study_server import HttpListener


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with the answers of two listeners."""
    folder = tmp_path_factory.mktemp("study")
    small_study(folder, excerpts=2, screened=False)
    server = open_server(folder, database.url_of(folder))
    ensure_password(server.database, "long enough")
    made = create(server)
    at = iter(range(10**9, 10**10, 100))
    with pytest.MonkeyPatch.context() as patch, TestClient(made) as client:
        patch.setattr(listener_pages, "now_s", lambda: float(next(at)))
        for pages in (2, 99):
            client.cookies.clear()
            listener = HttpListener(client, choose=lambda name, values: values[-1])
            listener.begin()
            for _ in range(pages):
                if listener.path != "/thanks":
                    listener.answer(why='a, "b"\nc')
    yield made
    server.database.close()


@pytest.fixture(scope="module")
def token(app: Any) -> str:
    server = app.state.server
    made: str = server.tokens.machine(server.database.admin_password())
    return made


QUICK = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def operations(app: Any) -> list[Any]:
    """All that the description says can be asked."""
    schema: Any = schemathesis.openapi.from_asgi("/api/openapi.json", app)
    found = [one.ok() for one in schema.get_all_operations()]
    assert {one.label for one in found} >= {"GET /progress", "GET /results", "GET /answers", "PUT /closed"}
    return found


def test_every_answer_is_as_described(app: Any, token: str) -> None:
    for operation in operations(app):

        @QUICK
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            case.call_and_validate(headers={"Authorization": f"Bearer {token}"})

        holds()


def test_what_is_wrong_is_refused_as_described(app: Any, token: str) -> None:
    for operation in operations(app):
        if operation.label != "PUT /closed":  # the others take no body
            continue

        @QUICK
        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
        def holds(case: Any) -> None:
            case.call_and_validate(headers={"Authorization": f"Bearer {token}"})

        holds()


@pytest.mark.parametrize(
    "body",
    [b'{"closed": NaN}', b'{"closed": 1e999}', b'{"closed": "\\ud800"}', b'"\\ud800"', b"\xff", b"[" * 9999, b""],
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x"])
def test_bodies_that_json_cannot_tell_again(app: Any, token: str, body: bytes, kind: str) -> None:
    client = TestClient(app, headers={"Authorization": f"Bearer {token}", "Content-Type": kind})
    assert client.put("/api/closed", content=body).status_code in (400, 422)


def test_nobody_without_the_token_is_told_anything(app: Any) -> None:
    for operation in operations(app):

        @QUICK
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            for headers in ({"Authorization": "Bearer x"}, {"Authorization": "Basic eDp4"}, {}):
                assert case.call(headers=headers).status_code in (401, 422)

        holds()


def test_the_tables_are_those_of_the_database(app: Any, token: str) -> None:
    client = TestClient(app, headers={"Authorization": f"Bearer {token}"})
    server = app.state.server
    found = server.database.answers(server.questionnaire)
    told = client.get("/api/answers").json()
    for name in ("listeners", "ratings", "turing"):
        table = getattr(found, name)
        assert len(told[name]) == len(table) > 0
        assert list(told[name][0]) == list(table.columns)
        rows = list(csv.DictReader(io.StringIO(client.get(f"/api/answers/{name}.csv").content.decode(), newline="")))
        assert len(rows) == len(table) and list(rows[0]) == list(table.columns)
    assert {row["why"] for row in told["turing"]} == {'a, "b"\nc'}
    assert told["ratings"][0]["rating"] == int(found.ratings["rating"][0])
    progress = client.get("/api/progress").json()
    assert [(of["started"], of["finished"]) for of in progress["groups"] if of["group"] == "normal"] == [(2, 1)]
    means = client.get("/api/results").json()["means"]
    assert {of["mean"] for of in means} == {5.0} and sum(of["ratings"] for of in means) == 6 * 13


def test_the_token_is_that_of_the_password(tmp_path: Path) -> None:
    small_study(tmp_path, excerpts=2)
    server = open_server(tmp_path, database.url_of(tmp_path))
    ensure_password(server.database, "the first password")
    client = TestClient(create(server))
    first = server.tokens.machine(server.database.admin_password() or "")
    assert client.get("/api/progress", headers={"Authorization": f"Bearer {first}"}).status_code == 200
    ensure_password(server.database, "the first password")
    assert client.get("/api/progress", headers={"Authorization": f"Bearer {first}"}).status_code == 200
    ensure_password(server.database, "the second password")
    assert client.get("/api/progress", headers={"Authorization": f"Bearer {first}"}).status_code == 401
    closed = client.put("/api/closed", headers={"Authorization": f"Bearer {first}"}, json={"closed": True})
    assert closed.status_code == 401 and not server.database.closed()
    server.database.close()
