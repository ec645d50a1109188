"""The database of a study, in SQLite and on a real PostgreSQL server."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import private_postgresql
from muspike.bench.study import database, questionnaire, steps
from muspike.bench.study.database import Database, Given, Unavailable, url_of
from muspike.bench.study.records import Base
from muspike.bench.study.study import Study
from muspike.cli import main
from muspike.errors import BadInput
from no_superuser import no_superuser
from small_study import small_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return small_study(tmp_path_factory.mktemp("study"), excerpts=2)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    if (why := private_postgresql.missing()) is not None:
        pytest.skip(why)
    with private_postgresql.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / database.FILE}"
    server: str = request.getfixturevalue("postgresql")
    with contextlib.closing(sa.create_engine(server.replace(":", "+psycopg:", 1)).raw_connection()) as connection:
        connection.cursor().execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        connection.commit()
    return server


@pytest.fixture
def opened(url: str, study: Study) -> Iterator[Database]:
    made = Database(url, study)
    yield made
    made.close()


def joined(opened: Database, group: str = "normal") -> int:
    """A new listener of a group, at the first trial."""
    listener = opened.listener(opened.begin("en"))
    assert listener is not None
    opened.set_background(listener.id, {"years_of_lessons": 3, "age": None}, group)
    opened.move(listener.id, steps.VOLUME, steps.TRIALS)
    return listener.id


def together(number: int, work: Callable[[int], object]) -> None:
    """Do some work in so many threads at once, and pass on an error."""
    errors: list[BaseException] = []
    gate = threading.Barrier(number)

    def run(index: int) -> None:
        try:
            gate.wait(60)
            work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_migrations_make_the_tables_that_the_program_reads(opened: Database, url: str) -> None:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_lists_stay_balanced_though_listeners_come_at_once(opened: Database, url: str, study: Study) -> None:
    groups = ("normal", "expert")
    together(16, lambda index: [joined(opened, groups[index % 2]) for _ in range(3)])
    form = questionnaire.load()
    listeners = database.answers(url, study, form).listeners
    for group in groups:
        have = Counter(listeners[listeners["group"] == group]["list"])
        counts = [have[index] for index in range(len(study.lists))]
        assert sum(counts) == 24 and max(counts) - min(counts) <= 1, counts


def test_a_list_that_was_given_back_is_given_again(opened: Database, study: Study) -> None:
    listeners = [joined(opened) for _ in study.lists]
    assert len(listeners) == len(study.lists)
    token = opened.begin("en")
    listener = opened.listener(token)
    assert listener is not None
    opened.set_background(listener.id, {}, "normal")
    taken = opened.listener(token)
    assert taken is not None and taken.list == 0
    assert opened.withdraw(taken.code)
    again = joined(opened)
    assert again > taken.id  # numbers are never used twice


def test_an_answer_that_comes_several_times_at_once_is_stored_once(opened: Database, url: str, study: Study) -> None:
    who = joined(opened)
    ends: list[str] = []

    def send(index: int) -> None:
        given = Given(1, ratings={"melody": 1 + index % 5, "rhythm": 1 + index % 5}, said_human=True, confidence=3)
        ends.append(opened.answer(who, 0, given))

    together(12, send)
    assert Counter(ends) == {"stored": 1, "before": 11}
    found = database.answers(url, study, questionnaire.load())
    assert len(found.ratings) == 2 and len(set(found.ratings["rating"])) == 1 and len(found.turing) == 1


def test_background_that_comes_twice_is_stored_once(opened: Database) -> None:
    listener = opened.listener(opened.begin("en"))
    assert listener is not None
    together(6, lambda index: opened.set_background(listener.id, {"age": 20 + index}, "normal"))
    assert [of.started for of in opened.progress(("normal",))] == [1]


def test_answers_are_there_after_the_database_is_opened_anew(url: str, study: Study) -> None:
    first = Database(url, study)
    token, secret = first.begin("en"), first.secret
    first.close()
    second = Database(url, study)
    assert second.secret == secret and second.listener(token) is not None
    second.close()


def test_withdrawing_deletes_every_row(opened: Database, url: str, study: Study) -> None:
    token = opened.begin("en")
    listener = opened.listener(token)
    assert listener is not None
    opened.set_background(listener.id, {"age": 44}, "normal")
    opened.move(listener.id, steps.VOLUME, steps.TRIALS)
    opened.answer(listener.id, 0, Given(1, ratings={"melody": 1}, said_human=True, confidence=3, why="why"))
    assert not opened.withdraw("") and opened.withdraw(database.shown_code(listener.code).lower())
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            rows = connection.scalar(sa.select(sa.func.count()).select_from(table))
            assert rows == (1 if table.name == "study" else 0), table.name
    engine.dispose()
    assert opened.withdrawn() == 1 and opened.listener(token) is None
    assert opened.answer(listener.id, 1, Given(1)) == "elsewhere"


def test_tables_are_of_one_moment(opened: Database, study: Study) -> None:
    joined(opened)
    came: list[int] = []

    @sa.event.listens_for(opened._engine, "after_cursor_execute")
    def _(_: object, __: object, statement: str, *more: object) -> None:
        if "FROM listeners" in statement and not came:  # while the tables are read, after the first of them
            came.append(0)
            came[0] = joined(opened)
            opened.answer(came[0], 0, Given(1, ratings={"melody": 3}, said_human=True, confidence=3))

    found = opened.answers(questionnaire.load())
    assert came and len(found.listeners) == 1 and len(found.ratings) == len(found.turing) == 0
    assert len(opened.answers(questionnaire.load()).ratings) == 1


def test_who_withdraws_and_answers_at_once_holds_nobody_up(opened: Database) -> None:
    listeners = [opened.listener(opened.begin("en")) for _ in range(12)]

    def work(index: int) -> None:
        who = listeners[index // 2]
        assert who is not None
        if index % 2:
            opened.withdraw(who.code)
        else:
            opened.set_background(who.id, {"age": 44}, "normal")

    together(24, work)
    assert opened.withdrawn() == 12


# --- databases that cannot be used -----------------------------------------------------------------------------------


def serve(folder: Path, *options: str) -> list[str]:
    return ["study", "serve", str(folder), "--port", "0", *options]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_study(tmp_path, excerpts=2)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """What a command prints that ends with status 2, in one line."""
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def change(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_database_of_a_newer_program_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Database(url_of(folder), small_study_of(folder)).close()
    file = folder / database.FILE
    change(file, "UPDATE alembic_version SET version_num = '999'", "CREATE TABLE newer (a)")
    before = file.read_bytes()
    line = said(capsys, serve(folder))
    assert "newer muspike" in line and "999" in line and str(file) in line
    assert file.read_bytes() == before
    assert "newer muspike" in said(capsys, ["study", "export", str(folder), "-o", str(folder / "out")])
    assert not (folder / "out").exists()


def small_study_of(folder: Path) -> Study:
    from muspike.bench.study import study

    return study.read(folder)


def test_the_database_of_another_study_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = replace(small_study_of(folder), seed=99)
    Database(url_of(folder), other).close()
    assert "another study" in said(capsys, serve(folder))
    assert "another study" in said(capsys, ["study", "export", str(folder), "-o", str(folder / "out")])


def test_a_locked_database_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_WAIT_S", 0.2)
    Database(url_of(folder), small_study_of(folder)).close()
    with contextlib.closing(sqlite3.connect(folder / database.FILE)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "locked by another program" in said(capsys, serve(folder))


def test_a_full_disk_is_named_and_costs_nothing(study: Study, tmp_path: Path) -> None:
    """A limit on the pages of SQLite stands for the disk."""
    url = url_of(tmp_path)
    opened = Database(url, study)
    who = joined(opened)

    @sa.event.listens_for(opened._engine, "checkout")
    def _(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # no more than it has

    given = Given(1, ratings={f"item{index}": 3 for index in range(3000)})
    with pytest.raises(Unavailable, match="the disk is full; nothing of what is stored is lost"):
        opened.answer(who, 0, given)
    opened.close()
    again = Database(url, study)
    assert again.answer(who, 0, Given(1, ratings={"melody": 3})) == "stored"
    again.close()
    assert len(database.answers(url, study, questionnaire.load()).ratings) == 1


def test_files_that_are_no_database_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / database.FILE).write_bytes(b"this is no database at all" * 100)
    assert "is no database" in said(capsys, serve(folder))
    (folder / database.FILE).unlink()
    (folder / database.FILE).mkdir()
    assert "is a folder" in said(capsys, serve(folder))
    (folder / database.FILE).rmdir()
    change(folder / database.FILE, "CREATE TABLE photos (name)")
    assert "something else" in said(capsys, serve(folder))
    assert "no such folder" in said(capsys, serve(folder, "--database", f"sqlite:///{folder}/none/study.db"))


def test_answers_before_there_are_any(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = said(capsys, ["study", "export", str(folder), "-o", str(folder / "out")])
    assert "no answers yet" in line and not (folder / database.FILE).exists()


def test_a_database_that_may_not_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Database(url_of(folder), small_study_of(folder)).close()
    (folder / database.FILE).chmod(0o400)
    with no_superuser():
        assert "may not be written" in said(capsys, serve(folder))
        assert main(["study", "export", str(folder), "-o", str(folder / "out")]) == 0  # reading it writes nothing


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_folder_whose_name_is_no_part_of_a_url(tmp_path: Path, study: Study) -> None:
    for name in (b"100 % ? # @", b"\xfcbung"):
        (folder := Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).mkdir()
        Database(url_of(folder), study).close()
        assert [file.name for file in folder.iterdir()] == [database.FILE]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nonsense", "is no URL"),
        ("mysql://localhost/x", "expected sqlite:///FILE or postgresql://"),
        ("sqlite://", "expected sqlite:///FILE"),
        ("postgresql+nothing://localhost/x", "expected sqlite:///FILE or postgresql://"),
        ("postgresql+psycopg_async://localhost/x", "expected sqlite:///FILE or postgresql://"),
        ("sqlite+pysqlcipher:///x.db", "expected sqlite:///FILE or postgresql://"),
        ("sqlite:///x.db?mode=ro", "expected sqlite:///FILE or postgresql://"),
        ("postgresql://study:geheim@localhost:port/x", "is no URL"),
        ("postgresql://study:geheim@127.0.0.1:1/none", "does not answer"),
    ],
)
def test_a_url_that_leads_nowhere(folder: Path, capsys: pytest.CaptureFixture[str], given: str, words: str) -> None:
    line = said(capsys, serve(folder, "--database", given))
    assert words in line and "geheim" not in line


def test_a_server_that_goes_away_is_unavailable_and_comes_back(study: Study) -> None:
    if (why := private_postgresql.missing()) is not None:
        pytest.skip(why)
    with private_postgresql.server() as url:
        opened = Database(url, study)
        who = joined(opened)
        assert opened.answer(who, 0, Given(1, ratings={"melody": 3})) == "stored"
    with pytest.raises(BadInput, match="does not answer"):
        opened.answer(who, 1, Given(1))
    opened.close()
