"""What MuSpike publishes of its benchmark, as far as it is known here: the numbers of `paper_values.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from muspike import architectures, corpora, metrics
from muspike.errors import BadInput
from muspike.hardware.constant import TAGS, sourced, text_of

VALUES = Path(__file__).with_name("paper_values.toml")
DATA = "data"
"""In place of a network: the pieces of the corpus themselves."""


@dataclass(frozen=True)
class PaperValue:
    """A number of the paper.

    Attributes:
        value: the number, in the unit of the metric.
        tag: one of `hardware.constant.TAGS`.
        source: where it stands, and what is doubtful about it.
    """

    value: float
    tag: str
    source: str

    def to_dict(self) -> dict[str, float | str]:
        """JSON-able."""
        return {"value": self.value, "tag": self.tag, "source": self.source}


PaperValues = Mapping[tuple[str, str, str], PaperValue]
"""By corpus, network (or `DATA`) and metric."""


def paper_values(path: Path = VALUES) -> PaperValues:
    """The numbers of a file.

    Raises:
        BadInput: the file cannot be read or is not TOML; a table names no corpus, architecture or metric; or an entry
            is missing, unknown or impossible.
    """
    top = sourced(text_of(path), str(path))
    found = {}
    for corpus in _known(top.entries, {"sources": None, **corpora.CORPORA}, str(path), "corpus"):
        if corpus == "sources":
            continue
        of_corpus = top.table(corpus)
        networks = {DATA: None, **architectures.ARCHITECTURES}
        for network in _known(of_corpus.entries, networks, of_corpus.where, "network"):
            of_network = of_corpus.table(network)
            for metric in _known(of_network.entries, metrics.METRICS, of_network.where, "metric"):
                of = of_network.table(metric)
                found[corpus, network, metric] = PaperValue(of.number("value"), of.choice("tag", TAGS), of.source())
                of.close()
    return found


def _known(entries: Mapping[str, object], names: Mapping[str, object], where: str, what: str) -> list[str]:
    for name in entries:
        if name not in names:
            raise BadInput(f"{where}: {name!r} is no {what}; known are {', '.join(n for n in names if n != 'sources')}")
    return list(entries)
