"""The recipes of the models that come with muspike and of their twins, read from a TOML file."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from muspike import architectures, corpora
from muspike.errors import BadInput
from muspike.files import check_file
from muspike.generation import Sampling
from muspike.recipe import Recipe, refuse_rates_without_spikes
from muspike.training import Settings

RECIPES = Path(__file__).with_name("recipes.toml")
TABLES = ("quality", "paper models", "thresholds", "sparse")


@dataclass(frozen=True)
class Entry:
    """One model to train.

    Attributes:
        name: `TABLE-SEED`, the name of the run and of its result.
        family: the name of the table, which the seeds share.
        recipe: what is trained, without a folder.
        sampling: how the host samples from it.
        twin: the family that it is held against; None if there is none.
        ships: the name under which it comes with muspike; None if it does not.
        minutes: how long a run took on one core of the machine that trained the first ones.
        table: the table of docs/models.md that has it, one of `TABLES`.
        teacher: the model whose distributions it learns beside the data; None if there is none.
        initial: the model whose weights it starts from, as they are shipped or would be; None: they are drawn.
    """

    name: str
    family: str
    recipe: Recipe
    sampling: Sampling
    twin: str | None
    ships: str | None
    minutes: float
    table: str = TABLES[0]
    teacher: Entry | None = None
    initial: Entry | None = None

    @property
    def needed(self) -> list[Entry]:
        """The models that must be finished before this one is trained."""
        return [entry for entry in (self.teacher, self.initial) if entry is not None]

    def to_dict(self) -> dict[str, Any]:
        """What decides the model and its figures, JSON-able: what is trained, and the sampling."""
        return {**self.trained(), "sampling": dataclasses.asdict(self.sampling)}

    def trained(self) -> dict[str, Any]:
        """What decides the model, JSON-able: the recipe with the preset's own settings.

        The models that it needs are told in the same way, so a model is of another recipe when one of these is.
        """
        told = {key: value for key, value in dataclasses.asdict(self.recipe).items() if key != "folder"}
        if self.teacher is not None:
            told["teacher"] = self.teacher.trained()
        if self.initial is not None:
            told["initial"] = self.initial.trained()
        preset = architectures.preset(self.recipe.architecture, self.recipe.preset)
        return {"recipe": told, "preset": preset}


def told_apart(made: Mapping[str, Any]) -> dict[str, Any]:
    """What the `made` of a result says of training, without the keys of recipes that have their default.

    So a result from before a key was known is not of another recipe.
    """
    recipe = {key: value for key, value in made["recipe"].items() if value != _DEFAULTS.get(key)}
    for key in {"teacher", "initial"} & set(recipe):
        recipe[key] = told_apart(recipe[key])
    return {**{key: value for key, value in made.items() if key != "sampling"}, "recipe": recipe}


_DEFAULTS = {f.name: f.default for f in dataclasses.fields(Recipe) if f.default is not dataclasses.MISSING}


@dataclass(frozen=True)
class _Table:
    """The keys of a table, with their defaults."""

    architecture: str
    preset: str = "small"
    data: str = "jsb"
    seeds: tuple[int, ...] = (0,)
    steps: int | None = None
    learning_rate: float | None = None
    target_rate: float | None = None
    rate_weight: float | None = None
    precision: str | None = None
    init: str | None = None
    teacher: str | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = Sampling().temperature
    top_p: float = Sampling().top_p
    end_bias: float = Sampling().end_bias
    parallels_bias: float = Sampling().parallels_bias
    twin: str | None = None
    ships: bool = False
    minutes: float = 90.0
    table: str = TABLES[0]


def read_recipes(path: str | os.PathLike[str] = RECIPES) -> list[Entry]:
    """The entries of a file of recipes, in the order in which they are trained: by seed, then by table.

    Raises:
        BadInput: the file cannot be read or is not TOML; a table has an unknown key or a value out of its range; a
            twin, a teacher or an init has no table or learns another corpus; a teacher has a teacher or an init; an
            init has an init, or is of another network.
    """
    check_file(path, _LARGEST)
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error
    if not tables:
        raise BadInput(f"{path}: holds no recipe; a table for each is wanted, such as [s-rnn]")
    for name in tables:
        if not re.fullmatch(_NAME, name):
            raise BadInput(
                f"{path}: table {name!r:.63} is no name: at most 100 letters, digits, dots, dashes and underscores are "
                "wanted, the first a letter"
            )
    read = {name: _read(f"{path}: [{name}]", name, table) for name, table in tables.items()}
    for name, table in read.items():
        if table.twin == name:
            raise BadInput(f"{path}: [{name}]: is its own twin; another table is wanted")
        for key, other in (("twin", table.twin), ("teacher", table.teacher), ("init", table.init)):
            if other is not None:
                _check_other(f"{path}: [{name}]: {key} {other!r}", table, other, read)
        if table.init is not None:
            _check_init(f"{path}: [{name}]: init {table.init!r}", table, read[table.init])
    most = max((len(table.seeds) for table in read.values()), default=0)

    @functools.cache
    def entry(name: str, turn: int) -> Entry:
        table = read[name]
        teacher, initial = (None if other is None else entry(other, 0) for other in (table.teacher, table.init))
        return _entry(f"{path}: [{name}]", name, table, table.seeds[turn], teacher, initial)

    return [entry(name, turn) for turn in range(most) for name, table in read.items() if turn < len(table.seeds)]


def _check_other(where: str, table: _Table, other: str, read: Mapping[str, _Table]) -> None:
    """Refuse the table `other` as the twin, the teacher or the first weights of `table`."""
    found = read.get(other)
    if found is None:
        raise BadInput(f"{where} has no table; known are {', '.join(read)}")
    if other != table.twin and found.init is not None:
        raise BadInput(f"{where} has an init itself; it must have none")
    if other == table.teacher and found.teacher is not None:
        raise BadInput(f"{where} has a teacher itself; it must have none")
    if found.data != table.data:
        raise BadInput(f"{where} learns {found.data}, this table {table.data}; they must learn the same corpus")


def _network_of(table: _Table) -> dict[str, Any]:
    return {**architectures.preset(table.architecture, table.preset).get("network", {}), **table.network}


def _check_init(where: str, table: _Table, initial: _Table) -> None:
    """Refuse `initial` as the first weights of `table`: another network, or no warm-up is left for a teacher."""
    if initial.architecture != table.architecture:
        raise BadInput(
            f"{where} is of architecture {initial.architecture}, this table of {table.architecture}; they must be the "
            "same"
        )
    its, own = _network_of(initial), _network_of(table)
    for key in sorted({*its, *own}):
        one, other = its.get(key), own.get(key)
        if one != other:
            raise BadInput(f"{where} has network {key} {one}, this table {other}; they must be the same")
    if table.teacher is not None and "adversarial" in architectures.preset(table.architecture, table.preset):
        raise BadInput(
            f"{where} leaves no warm-up, in which alone a teacher teaches {table.architecture}; leave teacher out"
        )


_LARGEST = 2**20  # bytes of a file of recipes
_NAME = r"[A-Za-z][A-Za-z0-9._-]{0,99}"  # results, logs and models are called so
_TEXTS = ("architecture", "preset", "data", "precision", "init", "teacher", "twin", "table")


def _read(where: str, name: str, table: object) -> _Table:
    known = {f.name: f for f in dataclasses.fields(_Table)}
    if not isinstance(table, dict):
        raise BadInput(f"{where}: is {table!r:.60}; a table is wanted")
    for key in table:
        if key not in known:
            raise BadInput(f"{where}: unknown key {key!r}; known are {', '.join(known)}")
    values: dict[str, Any] = {
        key: tuple(value) if key == "seeds" and isinstance(value, list) else value for key, value in table.items()
    }
    wanted: dict[str, Any] = {"seeds": tuple, "network": dict, "ships": bool, "minutes": (int, float)}
    for key, value in values.items():
        kind = wanted.get(key, str if key in _TEXTS else object)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise BadInput(f"{where}: {key} = {value!r} is of the wrong type")
    seeds, minutes = values.get("seeds", (0,)), values.get("minutes", 1)
    if not seeds or len(set(seeds)) != len(seeds):
        raise BadInput(f"{where}: seeds are {list(seeds)}; one or more are wanted, each once")
    if not 0 < minutes < 1e6:
        raise BadInput(f"{where}: minutes = {minutes} must be above 0 and below a million")
    return _Table(**{"architecture": name, **values})


def _entry(where: str, family: str, table: _Table, seed: int, teacher: Entry | None, initial: Entry | None) -> Entry:
    if table.table not in TABLES:
        raise BadInput(f"{where}: table {table.table!r} is none of the documentation; known are {', '.join(TABLES)}")
    try:
        network = _network_of(table)
        architectures.configured(architectures.find(table.architecture).config, network, "network")
        corpora.source_of(table.data)
        if table.precision is not None:
            Settings(precision=table.precision)
        recipe = Recipe(
            table.architecture,
            table.data,
            table.preset,
            seed=seed,
            steps=table.steps,
            learning_rate=table.learning_rate,
            target_rate=table.target_rate,
            rate_weight=table.rate_weight,
            precision=table.precision,
            network=table.network,
        )
        sampling = Sampling(
            temperature=table.temperature,
            top_p=table.top_p,
            end_bias=table.end_bias,
            parallels_bias=table.parallels_bias,
        )
        refuse_rates_without_spikes(recipe)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error
    ships = family if table.ships and seed == table.seeds[0] else None
    about = recipe, sampling, table.twin, ships, table.minutes, table.table
    return Entry(f"{family}-{seed}", family, *about, teacher, initial)
