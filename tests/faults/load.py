"""Signed webhooks of all platforms at a bounded rate. Like those of platforms, some are sent twice, and most that were
refused are sent again."""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

import aiohttp
import msgspec

from schemas import registry
from schemas.config import Config
from tests.faults.ledger import ERROR, Body, Ledger, Post, bodies

TIMEOUT = 12.0
"""Seconds that a platform waits for an answer."""
REPEATED = 0.1
"""Share of accepted posts that are sent once more, because platforms repeat what they believe lost."""
RETRIED = 0.6
"""Share of posts not accepted that are sent once more; the others are not retried."""
PAUSE = 0.7
"""Seconds until a post is sent once more."""
MAX_IN_FLIGHT = 200
"""Maximum posts in progress: at this number the rate falls."""


class Load:
    """Sends posts while `running` lasts, and records them in the ledger."""

    def __init__(self, url: str, config: Config, ledger: Ledger, *, rate: float, seed: int) -> None:
        """`rate`: posts per second. `seed`: decides which posts are repeated, and makes the keys of a run."""
        self.rate = rate
        self._url = url
        self._config = config
        self._ledger = ledger
        self._random = random.Random(seed)
        self._fresh = bodies(seed)
        self._again: deque[tuple[float, Body]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def fresh(self, platform: str | None = None) -> Body:
        """Return a document that was not sent before, of this platform or of any."""
        return next(body for body in self._fresh if platform in (None, body.platform))

    async def post_all(self, bodies: Iterable[Body], *, at_once: int = 50, on_record: bool = True) -> list[Post]:
        """Post each of these once, several at a time, whatever the answers are; return the posts. `on_record`: whether
        they are in the ledger, so that the verdict is also about them."""
        free = asyncio.Semaphore(at_once)

        async def post_one(session: aiohttp.ClientSession, body: Body) -> Post:
            async with free:
                return await self._post(session, body, on_record=on_record)

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=4 * TIMEOUT)) as session:
            return await asyncio.gather(*(post_one(session, body) for body in bodies))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send posts while the context lasts; when it ends, every post has its answer or its time-out."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        connector = aiohttp.TCPConnector(limit=MAX_IN_FLIGHT)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            posting = asyncio.create_task(self._run(session), name="load")
            try:
                yield
            finally:
                posting.cancel()
                await asyncio.gather(posting, return_exceptions=True)
                await asyncio.gather(*self._tasks)

    async def _run(self, session: aiohttp.ClientSession) -> None:
        started, number = time.monotonic(), 0
        while True:
            await asyncio.sleep(max(0.0, started + number / self.rate - time.monotonic()))
            number += 1
            if len(self._tasks) >= MAX_IN_FLIGHT:
                continue
            due = bool(self._again) and self._again[0][0] <= time.monotonic()
            body = self._again.popleft()[1] if due else next(self._fresh)
            task = asyncio.create_task(self._post_and_repeat(session, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _post_and_repeat(self, session: aiohttp.ClientSession, body: Body) -> None:
        post = await self._post(session, body)
        if self._random.random() < (REPEATED if post.accepted else RETRIED):
            self._again.append((time.monotonic() + PAUSE, body))

    async def _post(self, session: aiohttp.ClientSession, body: Body, *, on_record: bool = True) -> Post:
        platform = registry.platforms()[body.platform]
        account, settings = next(iter(self._config.accounts[body.platform].items()))
        content = body.content
        signed = platform.sign(content, settings)
        url = f"{self._url}/hooks/{body.platform}/{account}/{registry.event(body.platform, body.event).path}"
        headers = {"Content-Type": "application/json", **signed.headers}
        post = self._ledger.begin(body) if on_record else Post(body, time.monotonic())
        try:
            async with session.post(url, data=content, headers=headers, params=signed.query) as answer:
                post.answer = await answer.read()
                if 200 <= answer.status < 300:
                    post.id = UUID(answer.headers.get("X-Crossdock-Id") or msgspec.json.decode(post.answer)["id"])
                post.status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            post.status = ERROR
        post.ended = time.monotonic()
        return post
