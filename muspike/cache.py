"""The folder in which muspike keeps what it can make again: corpora, and the environment for Lava."""

from __future__ import annotations

from pathlib import Path

import platformdirs

from muspike.errors import Failed


def cache_folder() -> Path:
    """The folder of muspike in the user's cache folder. It need not exist.

    Raises:
        Failed: the user has no home folder.
    """
    try:
        folder = platformdirs.user_cache_path("muspike")
    except RuntimeError:
        folder = Path()
    if not folder.is_absolute():  # older editions of platformdirs leave "~" as it is
        raise Failed("this user has no home folder for a cache; name a folder for it in XDG_CACHE_HOME")
    return folder
