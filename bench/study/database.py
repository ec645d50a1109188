"""The database of a study: SQLite in its folder, or PostgreSQL by a URL.

Every function that writes returns when the database has committed. A failure is an `Unavailable`, and then nothing of
the call is stored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import sqlalchemy as sa
from alembic import command, script
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event, exc

from muspike.bench.study import steps
from muspike.bench.study.answers import LISTENERS, RATINGS, TURING, Answers
from muspike.bench.study.questionnaire import Questionnaire
from muspike.bench.study.records import (
    BackgroundRecord,
    ListenerRecord,
    RatingRecord,
    StudyRecord,
    TrialRecord,
    TuringRecord,
)
from muspike.bench.study.study import ATTENTION, PAIR, REPEAT, Study
from muspike.errors import BadInput, one_line

FILE = "study.db"
"""The database in the folder of a study."""
CONNECTIONS = 6
"""Connections that are kept open, and threads that answer requests. With 16, answers took longer under load: threads
share one interpreter, and SQLite one writer."""
_WAIT_S = 10
_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none is taken for another
_CODE_LETTERS = 16


class Unavailable(BadInput):
    """A database that does not do what is asked of it now: locked, full, unreachable, of another study or version."""


@dataclass(frozen=True)
class Listener:
    """A listener, as the pages need it. `answered`: how many trials are answered. Others: see `ListenerRecord`."""

    id: int
    code: str
    language: str
    group: str | None
    list: int | None
    step: str
    headphones: bool | None
    headphone_tries: int
    answered: int


@dataclass(frozen=True)
class Given:
    """What a listener answered on the page of a trial.

    Attributes:
        plays: how often it was heard.
        point: of an attention check, the chosen point.
        ratings: by id of the item.
        said_human: as in `answers.TURING`; None: there was no Turing question.
        confidence: from 1 to 5; None likewise.
        why: the reason; None: there is none.
    """

    plays: int
    point: int | None = None
    ratings: Mapping[str, int] = field(default_factory=dict)
    said_human: bool | None = None
    confidence: int | None = None
    why: str | None = None


@dataclass(frozen=True)
class GroupProgress:
    """How many listeners of a group have started, finished, and are wanted."""

    group: str
    started: int
    finished: int
    target: int


Url = str | sa.URL


def url_of(folder: Path, given: str | None = None) -> Url:
    """The URL of a study's database: the one given, or that of the file in its folder."""
    # As text it would have to be UTF-8, which a path need not be.
    return given or sa.URL.create("sqlite", database=str(folder / FILE))


