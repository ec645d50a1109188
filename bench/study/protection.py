"""What keeps the pages of a study safe: headers, limits of requests, tokens of forms, passwords, limits of attempts."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import ipaddress
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect

MOST_BYTES = 64 * 1024
"""The largest body of a request. The longest form of a study is far below."""
BODY_S = 30.0
"""How long a body may take to come. A form of a study takes a second on a slow phone."""

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; media-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex, nofollow",
}
"""Of every answer."""

# About 16 MB and 50 ms for each password that is tried.
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}
_KEPT = 10_000

Message = MutableMapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[Message], Any]


class Protected:
    """An ASGI application that adds `HEADERS`, keeps pages out of caches, and refuses bodies.

    It refuses those of more than `MOST_BYTES`, and those that take longer than `BODY_S` to come.
    """

    def __init__(self, app: Callable[[Message, Receive, Send], Any]) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                wanted = HEADERS if b"cache-control" in given else HEADERS | {"cache-control": "no-store"}
                added = [(name.encode(), value.encode()) for name, value in wanted.items()]
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in given)]
            await send(message)

        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MOST_BYTES:
            await _refuse(send_with_headers, _TOO_LARGE)
            return
        read, whole, refused = 0, False, ""
        until = asyncio.get_running_loop().time() + BODY_S

        async def limited() -> Message:
            nonlocal read, whole, refused
            if whole:
                message: Message = await receive()
                return message
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except (TimeoutError, asyncio.CancelledError):  # CancelledError: the server ends
                refused = _TOO_SLOW
            else:
                if message["type"] == "http.request":
                    read += len(message.get("body", b""))
                    whole = not message.get("more_body", False)
                    if read > MOST_BYTES:  # a body without a length
                        refused = _TOO_LARGE
            return {"type": "http.disconnect"} if refused else message

        async def unless_refused(message: Message) -> None:
            if not refused:
                await send_with_headers(message)

        # So the application sees a body that is cut off. Nobody waits for an answer, unless it was cut off here.
        with contextlib.suppress(ClientDisconnect):
            await self._app(scope, limited, unless_refused)
        if refused:
            await _refuse(send_with_headers, refused)


_TOO_LARGE = f"413 The request is larger than {MOST_BYTES:,} bytes."
_TOO_SLOW = "408 The request did not come in time."


async def _refuse(send: Send, why: str) -> None:
    status, _, text = why.partition(" ")
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})


class Tokens:
    """What forms carry so that they count only for the browser and the page that they were made for."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def _signed(self, *parts: str) -> str:
        return hmac.new(self._secret, "\0".join(parts).encode(errors="surrogatepass"), hashlib.sha256).hexdigest()

    def csrf(self, session: str) -> str:
        """The token of the forms of a browser whose cookie is `session`."""
        return self._signed("csrf", session)

    def is_csrf(self, session: str, given: str) -> bool:
        """Whether `given` is that token."""
        return is_token(self.csrf(session), given)

    def served(self, listener: int, page: str, now_s: float) -> str:
        """A token that says when a page was served to a listener."""
        at = str(round(now_s * 1000))
        return f"{at}.{self._signed('served', str(listener), page, at)}"

    def served_at_s(self, listener: int, page: str, given: str) -> float | None:
        """The time in such a token; None if it is not one of this listener and page."""
        at, _, signed = given.partition(".")
        return int(at) / 1000 if is_token(self._signed("served", str(listener), page, at), signed) else None

    def machine(self, password_hash: str) -> str:
        """The token with which machines ask for answers. Another password makes it another one."""
        return self._signed("machine", password_hash)


def is_token(wanted: str, given: str) -> bool:
    """Whether two tokens are the same. How long it takes tells nothing of where they differ."""
    return hmac.compare_digest(wanted.encode(), given.encode(errors="surrogatepass"))


def hashed_password(password: str) -> str:
    """A salted hash of a password, for `is_password`."""
    salt = secrets.token_bytes(16)
    derived = hashlib.scrypt(password.encode(errors="surrogatepass"), salt=salt, dklen=32, **_SCRYPT)
    return "$".join(["scrypt", *(base64.b64encode(part).decode() for part in (salt, derived))])


