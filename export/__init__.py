"""One file per target format, and the proof that what was written is the same network."""
