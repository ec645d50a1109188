"""The numbers that `muspike.beat` decides by, from `beat.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path

_READ = tomllib.loads((Path(__file__).parent / "beat.toml").read_text(encoding="utf-8"))
GRID, BARS, TRACKING = _READ["grid"], _READ["bars"], _READ["tracking"]
