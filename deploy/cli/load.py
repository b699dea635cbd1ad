"""Posts many requests over a few connections and measures them. Nothing is retried, as with a real sender."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import aiohttp
import msgspec

from deploy.cli.errors import reason

TIMEOUT = 30.0
"""Seconds for one post, which is more than any answer takes."""
ERROR = "error"
"""Status under which posts without an answer are counted."""
LONGEST_HEADER = 64 * 1024
"""Maximum bytes of a header line of an answer; proxies in front of the ingress may add long ones."""
SHOWN = 500
"""Maximum characters of an answer that are shown."""
REDRAW = 0.2
"""Seconds between two updates of the progress bar."""


class Request(NamedTuple):
    """One webhook to post, complete with its signature."""

    body: bytes
    headers: dict[str, str]
    query: dict[str, str]


class Summary(msgspec.Struct, kw_only=True):
    """The results of all posts of one run."""

    posted: int
    seconds: float
    per_second: float
    statuses: dict[str, int]
    """Number of posts by the status of their answer; `error`: not answered."""
    latency_ms: dict[str, float]
    """p50, p90, p99 and max over all posts, answered or not."""
    answer: str
    """Body of the last answer."""
    first_failure: str | None
    """Status and body of the first post that was not answered 2xx, or why there was no answer."""

    @property
    def all_accepted(self) -> bool:
        return all(status.startswith("2") for status in self.statuses)


class Tally:
    """Counts the answers as they arrive."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.answer = ""
        self.first_failure: str | None = None

    def add(self, status: str, text: str, seconds: float) -> None:
        self.statuses[status] += 1
        self.latencies.append(seconds)
        self.answer = text
        if self.first_failure is None and not status.startswith("2"):
            self.first_failure = f"{status} {text}"

    def summary(self, seconds: float) -> Summary:
        """Return the summary of a run that took `seconds`."""
        ordered = sorted(self.latencies)
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        return Summary(
            posted=len(ordered),
            seconds=round(seconds, 3),
            per_second=round(len(ordered) / seconds, 1) if seconds else 0.0,
            statuses=dict(sorted(self.statuses.items())),
            latency_ms={name: round(quantile(ordered, share) * 1000, 3) for name, share in shares.items()},
            answer=self.answer,
            first_failure=self.first_failure,
        )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value such that at least `share` of the values are not above it (nearest rank)."""
    rank = -int(-len(ordered) * share // 1)
    return ordered[min(max(rank, 1), len(ordered)) - 1]


async def post(
    url: str, make: Callable[[], Request], count: int, rate: float | None, connections: int, *, bar: bool
) -> Summary:
    """Post `count` requests, at most `rate` per second, over at most `connections` connections."""
    tally = Tally()
    numbers = iter(range(count))
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    connector = aiohttp.TCPConnector(limit=0)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=jar,
        max_line_size=LONGEST_HEADER,
        max_field_size=LONGEST_HEADER,
        max_headers=1000,
    ) as session:
        started = time.perf_counter()

        async def poster() -> None:
            for number in numbers:
                if rate is not None:
                    await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
                await _post(session, url, make(), tally)

        watching = asyncio.create_task(_watch(tally, count)) if bar else None
        await asyncio.gather(*(poster() for _ in range(min(connections, count))))
        seconds = time.perf_counter() - started
        if watching is not None:
            await watching
    return tally.summary(seconds)


async def _post(session: aiohttp.ClientSession, url: str, request: Request, tally: Tally) -> None:
    started = time.perf_counter()
    try:
        async with session.post(
            url, data=request.body, headers=request.headers, params=request.query, allow_redirects=False
        ) as response:
            body = await response.read()
            status, text = str(response.status), body[:SHOWN].decode("utf-8", "replace")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        status, text = ERROR, _why(error)
    tally.add(status, text, time.perf_counter() - started)


def _why(error: Exception) -> str:
    """Return why a post failed, without the library's text where it may hold the URL, whose query is a secret."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host}:{error.port}: {reason(error.os_error)}"
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    if isinstance(error, aiohttp.InvalidURL):
        return "the URL can't be read"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed before an answer"
    return reason(error) if isinstance(error, OSError) else type(error).__name__


async def _watch(tally: Tally, count: int) -> None:
    """Draw a progress bar on standard error from time to time: drawing every post would cost more than the post."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("posting"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, auto_refresh=False, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=count)
        while (done := len(tally.latencies)) < count:
            progress.update(task, completed=done, refresh=True)
            await asyncio.sleep(REDRAW)
        progress.update(task, completed=count, refresh=True)
