"""What a demo posts, and what becomes of it."""

import os
from collections.abc import Iterator
from typing import NamedTuple
from uuid import uuid4

import msgspec

from schemas import registry
from schemas.config import Config
from schemas.platform import Event, Platform

OTHERS = ("DATABASE_URL", "AMQP_URL")
"""With servers that were there before, an example may have come before too: then each gets a key of its own."""


class DemoArrival(NamedTuple):
    """One thing that a post became. A new kind of outcome is one more of these."""

    kind: str
    what: str
    ms: float | None = None
    """After the post began."""


class Post(msgspec.Struct, kw_only=True):
    """One example, and what became of it."""

    platform: Platform
    event: Event
    example: str
    account: str
    body: bytes
    began: float = 0.0
    """Unix seconds, as everything is that compares moments of several processes."""
    status: int = 0
    ms: float = 0.0
    id: str = ""
    answer: dict[str, str] = {}
    """uStore's: which manufacturer each item goes to."""
    came: list[DemoArrival] = []
    problem: str | None = None

    @property
    def name(self) -> str:
        return f"{self.platform.name} {self.example}"

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
    """An example of every type of every event, to the first account of its platform."""
    fresh = uuid4().hex[:12] if any(os.environ.get(name) for name in OTHERS) else None
    for platform in registry.platforms().values():
        for event in platform.events:
            for example in event.examples[: len(event.types)]:
                body = registry.example(platform.name, example)
                if fresh is not None and platform.with_new_key is not None:
                    body = platform.with_new_key(event.name, body, fresh)
                account = next(iter(config.accounts[platform.name]))
                yield Post(platform=platform, event=event, example=example, account=account, body=body)
