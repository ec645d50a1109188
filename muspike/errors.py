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


def printable(text: str, keep: str = "") -> str:
    """Text with everything that a terminal would act on escaped, but for the characters in `keep`."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def one_line(error: Exception) -> str:
    """What an error says, or its type; without line breaks, control characters and endless names of a damaged file."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 1000 else f"{text[:600]} ... {text[-400:]}"
