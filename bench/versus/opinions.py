"""Three energy models on the models that ship: writes docs/results/opinions.json and the table of docs/opinions.md.

Each model reads the first 128 words of 16 pieces of its corpus's test split, on the integers of each chip. An inference
is a word.

    python bench/versus/opinions.py               measures, and writes both
    python bench/versus/opinions.py --table       only makes the table anew from the file
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muspike.bench.marked_tables import Tables, fill
from muspike.bench.profile import profile
from muspike.bench.workload import EXCERPT, PIECES, workload_of
from muspike.errors import Failed
from muspike.export.subject import Subject
from muspike.files import write_whole
from muspike.hardware.cost.lemaire import WIDTHS
from muspike.hardware.cost.opinions import Opinions
from muspike.model_folder import shipped_models

DOCS = Path(__file__).parents[2] / "docs"
RESULTS, PAGE = DOCS / "results" / "opinions.json", DOCS / "opinions.md"
CHIPS = {"loihi1": "Loihi 1", "loihi2": "Loihi 2"}


def measured(name: str, pieces: int = PIECES) -> dict[str, Any]:
    """The opinions about a model on each chip."""
    subject = Subject.of(name)
    assert subject.model is not None
    workload = workload_of(subject, pieces=pieces)
    found: dict[str, Any] = {
        "corpus": subject.model.training["corpus"],
        "pieces": workload.batch,
        "words": EXCERPT,
    }
    for chip in CHIPS:
        run = profile(subject, workload, chip)
        said = run.opinions
        if said is None:
            raise Failed(f"{name} on {chip}: {'; '.join(run.warnings)}")
        found[chip] = said.to_dict() | {"memory_model": ratios(said)}
        print(f"{name} on {chip}: {said.verdict} ({said.where})", flush=True)
    return found


def ratios(said: Opinions) -> dict[str, float]:
    """The ratios of Lemaire et al. by bits, and by how the network without spikes reads its inputs."""
    named = {"dense": False, "looked_up": True}
    return {
        f"{how}_{width}_bits": said.lemaire.ratio(width, rows).value for width in WIDTHS for how, rows in named.items()
    }


def table(results: Mapping[str, Any]) -> str:
    """The table of the page, in Markdown."""
    lines = [
        "| model | spike rate | Yan: break-even rate | chip's prices, Loihi 1 | chip's prices, Loihi 2 | "
        "Lemaire et al. | Yan et al. | verdict |",
        "|---" * 8 + "|",
    ]
    for name, found in results["models"].items():
        main = found["loihi1"]
        even = main["equivalent_network"]["break_even_rate"]
        cells = [
            name,
            f"{main['equivalent_network']['spike_rate']:.1%}",
            f"{even['value']:.1%} ({even['low']:.1%} – {even['high']:.1%})",
            *(_ratio(found[chip]["opinions"][0]) for chip in CHIPS),
            *(_ratio(opinion) for opinion in main["opinions"][1:]),
            main["verdict"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio(opinion: Mapping[str, Any]) -> str:
    found = opinion["ratio"]
    wider = "" if found["band_known"] else " or wider"
    return f"{found['value']:.3g} ({found['low']:.3g} – {found['high']:.3g}{wider}): {opinion['verdict']}"


def tables(results: Mapping[str, Any]) -> Tables:
    """The table of the page, by its name there."""
    return {"opinions": lambda: table(results)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help=f"only make the table of {PAGE.name} anew")
    if not parser.parse_args(arguments).table:
        results = {"models": {name: measured(name) for name in shipped_models("jsb")}}
        with write_whole(RESULTS) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    fill(PAGE, tables(json.loads(RESULTS.read_text(encoding="utf-8"))), str(PAGE), every=True)


if __name__ == "__main__":
    main()
