"""The tables of a study's database, for SQLite and PostgreSQL alike. `migrations/` makes them and changes them.

No address, no browser and no time of a single answer is stored: only what the pages ask.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Base of the tables."""


class StudyRecord(Base):
    """The one row about the study itself.

    Attributes:
        digest: which study the database belongs to (`database.digest`).
        secret: hexadecimal; what tokens of forms are made with.
        admin_password: salted scrypt hash; None until there is a password.
        closed: whether new listeners are turned away.
        withdrawn: how many listeners had their answers deleted.
    """

    __tablename__ = "study"
    __table_args__ = (CheckConstraint("id = 1", name="one_study"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(String(64))
    secret: Mapped[str] = mapped_column(String(64))
    admin_password: Mapped[str | None] = mapped_column(String(200))
    closed: Mapped[bool]
    withdrawn: Mapped[int]


class ListenerRecord(Base):
    """A listener who has agreed to take part.

    Attributes:
        id: never used twice.
        token_sha256: hash of what the listener's cookie holds.
        code: the personal code, which the listener reads on the page.
        code_sha256: its hash, by which it is looked up.
        language: of the pages.
        group_id: by the rules of the questionnaire; None until the background questions are answered.
        list_index: index into `Study.lists`; None until then.
        started: UTC, ISO 8601, to the minute.
        step: where the listener is, see `steps.py`.
        headphones: whether the screening was passed; None: not screened.
        headphone_tries: how often the screening was answered.
    """

    __tablename__ = "listeners"
    # The lists of a group are counted whenever a listener joins it.
    __table_args__ = (Index("listeners_by_group", "group_id", "list_index"), {"sqlite_autoincrement": True})
    id: Mapped[int] = mapped_column(primary_key=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    code: Mapped[str] = mapped_column(String(32))
    code_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    language: Mapped[str] = mapped_column(String(40))
    group_id: Mapped[str | None] = mapped_column(String(200))
    list_index: Mapped[int | None]
    started: Mapped[str] = mapped_column(String(20))
    step: Mapped[str] = mapped_column(String(20))
    headphones: Mapped[bool | None]
    headphone_tries: Mapped[int]


class BackgroundRecord(Base):
    """The answer to one background question; None: left out."""

    __tablename__ = "background"
    listener_id: Mapped[int] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"), primary_key=True)
    question: Mapped[str] = mapped_column(String(200), primary_key=True)
    answer: Mapped[str | None] = mapped_column(String(200))


class TrialRecord(Base):
    """An answered trial.

    Attributes:
        trial: index into the listener's list.
        plays: how often each sound of the page was heard, the most of them.
        point: of an attention check, the chosen point of the scale.
    """

    __tablename__ = "trials"
    listener_id: Mapped[int] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"), primary_key=True)
    trial: Mapped[int] = mapped_column(primary_key=True)
    plays: Mapped[int]
    point: Mapped[int | None]


class RatingRecord(Base):
    """The rating of one item in one trial, from 1."""

    __tablename__ = "ratings"
    listener_id: Mapped[int] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"), primary_key=True)
    trial: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(String(200), primary_key=True)
    rating: Mapped[int]


class TuringRecord(Base):
    """The Turing answer of one trial; `said_human` as in `answers.TURING`."""

    __tablename__ = "turing"
    listener_id: Mapped[int] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"), primary_key=True)
    trial: Mapped[int] = mapped_column(primary_key=True)
    said_human: Mapped[bool]
    confidence: Mapped[int]
    why: Mapped[str | None] = mapped_column(Text)
