"""How a running study stands: listeners per group, means per source and item, Turing answers. For its admin."""

from __future__ import annotations

from collections import defaultdict

from pydantic import BaseModel, Field

from muspike.bench.study.pages import Server
from muspike.bench.study.study import PAIR, REPEAT


class Group(BaseModel):
    """The listeners of a group."""

    group: str = Field(description="id of the group")
    name: str = Field(description="its name, in the first language of the study")
    started: int = Field(description="listeners with a list of pieces")
    finished: int = Field(description="of these, who have answered all pages")
    target: int = Field(description="wanted listeners; 0: none is stated")


class Progress(BaseModel):
    """How far the study is."""

    title: str
    closed: bool = Field(description="new listeners are turned away")
    withdrawn: int = Field(
        description="listeners whose answers were deleted at their wish; they are in no other number"
    )
    groups: list[Group]


class Mean(BaseModel):
    """The ratings of one source on one item, as chosen. Repeats are not among them."""

    source: str
    item: str
    ratings: int
    mean: float


class Said(BaseModel):
    """The Turing answers about one source."""

    form: str = Field(description="single or pair")
    source: str = Field(description="of a pair, the source that is not human")
    answers: int
    said_human: float = Field(description="single: share that says human; pair: share that chose the human piece")


class Results(BaseModel):
    """The answers so far, also of listeners who have not finished."""

    means: list[Mean]
    turing: list[Said]


def progress(server: Server) -> Progress:
    """How far the study is."""
    names = {group.id: group.name for group in server.questionnaire.groups}
    groups = [
        Group(group=of.group, name=names[of.group], started=of.started, finished=of.finished, target=of.target)
        for of in server.database.progress(tuple(names))
    ]
    database = server.database
    return Progress(title=server.study.title, closed=database.closed(), withdrawn=database.withdrawn(), groups=groups)


def results(server: Server) -> Results:
    """The means so far."""
    study = server.study
    source = {stimulus.id: stimulus.source for stimulus in study.stimuli}
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for of_list, at, item, number, total in server.database.rating_sums():
        trial = study.lists[of_list][at]
        if trial.kind != REPEAT:
            both = sums[source[trial.stimuli[0]], item]
            both[0] += number
            both[1] += total
    said: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for of_list, at, number, human in server.database.turing_sums():
        trial = study.lists[of_list][at]
        others = [source[id] for id in trial.stimuli if source[id] != study.human]
        key = ("pair", others[0]) if trial.kind == PAIR and others else ("single", source[trial.stimuli[0]])
        said[key][0] += number
        said[key][1] += human
    items = [item.id for item in server.questionnaire.items]
    return Results(
        means=[
            Mean(source=name, item=item, ratings=sums[name, item][0], mean=sums[name, item][1] / sums[name, item][0])
            for name in study.sources
            for item in items
            if (name, item) in sums
        ],
        turing=[
            Said(
                form=form,
                source=name,
                answers=said[form, name][0],
                said_human=said[form, name][1] / said[form, name][0],
            )
            for form in ("single", "pair")
            for name in study.sources
            if (form, name) in said
        ],
    )
