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

from muspike import corpora
from muspike.bench.suite import Reading
from muspike.bench.workload import EXCERPT, excerpts_of, read_after_pad
from muspike.checkpoint import load_model
from muspike.errors import BadInput
from muspike.export.loihi import ChipRunner, compile_model
from muspike.files import write_whole
from muspike.hardware.cost.lemaire import WIDTHS
from muspike.hardware.cost.opinions import Opinions, opinions
from muspike.model_folder import shipped_models

DOCS = Path(__file__).parents[2] / "docs"
RESULTS, PAGE = DOCS / "results" / "opinions.json", DOCS / "opinions.md"
PIECES = 16
CHIPS = {"loihi1": "Loihi 1", "loihi2": "Loihi 2"}
BEGIN, END = "<!-- table opinions -->\n", "<!-- end -->"


def measured(name: str) -> dict[str, Any]:
    """The opinions about a model on each chip."""
    model = load_model(name)
    excerpts = excerpts_of(corpora.load(model.training["corpus"]), "test")[:, :PIECES]
    words = model.spiking.noise.behind(read_after_pad(excerpts))
    found: dict[str, Any] = {"corpus": model.training["corpus"], "pieces": words.shape[1], "words": EXCERPT}
    for chip in CHIPS:
        compiled = compile_model(model, chip)
        runner = ChipRunner(compiled.program)
        reading = Reading(runner, [compiled], words)
        shown = runner.presentation
        said = opinions(
            compiled.program,
            reading.spikes,
            reading.counts[0],
            ticks=shown.ticks,
            period=shown.period,
            chip=compiled.chip,
        )
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


def filled(page: str, results: Mapping[str, Any]) -> str:
    """The page with its table made anew.

    Raises:
        BadInput: the page has no place for the table.
    """
    before, mark, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise BadInput(f"{PAGE}: it has no place between {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}{table(results)}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help=f"only make the table of {PAGE.name} anew")
    if not parser.parse_args(arguments).table:
        results = {"models": {name: measured(name) for name in shipped_models()}}
        with write_whole(RESULTS) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    page = filled(PAGE.read_text(encoding="utf-8"), json.loads(RESULTS.read_text(encoding="utf-8")))
    with write_whole(PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
