"""Many listeners at once: how long the pages of `muspike study serve` take, with SQLite, on one machine with the load.

python bench/versus/study_load.py > docs/results/logs/study-load.txt

On a machine that does other things too, `chrt --fifo 1` before it lets server and load go first.

Every listener keeps a connection, as a browser does: opens a page, fetches its sound, waits as people do (an
exponential time with the mean of --think), sends the answers, follows to the next page. The load ends after --seconds.
At its end the answers in the database are held against those that the server has acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import platform
import random
import re
import sys
import tempfile
import time
import urllib.parse
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "helpers"))

import study_server
from muspike.bench.study import database, questionnaire
from muspike.bench.study import study as studies
from small_study import small_study, tone
from study_server import hidden_fields, radio_groups, sounds

# An excerpt of half a minute has about so many bytes as MP3; the tones that stand for it are as long.
SOUND_S = 25.0
LISTS = 40
_numbers = itertools.count()


@dataclass
class Seen:
    """What the listeners saw: milliseconds by kind of request, errors, acknowledged trials."""

    times_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    acknowledged: int = 0
    bytes: int = 0


class Browser:
    """One connection with a cookie."""

    def __init__(self, host: str, port: int, seen: Seen) -> None:
        self._host, self._port, self._seen = host, port, seen
        self._cookie = ""
        self._address = f"2001:db8:{next(_numbers):x}::1"  # of its own: so many new ones from one address would wait
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, kind: str, method: str, path: str, body: str = "") -> tuple[int, str, bytes]:
        """Send a request. Returns status, where it leads to, and the content."""
        if self._stream is None:
            self._stream = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._stream
        head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}\r\ncookie: {self._cookie}\r\n"
        head += f"x-forwarded-for: {self._address}\r\n"
        if method == "POST":
            head += f"content-type: application/x-www-form-urlencoded\r\ncontent-length: {len(body)}\r\n"
        begun = time.perf_counter()
        writer.write(f"{head}\r\n{body}".encode())
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = [line.partition(": ")[::2] for line in lines[1:] if line]
        of = {name.lower(): value for name, value in headers}
        content = await reader.readexactly(int(of.get("content-length", 0)))
        self._seen.times_ms[kind].append((time.perf_counter() - begun) * 1000)
        self._seen.bytes += len(content)
        for name, value in headers:
            if name.lower() == "set-cookie":
                self._cookie = value.partition(";")[0]
        status = int(lines[0].split()[1])
        if status >= 400:
            self._seen.errors.append(f"{method} {path}: status {status}")
        return status, of.get("location", path), content

    async def open(self, kind: str, path: str) -> tuple[str, str]:
        """Open a page through redirects. Returns its path and text."""
        for _ in range(5):
            status, path, content = await self.ask(kind, "GET", path)
            if status < 300 or status >= 400:
                return path, content.decode()
        raise RuntimeError(f"{path} leads round in a circle")

    async def send(self, kind: str, path: str, page: str, fields: dict[str, str]) -> str:
        """Send the form of a page. Returns where it leads to."""
        _, after, _ = await self.ask(kind, "POST", path, urllib.parse.urlencode(hidden_fields(page) | fields))
        return after


async def listen(host: str, port: int, seen: Seen, drawn: random.Random, think_s: float, end_s: float) -> None:
    """One listener after another in the same seat, until the end."""

    async def think() -> None:
        await asyncio.sleep(min(drawn.expovariate(1 / think_s), max(0.0, end_s - time.perf_counter())))

    await asyncio.sleep(drawn.random() * think_s)
    while time.perf_counter() < end_s:
        browser = Browser(host, port, seen)
        _, page = await browser.open("page", "/")
        after = await browser.send("answer", "/consent", page, {"agree": "yes"})
        background = {"background.years_of_lessons": str(drawn.randrange(15)), "background.profession": "no"}
        for fields in ({**background, "background.plays": "never", "background.age": ""}, {}, {}):
            path, page = await browser.open("page", after)
            await think()
            if time.perf_counter() >= end_s:  # all would send at the same moment
                return
            after = await browser.send("answer", path, page, fields)
        while time.perf_counter() < end_s:
            path, page = await browser.open("page", after)
            if path == "/thanks":
                break
            if path == "/break":
                after = "/"
                continue
            for sound in sounds(page):
                await browser.ask("sound", "GET", sound)
            await think()
            if time.perf_counter() >= end_s:
                return
            chosen = {name: drawn.choice(values) for name, values in radio_groups(page).items()}
            after = await browser.send("answer", path, page, chosen | {"why": "the rhythm"})
            if after.split("?")[0] == path:
                seen.errors.append(f"{path}: was not taken")
            seen.acknowledged += 1


async def load(address: str, listeners: int, seconds: float, think_s: float) -> tuple[Seen, float]:
    """So many listeners at once. Returns what they saw and the seconds that it took."""
    host, port = re.match(r"http://([\d.]+):(\d+)/", address).groups()  # type: ignore[union-attr]
    assert host == "127.0.0.1", "loopback only"
    seen, begun = Seen(), time.perf_counter()

    async def seat(number: int) -> None:
        try:
            await listen(host, int(port), seen, random.Random(number), think_s, begun + seconds)
        except (OSError, asyncio.IncompleteReadError) as error:
            seen.errors.append(repr(error))

    await asyncio.gather(*(seat(number) for number in range(listeners)))
    return seen, time.perf_counter() - begun


def main() -> int:
    """Measure, print, and say by the exit status whether all answers are there and no request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--think", type=float, nargs="+", default=[20.0, 10.0, 5.0], help="mean seconds on a page")
    args = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors")
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        print("server and load go before whatever else made the load of the machine below (chrt --fifo)")
    print(f"{args.listeners} listeners at once, {args.seconds:.0f} s for each pace; SQLite, synchronous=FULL")
    failed = False
    for think_s in args.think:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            study = small_study(folder, excerpts=10, screened=False, seconds=0.1, breaks=7)
            study = replace(study, lists=study.lists[:LISTS])
            studies.write(folder, study)
            sound = tone(SOUND_S, 440)
            for path in (folder / studies.AUDIO).glob("*.mp3"):
                path.write_bytes(sound)
            with study_server.running(folder) as server:
                busy = os.getloadavg()[0]
                before = time.process_time()
                seen, took_s = asyncio.run(load(server.address, args.listeners, args.seconds, think_s))
                own_s = time.process_time() - before
                import psutil

                times = psutil.Process(server.process.pid).cpu_times()
            form = questionnaire.load(folder / studies.QUESTIONNAIRE)
            found = database.answers(database.url_of(folder), study, form)
            stored = int(found.ratings.groupby(["listener", "trial"]).ngroups)
            stored += int((found.turing["form"] == "pair").sum()) + int(found.listeners["attention_asked"].sum())
        print(f"\nmean time on a page {think_s:g} s (load of the machine before: {busy:.1f})")
        print(f"  server: {times.user + times.system:.1f} s of processor time, this script: {own_s:.1f} s")
        print("  kind      number  per second   median      95 %      99 %  slowest, ms")
        for kind in ("page", "answer", "sound"):
            of = np.array(seen.times_ms[kind])
            ends = [*np.percentile(of, [50, 95, 99]), of.max()]
            print(f"  {kind:8}{len(of):8}{len(of) / took_s:12.1f}" + "".join(f"{end:10.1f}" for end in ends))
        print(f"  sent {seen.bytes / 1e6 / took_s:.1f} MB/s; listeners {len(found.listeners)}")
        print(f"  acknowledged trials {seen.acknowledged}, in the database {stored}; errors {len(seen.errors)}")
        for error in seen.errors[:5]:
            print(f"    {error}")
        failed |= bool(seen.errors) or stored < seen.acknowledged
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
