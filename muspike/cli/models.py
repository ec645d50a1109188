"""`models`: the models that come with muspike."""

from __future__ import annotations

import argparse

from muspike.cli.options import Commands, add_json
from muspike.cli.output import say, say_json
from muspike.tables import text_table


def add(commands: Commands) -> None:
    """Add the command."""
    models = commands.add("models", _models, "List the models that come with muspike.", "muspike models")
    add_json(models, "the list")


def _models(args: argparse.Namespace) -> int:
    from muspike import model_folder

    rows = []
    for name, folder in model_folder.shipped_models().items():
        header = model_folder.read_header(folder)
        rows.append(
            {
                "name": name,
                "architecture": header["architecture"],
                "corpus": header["training"]["corpus"],
                "parameters": model_folder.count_parameters(folder, header),
                "validation_bits_per_note": header["training"]["validation_bits_per_note"],
                "validation_firing_rate": header["training"].get("validation_firing_rate"),
                "steps": model_folder.steps_of(header["training"]),
            }
        )
    if args.json:
        say_json(rows)
    else:
        cells = []
        for row in rows:
            bits, rate = row["validation_bits_per_note"], row["validation_firing_rate"]
            figures = [f"{row['parameters']:,}", f"{bits:.3f}", "-" if rate is None else f"{rate:.3f}"]
            cells.append([row["name"], row["corpus"], *figures, str(row["steps"])])
        titles = ("model", "data", "parameters", "validation bits per note", "firing rate", "steps")
        say("\n".join(text_table(titles, cells, left=(0, 1))))
    return 0
