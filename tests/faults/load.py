"""Signed webhooks of all platforms at a bounded rate, sent as platforms send them: some come twice, what was refused
comes again."""

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
"""Share of accepted posts that come once more: platforms repeat what they believe lost."""
AGAIN = 0.6
"""Share of posts not accepted that come once more, after `PAUSE`; the rest is given up."""
PAUSE = 0.7
UNDER_WAY = 200
"""Posts at a time at most: beyond, the rate falls."""


class Load:
    """Posts from `running` until its end; everything is written down in the ledger."""

    def __init__(self, url: str, config: Config, ledger: Ledger, *, rate: float, seed: int) -> None:
        """`rate`: posts a second. `seed`: of which are repeated; also tells the keys of two runs apart."""
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
        """Post these once each, several at a time, whatever is answered; return the posts. `on_record`: the ledger has
        them, so that the verdict is also about them."""
        free = asyncio.Semaphore(at_once)

        async def post_one(session: aiohttp.ClientSession, body: Body) -> Post:
            async with free:
                return await self._post(session, body, on_record=on_record)

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=4 * TIMEOUT)) as session:
            return await asyncio.gather(*(post_one(session, body) for body in bodies))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Posts while the context lasts; at its end every post has its answer or its time-out."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        connector = aiohttp.TCPConnector(limit=UNDER_WAY)
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
            if len(self._tasks) >= UNDER_WAY:
                continue
            due = bool(self._again) and self._again[0][0] <= time.monotonic()
            body = self._again.popleft()[1] if due else next(self._fresh)
            task = asyncio.create_task(self._post_and_repeat(session, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _post_and_repeat(self, session: aiohttp.ClientSession, body: Body) -> None:
        post = await self._post(session, body)
        if self._random.random() < (REPEATED if post.accepted else AGAIN):
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