def is_password(password: str, hashed: str) -> bool:
    """Whether the hash is that of this password."""
    _, salt, derived = hashed.split("$")
    found = hashlib.scrypt(password.encode(errors="surrogatepass"), salt=base64.b64decode(salt), dklen=32, **_SCRYPT)
    return hmac.compare_digest(found, base64.b64decode(derived))


@dataclass
class _Failures:
    number: int = 0
    last_s: float = -1e9


class Attempts:
    """Attempts to guess a secret: after some that failed, each further one has to wait, longer and longer.

    It counts by address and, with a larger allowance and a short longest wait, for all addresses together: so many
    addresses gain little, and nobody is locked out for long by others. Nothing is stored on disk.
    """

    FREE, FREE_OF_ALL = 5, 50
    LONGEST_S, LONGEST_OF_ALL_S = 900.0, 10.0
    FORGOTTEN_S = 3600.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._of: OrderedDict[str, _Failures] = OrderedDict()
        self._of_all = _Failures()

    def begin(self, address: str | None) -> float:
        """Count an attempt from an address. Return 0 if it may be made, else the seconds to wait.

        An attempt counts as failed until `succeeded`: so many at the same moment do not slip through.
        """
        key = _network(address)
        now = self._clock()
        with self._lock:
            mine = self._of.setdefault(key, _Failures())
            self._of.move_to_end(key)
            while len(self._of) > _KEPT:
                self._of.popitem(last=False)
            for failures in (mine, self._of_all):
                if now - failures.last_s > self.FORGOTTEN_S:
                    failures.number = 0
            wait = max(
                _left(mine, self.FREE, self.LONGEST_S, now),
                _left(self._of_all, self.FREE_OF_ALL, self.LONGEST_OF_ALL_S, now),
            )
            if wait > 0:
                return wait
            for failures in (mine, self._of_all):
                failures.number += 1
                failures.last_s = now
            return 0.0

    def succeeded(self, address: str | None) -> None:
        """The attempt from this address was right."""
        with self._lock:
            self._of.pop(_network(address), None)
            self._of_all.number = max(0, self._of_all.number - 1)


class Starts:
    """How many listeners may begin, from one address and from all together: many at once, and then one after another.

    So a program cannot fill the database by agreeing again and again. A lecture room that shares an address gets in at
    once. Nothing is stored on disk.
    """

    AT_ONCE, EVERY_S = 500, 5.0
    AT_ONCE_OF_ALL, EVERY_S_OF_ALL = 5000, 0.2

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # The moment at which an address would have as many starts again as at first.
        self._full_s: OrderedDict[str, float] = OrderedDict()
        self._full_of_all_s = -math.inf

    def begin(self, address: str | None) -> float:
        """Count a start from an address. Return 0 if it may be made, else the seconds to wait."""
        key, now = _network(address), self._clock()
        with self._lock:
            mine = max(now, self._full_s.get(key, now)) + self.EVERY_S
            of_all = max(now, self._full_of_all_s) + self.EVERY_S_OF_ALL
            wait = max(
                mine - now - self.AT_ONCE * self.EVERY_S, of_all - now - self.AT_ONCE_OF_ALL * self.EVERY_S_OF_ALL
            )
            if wait > 1e-6:
                return wait
            self._full_s[key], self._full_of_all_s = mine, of_all
            self._full_s.move_to_end(key)
            while len(self._full_s) > _KEPT:
                self._full_s.popitem(last=False)
            return 0.0


def _left(failures: _Failures, free: int, longest_s: float, now: float) -> float:
    over = failures.number - free
    pause: float = min(longest_s, 2.0 ** min(over, 20)) if over >= 0 else 0.0
    return max(0.0, failures.last_s + pause - now)


def _network(address: str | None) -> str:
    """An address; of IPv6 the network of a household, which has very many addresses."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(found), 64), strict=False))
        found = found.ipv4_mapped  # how a socket of IPv6 tells an address of IPv4
    return str(found)
