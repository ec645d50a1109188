"""`models`: the models that come with muspike."""

from __future__ import annotations

import argparse

from muspike.cli.options import Commands, add_json
from muspike.cli.output import say, say_json
from muspike.tables import text_table

# The measured figures of a model, by entry, with the title of the column.
_FIGURES = {
    "validation_bits_per_note": "bits per note,\nvalidation",
    "test_bits_per_note": "bits per note,\ntest",
    "validation_firing_rate": "spikes per neuron\nand tick, validation",
}


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
                "test_bits_per_note": header["training"].get("test_bits_per_note"),
                "validation_firing_rate": header["training"].get("validation_firing_rate"),
                "steps": model_folder.steps_of(header["training"]),
            }
        )
    if args.json:
        say_json(rows)
    else:
        cells = []
        for row in rows:
            measured = (row[figure] for figure in _FIGURES)
            figures = ["–" if figure is None else f"{figure:.3f}" for figure in measured]
            cells.append([row["name"], row["corpus"], f"{row['parameters']:,}", str(row["steps"]), *figures])
        titles = ("model", "data", "parameters", "steps", *_FIGURES.values())
        say("\n".join(text_table(titles, cells, left=(0, 1))))
    return 0
