"""The packages that listening studies need besides those of muspike."""

from __future__ import annotations

import importlib.util

_NEEDED = (
    "alembic",
    "fastapi",
    "krippendorff",
    "pandas",
    "pingouin",
    "pyloudnorm",
    "python_multipart",
    "sklearn",
    "sqlalchemy",
    "statsmodels",
    "uvicorn",
)
WANTED = "pip install 'muspike[study]'"


def missing() -> str | None:
    """Which of them is not installed, and what to do; None: all are."""
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed ({WANTED})" if absent else None
