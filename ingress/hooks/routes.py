"""The seven URLs (and those of any platform added later), looked up by path."""

from typing import Any

import msgspec
import orjson

from broker.replies import REPLY_TO
from ingress.hooks.concurrency import ConcurrencyLimiter, ConcurrencyLimiters
from ingress.hooks.metrics import Counts
from schemas import registry, topology
from schemas.config import Config
from schemas.envelope import Stamp
from schemas.platform import Event, Platform

_STAMPS_KEPT = 16
"""Content types remembered a URL: senders use one; whoever invents more pays for the encoding each time."""


class Route:
    """One URL of one account, with all that doesn't change between requests worked out."""

    __slots__ = (
        "account",
        "asks_first",
        "counts",
        "event",
        "key",
        "limiter",
        "log",
        "name",
        "path",
        "platform",
        "questions",
        "reply_timeout",
        "settings",
        "shards",
        "stamps",
        "stamps_of_questions",
    )

    def __init__(
        self, platform: Platform, account: str, settings: Any, event: Event, limiter: ConcurrencyLimiter, *, shards: int
    ) -> None:
        self.platform = platform
        self.account = account
        self.settings = settings
        self.limiter = limiter
        self.event = event
        self.name = event.name
        self.path = f"/hooks/{platform.name}/{account}/{event.path}"
        self.key = topology.inbound_key(platform.name, account, event.name)
        self.reply_timeout: float | None = getattr(settings, event.reply.timeout_setting) if event.reply else None
        self.asks_first = event.reply is not None and event.reply.on_timeout == "accept"
        """Whether a worker judges an order before it is published: what the sender is told travels with it."""
        self.questions = topology.reply_queue(platform.name)
        self.counts = Counts(platform.name, account, event.name)
        names = {"platform": platform.name, "account": account, "event": event.name, "path": self.path}
        self.log = orjson.dumps(names)[1:-1].decode()
        self.shards = shards
        self.stamps: dict[str | None, Stamp] = {}
        self.stamps_of_questions: dict[str | None, Stamp] = {}

    def stamp(self, content_type: str | None) -> Stamp:
        """The encoder of message properties for this URL and content type, of messages that are stored."""
        stamp = self.stamps.get(content_type)
        if stamp is None:
            stamp = Stamp(self.platform.name, self.account, self.name, content_type, None, shards=self.shards)
            if len(self.stamps) < _STAMPS_KEPT:
                self.stamps[content_type] = stamp
        return stamp

    def stamp_question(self, content_type: str | None) -> Stamp:
        """The same of messages that a worker answers. A question that goes to the workers alone has no shard."""
        stamp = self.stamps_of_questions.get(content_type)
        if stamp is None:
            shards = 1 if self.asks_first else self.shards
            stamp = Stamp(self.platform.name, self.account, self.name, content_type, REPLY_TO, shards=shards)
            if len(self.stamps_of_questions) < _STAMPS_KEPT:
                self.stamps_of_questions[content_type] = stamp
        return stamp


class Routes(msgspec.Struct, frozen=True):
    """All URLs of one configuration; swapped whole on a reload."""

    by_path: dict[str, Route]

    def find(self, path: str) -> Route | None:
        """With or without one trailing slash; never a redirect (ChannelApe would count one as delivered)."""
        route = self.by_path.get(path)
        if route is None and path.endswith("/"):
            route = self.by_path.get(path[:-1])
        return route


def build(config: Config, limiters: ConcurrencyLimiters, shards: int) -> Routes:
    """Every account's every URL. `shards`: inbound queues that were seen to be bound."""
    found: dict[str, Route] = {}
    for platform in registry.platforms().values():
        for account, settings in config.accounts.get(platform.name, {}).items():
            limiter = limiters.of(platform.name, account)
            for event in platform.events:
                route = Route(platform, account, settings, event, limiter, shards=shards)
                found[route.path] = route
    return Routes(found)


def platform_of(path: str) -> Platform | None:
    """Whose language an error under this path is written in, known account or not."""
    parts = path.split("/", 3)
    return registry.platforms().get(parts[2]) if len(parts) > 3 and parts[1] == "hooks" else None
