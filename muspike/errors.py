"""The two ways a request can end badly, and the exit status of each."""


class MuspikeError(Exception):
    """Base of every error that is meant for the user: the message is one line, without a traceback on the CLI."""

    exit_status = 1


class BadInput(MuspikeError):
    """Bad use or bad input: names the file, node or limit, the value found and what would be right. Exit status 2."""

    exit_status = 2


class Failed(MuspikeError):
    """A right request that could not be carried out (disk full, a peer that does not run). Exit status 1."""

    exit_status = 1
