"""What a platform is to the rest of the house: how it signs, what it sends, and how a body is read.

Each folder under `schemas/platforms/` exports one `PLATFORM` of this type; `schemas.registry` finds it. Nothing
outside that folder names the platform, so a new one is one new folder.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

import msgspec


class Unreadable(ValueError):
    """An authentic body that is not the document it should be; the text says what is wrong, for a person."""


class Query(Protocol):
    """The decoded query string; a key may stand more than once."""

    def getall(self, key: str, default: list[str], /) -> list[str]: ...


class Signed(msgspec.Struct, frozen=True):
    """What a sender puts on a request so that we believe it."""

    headers: dict[str, str] = {}
    query: dict[str, str] = {}


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a document, in the terms all platforms share. Ids stay text: `"000011"` is not 11."""

    id: str
    article: str | None = None
    name: str | None = None
    quantity: Decimal | None = None
    received: Decimal | None = None
    damaged: Decimal | None = None
    unit_price: Decimal | None = None
    total: Decimal | None = None
    unreadable: dict[str, str] | None = None
    """What was sent where a number should be and none could be read, by the field's name."""


def alias(rank: int, name: str) -> str:
    """Write what a document is recognised by: text order is order of preference. `name` is part of a key."""
    return f"{rank}{name}"


def alias_key(scope: str, best: str) -> str:
    """Return the business key of what is recognised by `best` and others under `scope`."""
    return f"{scope}/{best[1:]}"


class Reading(msgspec.Struct, frozen=True):
    """What we understood of a body: its event type, its business key, and what the projections need."""

    type: str
    key: str
    lines: tuple[Line, ...] = ()
    order_number: str | None = None
    """The order as people name it."""
    order_ref: str | None = None
    """The transfer order this document belongs to (ChannelApe's channelOrderId)."""
    warehouse_ref: str | None = None
    """The same by the warehouse's name for it; used when `order_ref` is absent."""
    carton: str | None = None
    scope: str | None = None
    """What `aliases` are unique under (a shipment); the key is `<scope>/<the best alias>`."""
    aliases: tuple[str, ...] = ()
    """Everything that this document (a carton) is recognised by, the best first, as `alias` writes it: copies of one
    document may lack some of it, so two that share any are the same. Empty: recognised by its key alone."""
    ship_from: str | None = None
    ship_to: str | None = None
    placed_at: str | None = None
    """As sent: a zone is never invented."""
    shipped_at: datetime | None = None
    """Aware."""
    goods_received_at: datetime | None = None
    """Naive: the warehouse's own clock."""
    flag_revised: bool = False
    """An order: a later version of it is flagged `revised`."""
    repeat_window: float | None = None
    """Seconds after which the same content again is a new version flagged `repeat_suspected`; None: never."""


class Reply(msgspec.Struct, frozen=True):
    """How an event that is answered by a worker is answered when the worker doesn't."""

    timeout_setting: str
    """Name of the account's setting that holds the seconds to wait."""
    on_timeout: Literal["accept", "unavailable"]
    """`accept`: the queued message is enough, answer 200. `unavailable`: 503 with Retry-After."""


class Event(msgspec.Struct, frozen=True):
    """One webhook URL of a platform."""

    name: str
    """Third part of the routing key, and the header `event`: `receipt_confirmation`."""
    path: str
    """Last part of the URL: `receipt-confirmations`."""
    types: tuple[str, ...]
    """The event types its bodies may turn out to be."""
    examples: tuple[str, ...]
    """Files under the platform's `examples/`, without `.json`; the first is the documented one."""
    reply: Reply | None = None
    """Set where the sender waits for a worker's answer."""


class Verify(Protocol):
    def __call__(self, raw: bytes, headers: Mapping[str, str], query: Query, account: Any, /) -> str | None:
        """The secret that fitted, or None. `headers` looks names up without regard to case. Never raises."""
        ...


class Sign(Protocol):
    def __call__(self, raw: bytes, account: Any, /) -> Signed:
        """What this platform would send with `raw`, using the account's first secret."""
        ...


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the pipeline needs to know about one platform."""

    name: str
    account: type[msgspec.Struct]
    """Shape of `[accounts.<name>.<account>]`; unknown keys are errors."""
    demo: tuple[str, dict[str, Any]]
    """Account name and settings used where no account is configured and we listen on loopback only."""
    events: tuple[Event, ...]
    unauthorized: Literal[401, 403]
    verify: Verify
    sign: Sign
    read: Callable[[str, bytes], Reading]
    """(event name, body) -> Reading; raises Unreadable and nothing else, whatever the bytes."""
    decode: Callable[[str, bytes], msgspec.Struct]
    """(event name, body) -> the wire Struct; raises Unreadable and nothing else. Encoding it again loses nothing."""
    refuse: Callable[[str, bytes, Any], str | None] | None = None
    """(event name, body, account) -> why the account doesn't take this document, for its sender; None: it does."""
    repair: Callable[[bytes], bytes | None] | None = None
    """For documented bodies that are no JSON: the JSON that was meant, or None if this isn't such a body."""
    secrets: Callable[[Any], Sequence[str]]
    """Every secret of an account; what must never be seen in a log."""
    sign_answer: Callable[[bytes, str, Any], dict[str, str]] | None = None
    """(body, secret that fitted, account) -> headers that sign our answer."""
    error: Callable[[int, str | None], tuple[str, bytes]] | None = None
    """(status, Accept-Language) -> content type and body of our own errors; None: problem+json."""
    vary: Callable[[str, bytes, str], bytes] | None = None
    """(event name, example body, a fresh id) -> the same document under another business key, for `crossdock send`."""
