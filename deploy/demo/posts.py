"""The posts of a demo, and their results."""

import os
from collections.abc import Iterator
from typing import NamedTuple
from uuid import uuid4

import msgspec

from schemas import registry
from schemas.config import Config
from schemas.platform import Event, Platform

OTHERS = ("DATABASE_URL", "AMQP_URL")
"""Variables of existing servers, which may hold the examples already: then each example gets a key of its own."""


class DemoArrival(NamedTuple):
    """One place where a post arrived, or one result of it."""

    kind: str
    what: str
    ms: float | None = None
    """Milliseconds since the post was sent."""


class Post(msgspec.Struct, kw_only=True):
    """One example, and its results."""

    platform: Platform
    event: Event
    example: str
    account: str
    body: bytes
    started_at: float = 0.0
    """Unix seconds, because it is compared with times of other processes."""
    status: int = 0
    ms: float = 0.0
    id: str = ""
    answer: dict[str, str] = {}
    """If `is_allocated`: the recipient that each item goes to."""
    arrivals: list[DemoArrival] = []
    problem: str | None = None

    @property
    def name(self) -> str:
        return f"{self.platform.name} {self.example}"

    @property
    def is_allocated(self) -> bool:
        """Whether the response says which recipient each item goes to; recipients have events of their own."""
        return self.event.reply is not None and self.platform.announcement is not None

    @property
    def workers(self) -> tuple[str, ...]:
        return ("route", "store", "deliver") if self.event.reply else ("store", "deliver")


class WatchedEvent(NamedTuple):
    """One message on `crossdock.events`."""

    id: str
    subject: str
    routing_key: str
    at: float


def examples(config: Config) -> Iterator[Post]:
    """Yield an example of every type of every event, for the first account of its platform."""
    fresh = uuid4().hex[:12] if any(os.environ.get(name) for name in OTHERS) else None
    for platform in registry.platforms().values():
        for event in platform.events:
            for example in event.examples[: len(event.types)]:
                body = registry.example(platform.name, example)
                if fresh is not None and platform.with_new_key is not None:
                    body = platform.with_new_key(event.name, body, fresh)
                account = next(iter(config.accounts[platform.name]))
                yield Post(platform=platform, event=event, example=example, account=account, body=body)
