"""The errors that muspike shows to its user, with the exit status of each; its warnings; safe text for terminals."""


class MuspikeError(Exception):
    """Base of every error that is meant for the user. The CLI prints its message, one line, without a traceback."""

    exit_status = 1


class BadInput(MuspikeError):
    """Bad use or bad input: exit status 2. The message names file, node or limit, the value found and a right one."""

    exit_status = 2


class Busy(BadInput):
    """Another command is at work in a folder."""


class Failed(MuspikeError):
    """A correct request that could not be carried out (a full disk, a peer that does not run): exit status 1."""

    exit_status = 1


class Diverged(Failed):
    """A training in which a loss, a gradient or a weight is no longer finite."""


class Doubt(UserWarning):
    """A warning that is meant for the user. The CLI prints its message on stderr, one line."""


def printable(text: str, keep: str = "") -> str:
    """`text` with all characters escaped that a terminal would act on, except those in `keep`."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def one_line(error: BaseException) -> str:
    """The message of `error` on one line, or the name of its type if it has none.

    Control characters become question marks. A text above 1000 characters, as damaged files cause, is shortened.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 1000 else f"{text[:600]} ... {text[-400:]}"
