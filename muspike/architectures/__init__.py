"""One file per architecture: a function that returns a Network."""
