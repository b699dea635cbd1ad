"""The webhook URLs of all accounts, looked up by path, and the query string of a request target."""

import re
from urllib.parse import unquote, unquote_plus

import msgspec
import orjson

from broker.replies import REPLY_TO
from ingress.hooks.concurrency import ConcurrencyLimiter, ConcurrencyLimiters
from ingress.hooks.metrics import RouteMetrics
from schemas import registry, topology
from schemas.config import Config
from schemas.envelope import Stamp
from schemas.platform import Event, Platform

_SLASHES = re.compile("//+")
_STAMPS_KEPT = 16
"""Content types remembered per URL. Senders use one; a sender that invents more pays for the encoding each time."""


class Route:
    """One URL of one account, with everything that does not change between requests computed once."""

    __slots__ = (
        "account",
        "asks_first",
        "event",
        "key",
        "limiter",
        "log",
        "metrics",
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
        self,
        platform: Platform,
        account: str,
        settings: object,
        event: Event,
        limiter: ConcurrencyLimiter,
        *,
        shards: int,
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
        """Seconds that the sender waits for a worker's answer; None if it waits for none."""
        self.asks_first = event.reply is not None and event.reply.on_timeout == "accept"
        """Whether a worker gives its verdict before the order is published, so that the verdict travels with it."""
        self.questions = topology.reply_queue(platform.name)
        self.metrics = RouteMetrics(platform.name, account, event.name)
        members = {"platform": platform.name, "account": account, "event": event.name, "path": self.path}
        self.log = orjson.dumps(members)[1:-1].decode()
        self.shards = shards
        self.stamps: dict[str | None, Stamp] = {}
        self.stamps_of_questions: dict[str | None, Stamp] = {}

    def stamp(self, content_type: str | None) -> Stamp:
        """Return the encoder of the properties of messages that are stored, for this URL and content type."""
        return self.stamps.get(content_type) or self._new_stamp(self.stamps, content_type, None, self.shards)

    def stamp_question(self, content_type: str | None) -> Stamp:
        """Return the encoder of the properties of messages that a worker answers.

        A question that is sent to the workers alone has no shard.
        """
        stamps, shards = self.stamps_of_questions, 1 if self.asks_first else self.shards
        return stamps.get(content_type) or self._new_stamp(stamps, content_type, REPLY_TO, shards)

    def _new_stamp(
        self, stamps: dict[str | None, Stamp], content_type: str | None, reply_to: str | None, shards: int
    ) -> Stamp:
        stamp = Stamp(self.platform.name, self.account, self.name, content_type, reply_to, shards=shards)
        if len(stamps) < _STAMPS_KEPT:
            stamps[content_type] = stamp
        return stamp


class Routes(msgspec.Struct, frozen=True):
    """All URLs of one configuration; a reload replaces the whole of it."""

    by_path: dict[str, Route]

    def find(self, path: str) -> Route | None:
        """Return the route of a path, also if it is written in another way (`_in_plain_form`).

        A redirect would not do: ChannelApe would count it as delivered.
        """
        return self.by_path.get(path) or self.by_path.get(_in_plain_form(path))


def build(config: Config, limiters: ConcurrencyLimiters, shards: int) -> Routes:
    """Return every URL of every account. `shards`: inbound queues that are known to be bound."""
    by_path: dict[str, Route] = {}
    for platform in registry.platforms().values():
        for account, settings in config.accounts.get(platform.name, {}).items():
            limiter = limiters.of(platform.name, account)
            for event in platform.events:
                route = Route(platform, account, settings, event, limiter, shards=shards)
                by_path[route.path] = route
    return Routes(by_path)


def _in_plain_form(path: str) -> str:
    """Return the path without repeated and trailing slashes, and without needless percent-encoding.

    People join a base URL that ends with a slash and a path that begins with one, and some clients encode hyphens. An
    encoded letter, digit or hyphen is the same as a plain one (RFC 3986 §2.3); an encoded slash is not a separator.
    """
    if "%" in path and "%2f" not in path.lower():
        path = unquote(path)
    return _SLASHES.sub("/", path).removesuffix("/")


def platform_of(path: str) -> Platform | None:
    """Return the platform in whose form errors under this path are written, whether or not the account exists."""
    parts = _in_plain_form(path).split("/", 3)
    return registry.platforms().get(parts[2]) if len(parts) > 3 and parts[1] == "hooks" else None


def path_of(target: str) -> str:
    """Return the path of a request target, without the query string.

    Servers must accept the absolute form, `http://host/path`, from clients too (RFC 9112 §3.2.2). Its host would go
    before the `Host` header; neither decides anything here.
    """
    if not target.startswith("/"):
        scheme, separator, rest = target.partition("://")
        if separator and scheme.lower() in ("http", "https"):
            _, slash, path = rest.partition("?")[0].partition("/")
            return slash + path or "/"
    return target.partition("?")[0]


class Query:
    """The query string of a request target, decoded only if a platform reads it."""

    __slots__ = ("_target",)

    def __init__(self, target: str) -> None:
        self._target = target

    def getall(self, key: str, default: list[str], /) -> list[str]:
        """Return every value of a key, in each form that its sender may have meant.

        A secret such as `KBc+fU/5==` is sent percent-encoded by some and as it is by others, so a value counts as it
        stands, with percent escapes decoded, and with `+` for a blank as well.
        """
        query = self._target.partition("?")[2]
        if "#" in query:
            query = query.partition("#")[0]
        if "&" not in query and "%" not in query and "+" not in query:  # most: nothing to take apart or to decode
            name, _, value = query.partition("=")
            return [value] if name == key else default
        values: list[str] = []
        for pair in query.split("&"):
            name, _, value = pair.partition("=")
            if name == key or unquote_plus(name) == key or unquote(name) == key:
                values += _forms(value)
        return values or default


def _forms(value: str) -> list[str]:
    if "%" not in value and "+" not in value:
        return [value]
    return list(dict.fromkeys((value, unquote(value), unquote_plus(value))))