def digest(study: Study) -> str:
    """What tells a study from others: SHA-256 of its content."""
    content = json.dumps(dataclasses.asdict(study), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()


def sha256(text: str) -> str:
    """The hash by which tokens and codes are looked up."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def plain_code(typed: str) -> str:
    """A personal code as it is stored, from how somebody typed it."""
    return "".join(c for c in typed.upper() if c in _LETTERS)[: 2 * _CODE_LETTERS]


def shown_code(code: str) -> str:
    """A personal code in groups of four, as people read it."""
    return "-".join(code[at : at + 4] for at in range(0, len(code), 4))


class Database:
    """An open database. Several threads may use it.

    Attributes:
        secret: what the tokens of forms are made with. It stays the same as long as the database exists.
    """

    def __init__(self, url: Url, study: Study) -> None:
        """Open the database, make or upgrade its tables, and check that it belongs to the study and takes writes.

        Raises:
            Unavailable: it does not.
        """
        self._study = study
        self._digest = digest(study)
        self._engine, self._name = _engine(url)
        # SQLite has one writer at a time. Whoever waits here goes on at once; whoever waits for the file sleeps.
        self._one_writer: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if self._engine.dialect.name == "sqlite" else contextlib.nullcontext()
        )
        try:
            self._upgrade()
            self.secret = self._own()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # --- opening ------------------------------------------------------------------------------------------------------

    def _upgrade(self) -> None:
        with self._write() as connection:
            _check_version(connection, self._name, newest=False)
            config = _alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _own(self) -> bytes:
        """Take the database for this study, or see that it is its own. The update shows that the disk takes writes."""
        with self._write() as connection:
            found = connection.execute(sa.select(StudyRecord.digest, StudyRecord.secret)).first()
            if found is None:
                secret = secrets.token_hex(32)
                row = {"id": 1, "digest": self._digest, "secret": secret, "closed": False, "withdrawn": 0}
                connection.execute(sa.insert(StudyRecord).values(**row))
                return bytes.fromhex(secret)
            _check_study(found.digest, self._digest, self._name)
            connection.execute(sa.update(StudyRecord).values(digest=self._digest))
            return bytes.fromhex(found.secret)

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with _told(self._name), _snapshot(self._engine).connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        writing = self._engine.execution_options(immediate=True)
        with _told(self._name), self._one_writer, writing.connect() as connection, connection.begin():
            yield connection

    # --- the study ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Read one row.

        Raises:
            Unavailable: the database does not answer.
        """
        self.closed()

    def closed(self) -> bool:
        """Whether new listeners are turned away."""
        with self._read() as connection:
            return bool(connection.scalar(sa.select(StudyRecord.closed)))

    def close_study(self, closed: bool) -> None:
        """Turn new listeners away from now on, or let them in again."""
        with self._write() as connection:
            connection.execute(sa.update(StudyRecord).values(closed=closed))

    def admin_password(self) -> str | None:
        """The hash of the admin's password."""
        with self._read() as connection:
            found: str | None = connection.scalar(sa.select(StudyRecord.admin_password))
            return found

    def set_admin_password(self, hashed: str) -> None:
        """Store the hash of the admin's password."""
        with self._write() as connection:
            connection.execute(sa.update(StudyRecord).values(admin_password=hashed))

    # --- listeners ----------------------------------------------------------------------------------------------------

    def listener(self, token: str) -> Listener | None:
        """The listener whose cookie holds this token."""
        with self._read() as connection:
            return _listener(connection, _BY_TOKEN, sha256(token))

    def begin(self, language: str) -> str:
        """Add a listener, who has agreed to take part. Return the token for the cookie."""
        token, code = secrets.token_urlsafe(32), "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LETTERS))
        row = {
            "token_sha256": sha256(token),
            "code": code,
            "code_sha256": sha256(code),
            "language": language,
            "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
            "step": steps.ABOUT,
            "headphone_tries": 0,
        }
        with self._write() as connection:
            connection.execute(sa.insert(ListenerRecord).values(**row))
        return token

    def resume(self, code: str) -> str | None:
        """Give the listener with this personal code a new token for the cookie; None if there is no such listener.

        The token before no longer counts.
        """
        token = secrets.token_urlsafe(32)
        with self._write() as connection:
            if (found := _of_code(connection, code)) is None:
                return None
            change = sa.update(ListenerRecord).where(ListenerRecord.id == found)
            connection.execute(change.values(token_sha256=sha256(token)))
        return token

    def set_language(self, listener: int, language: str) -> None:
        """Change the language of a listener's pages."""
        with self._write() as connection:
            connection.execute(sa.update(ListenerRecord).where(ListenerRecord.id == listener).values(language=language))

    def set_background(self, listener: int, answers: Mapping[str, str | int | None], group: str) -> None:
        """Store the answers to the background questions, once, and give the listener a list.

        It is the list that the fewest of the group have; among these, the one that the fewest have finished.
        """
        with self._write() as connection:
            _one_by_one(connection)
            of = ListenerRecord
            if connection.scalar(sa.select(of.step).where(of.id == listener)) != steps.ABOUT:
                return
            finished = sa.func.sum(sa.case((of.step == steps.DONE, 1), else_=0))
            counted = sa.select(of.list_index, sa.func.count(), finished).where(of.group_id == group)
            have = {row[0]: (row[1], row[2]) for row in connection.execute(counted.group_by(of.list_index))}
            chosen = min(range(len(self._study.lists)), key=lambda index: (*have.get(index, (0, 0)), index))
            rows = [
                {"listener_id": listener, "question": question, "answer": None if answer is None else str(answer)}
                for question, answer in answers.items()
            ]
            if rows:
                connection.execute(sa.insert(BackgroundRecord), rows)
            change = {"group_id": group, "list_index": chosen, "step": steps.VOLUME}
            connection.execute(sa.update(of).where(of.id == listener).values(**change))

    def move(self, listener: int, at: str, to: str) -> None:
        """Bring a listener from one step to the next. Who is elsewhere by now stays there."""
        of = ListenerRecord
        with self._write() as connection:
            connection.execute(sa.update(of).where(of.id == listener, of.step == at).values(step=to))

    def screened(self, listener: int, passed: bool, to: str, answered: bool = True) -> None:
        """Store the result of a headphone screening, and bring the listener to the step `to`.

        Args:
            listener: who.
            passed: whether headphones were found.
            to: the next step.
            answered: whether the screening was answered; if not, the listener said that there are no headphones.
        """
        of = ListenerRecord
        change = {"headphones": passed, "headphone_tries": of.headphone_tries + int(answered), "step": to}
        with self._write() as connection:
            here = (of.id == listener, of.step == steps.HEADPHONES)
            connection.execute(sa.update(of).where(*here).values(**change))

    def answer(self, listener: int, trial: int, given: Given) -> Literal["stored", "before", "elsewhere"]:
        """Store the answers of a trial, once, and say what became of them.

        Returns:
            "stored"; "before": this trial was answered before, and that answer stays; "elsewhere": the listener is at
            an earlier trial, or there is no such listener any more.
        """
        try:
            with self._write() as connection:
                return self._answer(connection, listener, trial, given)
        except exc.IntegrityError:  # another connection was quicker
            return "before"

    def _answer(
        self, connection: sa.Connection, listener: int, trial: int, given: Given
    ) -> Literal["stored", "before", "elsewhere"]:
        found = _listener(connection, _BY_ID, listener)
        if found is None or found.list is None or trial > found.answered:
            return "elsewhere"
        if trial < found.answered:
            return "before"
        if found.step != steps.TRIALS:
            return "elsewhere"
        key = {"listener_id": listener, "trial": trial}
        connection.execute(sa.insert(TrialRecord).values(**key, plays=given.plays, point=given.point))
        if given.ratings:
            rows = [{**key, "item": item, "rating": rating} for item, rating in given.ratings.items()]
            connection.execute(sa.insert(RatingRecord), rows)
        if given.said_human is not None:
            values = {"said_human": given.said_human, "confidence": given.confidence, "why": given.why}
            connection.execute(sa.insert(TuringRecord).values(**key, **values))
        if trial + 1 == len(self._study.lists[found.list]):
            done = sa.update(ListenerRecord).where(ListenerRecord.id == listener).values(step=steps.DONE)
            connection.execute(done)
        return "stored"

    def withdraw(self, code: str) -> bool:
        """Delete all that is stored of the listener with this personal code. False: there is no such listener."""
        with self._write() as connection:
            _one_by_one(connection)
            if (found := _of_code(connection, code)) is None:
                return False
            for table in (BackgroundRecord, TrialRecord, RatingRecord, TuringRecord):
                connection.execute(sa.delete(table).where(table.listener_id == found))
            connection.execute(sa.delete(ListenerRecord).where(ListenerRecord.id == found))
            connection.execute(sa.update(StudyRecord).values(withdrawn=StudyRecord.withdrawn + 1))
        if self._engine.dialect.name == "sqlite":
            # The log of SQLite holds what was deleted until it is written back.
            with contextlib.suppress(Unavailable), self._one_writer, self._raw() as cursor:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return True

    @contextlib.contextmanager
    def _raw(self) -> Iterator[Any]:
        with _told(self._name):
            connection = self._engine.raw_connection()
            try:
                cursor = connection.cursor()
                try:
                    yield cursor
                finally:
                    cursor.close()  # else whoever has this connection next may not commit: its statement is not over
            finally:
                connection.close()

    # --- what the admin sees ------------------------------------------------------------------------------------------

    def progress(self, groups: tuple[str, ...]) -> list[GroupProgress]:
        """How far each of these groups is."""
        of = ListenerRecord
        finished = sa.func.sum(sa.case((of.step == steps.DONE, 1), else_=0))
        with self._read() as connection:
            rows = connection.execute(sa.select(of.group_id, sa.func.count(), finished).group_by(of.group_id))
            found = {row[0]: (int(row[1]), int(row[2])) for row in rows}
        targets = self._study.targets
        return [GroupProgress(group, *found.get(group, (0, 0)), targets.get(group, 0)) for group in groups]

    def withdrawn(self) -> int:
        """How many listeners had their answers deleted."""
        with self._read() as connection:
            return int(connection.scalar(sa.select(StudyRecord.withdrawn)) or 0)

    def rating_sums(self) -> list[tuple[int, int, str, int, int]]:
        """List, trial, item, number and sum of the ratings, for all that were given."""
        of = RatingRecord
        asked = (
            sa.select(ListenerRecord.list_index, of.trial, of.item, sa.func.count(), sa.func.sum(of.rating))
            .join(ListenerRecord, ListenerRecord.id == of.listener_id)
            .group_by(ListenerRecord.list_index, of.trial, of.item)
        )
        with self._read() as connection:
            return [(int(row[0] or 0), row[1], row[2], int(row[3]), int(row[4])) for row in connection.execute(asked)]

    def turing_sums(self) -> list[tuple[int, int, int, int]]:
        """List, trial, number of Turing answers and how many of these say human, for all that were given."""
        of = TuringRecord
        said = sa.func.sum(sa.case((of.said_human, 1), else_=0))
        asked = (
            sa.select(ListenerRecord.list_index, of.trial, sa.func.count(), said)
            .join(ListenerRecord, ListenerRecord.id == of.listener_id)
            .group_by(ListenerRecord.list_index, of.trial)
        )
        with self._read() as connection:
            return [(int(row[0] or 0), row[1], int(row[2]), int(row[3])) for row in connection.execute(asked)]

    def answers(self, questionnaire: Questionnaire) -> Answers:
        """All answers, as they are now."""
        with self._read() as connection:
            return _answers(connection, self._study, questionnaire)


def answers(url: Url, study: Study, questionnaire: Questionnaire) -> Answers:
    """The answers of a study, from its database, which may be in use. Nothing is written.

    Args:
        url: of the database, see `url_of`.
        study: the study.
        questionnaire: its questionnaire, in any language.

    Raises:
        Unavailable: there is no database yet, it does not answer, or it is of another study or version.
    """
    engine, name = _engine(url, made=False)
    try:
        with _told(name), _snapshot(engine).connect() as connection, connection.begin():
            _check_version(connection, name, newest=True)
            _check_study(connection.scalar(sa.select(StudyRecord.digest)), digest(study), name)
            return _answers(connection, study, questionnaire)
    finally:
        engine.dispose()


# --- engines and errors ----------------------------------------------------------------------------------------------


def _engine(url: Url, made: bool = True) -> tuple[sa.Engine, str]:
    """An engine, and the database's name in messages, which has no password. With `made` the file may be made."""
    expected = "expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
    try:
        parsed = sa.make_url(url)
    except (exc.ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise BadInput(f"--database: is no URL of a database; {expected}") from error
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return _postgresql(parsed), parsed.render_as_string(hide_password=True)
    known = parsed.drivername in ("sqlite", "sqlite+pysqlite") and not parsed.query
    if not known or not parsed.database or parsed.database == ":memory:":
        raise BadInput(f"--database: is {parsed.render_as_string(hide_password=True)}; {expected}")
    file = Path(parsed.database)
    if file.is_dir():
        raise BadInput(f"{file}: is a folder; the file of a database is wanted")
    if not file.parent.is_dir():
        raise BadInput(f"{file.parent}: there is no such folder for the database {file.name}")
    if not made and not file.exists():
        raise Unavailable(f"{file}: there are no answers yet; muspike study serve makes the database")
    return _sqlite(parsed), str(file)


def _sqlite(url: sa.URL) -> sa.Engine:
    made = sa.create_engine(
        url,
        pool_size=CONNECTIONS,
        max_overflow=CONNECTIONS,
        connect_args={"check_same_thread": False, "timeout": _WAIT_S},
    )

    @event.listens_for(made, "connect")
    def _connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin below, not where Python guesses
        cursor = connection.cursor()
        # A commit is on the disk before it returns. What is deleted is overwritten.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(made, "begin")
    def _begun(connection: sa.Connection) -> None:
        # A transaction that reads first and writes then would fail where another one wrote in between.
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return made


def _postgresql(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_size=CONNECTIONS,
            max_overflow=CONNECTIONS,
            pool_pre_ping=True,
            connect_args={"connect_timeout": _WAIT_S},
        )
    except ImportError as error:
        raise BadInput("--database: its package is not installed (pip install 'muspike[postgresql]')") from error


def _snapshot(engine: sa.Engine) -> sa.Engine:
    """An engine whose transactions see the database as it was at their first question, as those of SQLite do.

    Else a table that is read later has answers of listeners who were not there yet when the first one was read.
    """
    return engine if engine.dialect.name == "sqlite" else engine.execution_options(isolation_level="REPEATABLE READ")


_SAID = {
    "database is locked": "is locked by another program; end that program, and try again",
    "database or disk is full": "the disk is full; nothing of what is stored is lost. Make room, and try again",
    "file is not a database": "is no database of SQLite; name another file",
    "database disk image is malformed": "is damaged; take a copy from your backup",
    "attempt to write a readonly database": "may not be written by this user",
    "unable to open database file": "cannot be opened by this user",
    "disk i/o error": "the disk refuses to read or write it",
    "no such table": "is no database of a listening study; name another one",
}


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn what the database says against its use into an `Unavailable`. Errors of integrity pass."""
    try:
        yield
    except exc.IntegrityError:
        raise
    except exc.DBAPIError as error:
        said = one_line(error.orig) if isinstance(error.orig, Exception) else one_line(error)
        for known, meaning in _SAID.items():
            if known in said.lower():
                raise Unavailable(f"{name}: {meaning}") from error
        raise Unavailable(f"{name}: the database does not answer: {said}") from error
    except exc.TimeoutError as error:
        raise Unavailable(f"{name}: the database does not answer in time") from error


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _check_version(connection: sa.Connection, name: str, newest: bool) -> None:
    """Refuse a database of a newer program; with `newest`, an older one too."""
    scripts = script.ScriptDirectory.from_config(_alembic())
    found = MigrationContext.configure(connection).get_current_revision()
    known = [revision.revision for revision in scripts.walk_revisions()]
    if found is None:
        if sa.inspect(connection).get_table_names():
            raise Unavailable(f"{name}: is a database of something else; name one that is empty, or a study's")
        if newest:
            raise Unavailable(f"{name}: there are no answers yet; muspike study serve makes the tables")
    elif found not in known:
        raise Unavailable(
            f"{name}: was written by a newer muspike (version {found} of the tables; this muspike knows up to "
            f"{known[0]}); install that muspike"
        )
    elif newest and found != known[0]:
        raise Unavailable(f"{name}: was written by an older muspike; start muspike study serve once, which upgrades it")


def _check_study(found: str | None, wanted: str, name: str) -> None:
    if found is not None and not hmac.compare_digest(found, wanted):
        raise Unavailable(f"{name}: has the answers of another study; name another database, or that study's folder")


# --- rows ------------------------------------------------------------------------------------------------------------


def _listeners(where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    of = ListenerRecord
    answered = sa.select(sa.func.count()).where(TrialRecord.listener_id == of.id).scalar_subquery()
    columns = (of.id, of.code, of.language, of.group_id, of.list_index, of.step, of.headphones, of.headphone_tries)
    return sa.select(*columns, answered).where(where)


# Every request asks one of these, so they are made once.
_BY_TOKEN = _listeners(ListenerRecord.token_sha256 == sa.bindparam("key"))
_BY_ID = _listeners(ListenerRecord.id == sa.bindparam("key"))


def _one_by_one(connection: sa.Connection) -> None:
    """Let no other transaction that asks for this go on until this one ends. Only PostgreSQL has several writers."""
    connection.execute(sa.select(StudyRecord.id).with_for_update()).all()


def _listener(connection: sa.Connection, asked: sa.Select[Any], key: str | int) -> Listener | None:
    found = connection.execute(asked, {"key": key}).first()
    return None if found is None else Listener(*found)


def _of_code(connection: sa.Connection, typed: str) -> int | None:
    """The id of the listener with this personal code."""
    code = plain_code(typed)
    of = ListenerRecord
    # Looked up by its hash, so that how long the search takes tells nothing of the codes that exist.
    found = connection.execute(sa.select(of.id, of.code).where(of.code_sha256 == sha256(code))).first()
    return found.id if found is not None and hmac.compare_digest(found.code, code) else None


def _answers(connection: sa.Connection, study: Study, questionnaire: Questionnaire) -> Answers:
    of = ListenerRecord
    listeners = {row.id: row for row in connection.execute(sa.select(of.__table__).where(of.group_id.is_not(None)))}
    trials = connection.execute(sa.select(TrialRecord.__table__)).all()
    plays = {(row.listener_id, row.trial): row.plays for row in trials}
    source = {stimulus.id: stimulus.source for stimulus in study.stimuli}

    asked, missed = dict.fromkeys(listeners, 0), dict.fromkeys(listeners, 0)
    for row in trials:
        trial = study.lists[listeners[row.listener_id].list_index][row.trial]
        if trial.kind == ATTENTION:
            asked[row.listener_id] += 1
            missed[row.listener_id] += row.point != trial.wanted
    background: dict[int, dict[str, str | None]] = {listener: {} for listener in listeners}
    for row in connection.execute(sa.select(BackgroundRecord.__table__)):
        background[row.listener_id][row.question] = row.answer
    people = [
        {
            "listener": row.id,
            "group": row.group_id,
            "language": row.language,
            "list": row.list_index,
            "started": row.started,
            "finished": row.step == steps.DONE,
            "headphones": row.headphones,
            "attention_asked": asked[row.id],
            "attention_missed": missed[row.id],
            **{f"background_{of.id}": background[row.id].get(of.id) for of in questionnaire.background},
        }
        for row in sorted(listeners.values(), key=lambda row: row.id)
    ]

    def place(row: Any) -> dict[str, Any]:
        who = listeners[row.listener_id]
        return {"listener": row.listener_id, "group": who.group_id, "trial": row.trial}

    order = {item.id: index for index, item in enumerate(questionnaire.items)}
    ratings = []
    for row in connection.execute(sa.select(RatingRecord.__table__)):
        trial = study.lists[listeners[row.listener_id].list_index][row.trial]
        heard = {"stimulus": trial.stimuli[0], "source": source[trial.stimuli[0]]}
        rest = {"repeat": trial.kind == REPEAT, "plays": plays[row.listener_id, row.trial]}
        ratings.append({**place(row), **heard, "item": row.item, "rating": row.rating, **rest})
    ratings.sort(key=lambda row: (row["listener"], row["trial"], order.get(row["item"], len(order)), row["item"]))

    turing = []
    for row in connection.execute(sa.select(TuringRecord.__table__)):
        trial = study.lists[listeners[row.listener_id].list_index][row.trial]
        said = {"said_human": row.said_human, "confidence": row.confidence, "why": row.why}
        if trial.kind == PAIR:
            first = source[trial.stimuli[0]] == study.human
            human, other = trial.stimuli if first else trial.stimuli[::-1]
            heard = {"form": "pair", "stimulus": human, "source": source[other], "other": other}
            turing.append({**place(row), **heard, "similarity": trial.similarity, "first": first, **said})
        else:
            heard = {"form": "single", "stimulus": trial.stimuli[0], "source": source[trial.stimuli[0]]}
            turing.append({**place(row), **heard, "other": None, "similarity": None, "first": None, **said})
    turing.sort(key=lambda row: (row["listener"], row["trial"]))
    people_types = LISTENERS | {f"background_{of.id}": "string" for of in questionnaire.background}
    return Answers(_frame(people, people_types), _frame(ratings, RATINGS), _frame(turing, TURING))


def _frame(rows: list[dict[str, Any]], types: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(types)).astype(dict(types))
