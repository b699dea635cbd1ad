"""The interface that every platform plug-in implements: how it signs, what it sends and how a body is parsed.

Each folder under `schemas/platforms/` exports one `PLATFORM` of this type, which `schemas.registry` discovers. Code
outside that folder does not name the platform, with the exceptions that CONTRIBUTING.md lists.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, cast

import msgspec

from schemas.allocation import AllocationWords, ItemAllocation

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Account = TypeVar("Account", bound=msgspec.Struct, default=Any)
    ContraAccount = TypeVar("ContraAccount", bound=msgspec.Struct, contravariant=True)
else:  # `default` is new in Python 3.13
    from typing import TypeVar

    Account = ContraAccount = TypeVar("Account", bound=msgspec.Struct)
"""The Struct of one account's settings. Only a platform's own modules know it; `Platform` alone means any platform."""


class UnreadableError(ValueError):
    """Raised for an authentic body that is not the expected document; the text explains the reason to a person."""


class Query(Protocol):
    """The decoded query string, in which a key may occur more than once."""

    def getall(self, key: str, default: list[str], /) -> list[str]: ...


class Signed(msgspec.Struct, frozen=True):
    """The headers and query parameters with which a sender authenticates a request."""

    headers: dict[str, str] = {}
    query: dict[str, str] = {}


class Line(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One line of a document, in terms common to all platforms. IDs remain text: `"000011"` is not 11."""

    id: str
    article: str | None = None
    name: str | None = None
    quantity: Decimal | None = None
    received: Decimal | None = None
    damaged: Decimal | None = None
    unit_price: Decimal | None = None
    total: Decimal | None = None
    unreadable: dict[str, str] | None = None
    """Values that were sent for numeric fields but could not be parsed as numbers, by field name."""


def alias(rank: int, name: str) -> str:
    """Return an alias of a document: sorting aliases as text sorts them by preference.

    `rank` is 0 for the preferred identifier; `name` is the identifier as it appears in a business key.
    """
    return f"{rank}{name}"


def alias_key(scope: str, best: str) -> str:
    """Return the business key of a document whose preferred alias within `scope` is `best`."""
    return f"{scope}/{best[1:]}"


class ParsedDocument(msgspec.Struct, frozen=True, gc=False):
    """The result of parsing a body: its event type, its business key, and the fields that the projections need."""

    type: str
    key: str
    lines: tuple[Line, ...] = ()
    order_number: str | None = None
    """The order number that people use."""
    order_ref: str | None = None
    """The transfer order that this document belongs to (ChannelApe's channelOrderId)."""
    warehouse_ref: str | None = None
    """The warehouse's own ID of that transfer order, used when `order_ref` is absent."""
    carton: str | None = None
    scope: str | None = None
    """The scope within which `aliases` are unique (a shipment); the key is `<scope>/<preferred alias>`."""
    aliases: tuple[str, ...] = ()
    """All identifiers of this document (a carton), the preferred one first, as returned by `alias`.

    Copies of one document may lack some identifiers, so two copies that share any of them are the same document. If
    empty, the document is identified by its key alone.
    """
    numbers: tuple[str, ...] = ()
    """Further numbers by which people look for this document, in any order: its customer, its parcel, its items.

    It is found by its key, by the numbers and references above and by the articles of its lines as well.
    """
    ship_from: str | None = None
    ship_to: str | None = None
    placed_at: str | None = None
    """The time as sent; a missing time zone is not filled in."""
    shipped_at: datetime | None = None
    """Time of shipment, timezone-aware."""
    goods_received_at: datetime | None = None
    """Time of receipt by the warehouse's own clock, naive."""
    due_at: datetime | None = None
    """Time by which the goods are expected, timezone-aware."""
    unreadable_date: bool = False
    """Whether a date or time was sent that could not be read, and is None here."""
    flag_revised: bool = False
    """Whether later versions of the document are flagged `revised`; True for orders."""
    repeat_window: float | None = None
    """Seconds after which identical content becomes a new version flagged `repeat_suspected`; None: never."""

    def searchable_numbers(self) -> set[str]:
        """Return the numbers by which the document is found, except its key."""
        numbers = {self.order_number, self.order_ref, self.warehouse_ref, self.carton, *self.numbers}
        numbers.discard(None)
        numbers.discard(self.key)
        return cast("set[str]", numbers)

    def searchable_articles(self) -> set[str]:
        """Return the articles by which the document is found."""
        articles = {line.article for line in self.lines}
        articles.discard(None)
        return cast("set[str]", articles)


class Reply(msgspec.Struct, frozen=True):
    """The response to a synchronous event when no worker replies in time."""

    timeout_setting: str
    """Name of the account setting that holds the number of seconds to wait."""
    on_timeout: Literal["accept", "unavailable"]
    """`accept`: respond 200, because the message is safely queued. `unavailable`: respond 503 with Retry-After.

    `accept` also decides the sequence. The worker is asked first, in a message to its own queue alone, and the message
    that is stored is published after that, with the worker's verdict. The sender receives a refusal as the worker wrote
    it, but not the body of a worker's 200: its response is then our own 200. With `unavailable`, one message goes to
    the store and to the worker at once, and the sender receives the worker's response whatever its status.
    """


class Event(msgspec.Struct, frozen=True):
    """One webhook URL of a platform."""

    name: str
    """Third part of the routing key, and value of the header `event`, for example `receipt_confirmation`."""
    path: str
    """Last part of the URL, for example `receipt-confirmations`."""
    types: tuple[str, ...]
    """The event types that its bodies can have."""
    examples: tuple[str, ...]
    """Names of files in the platform's `examples/`, without `.json`; the first is the platform's documented example."""
    reply: Reply | None = None
    """Set if the sender waits for a worker's reply."""
    is_purchase_order: bool = False
    """Whether its documents are orders to a supplier, whose lines have an article, a quantity and prices; dialects that
    have a format of their own for orders translate them."""
    is_about_transfers: bool = False
    """Whether its documents are stock transfer orders, or belong to one: the view `transfers` is computed from them."""


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """Additional events about an answered order: one for each recipient of a share of its items.

    They are published and delivered like the order's own event. The routing key has one word more: the recipient's ID.
    """

    event_type: str
    """The type of these events, for example `ustore.manufacturer_order`."""
    recipient: str
    """What a recipient is called in the documentation of routing keys, for example `manufacturer`."""
    recipient_id: str
    """What identifies a recipient, for people: `The manufacturer's id in uStore.`"""
    payload: type[msgspec.Struct]
    """The Struct that describes the events' `data`."""
    split: Callable[[bytes, Iterable[ItemAllocation]], dict[str, bytes]]
    """(order, allocations) -> encoded `data` by recipient. Raises UnreadableError if the bytes are not an order."""


class Verify(Protocol[ContraAccount]):
    def __call__(self, raw: bytes, headers: Mapping[str, str], query: Query, account: ContraAccount, /) -> str | None:
        """Return the secret that verified the request, or None. Never raises.

        `headers` must look names up case-insensitively.
        """
        ...


class Sign(Protocol[ContraAccount]):
    def __call__(self, raw: bytes, account: ContraAccount, /) -> Signed:
        """Return what this platform would send with `raw`, using the account's first secret."""
        ...


class Platform(msgspec.Struct, Generic[Account], frozen=True, kw_only=True):
    """Everything the pipeline needs to know about one platform."""

    name: str
    account: type[Account]
    """Schema of `[accounts.<name>.<account>]`; unknown keys are errors."""
    demo: tuple[str, dict[str, object]]
    """Name and settings of the demo account, used if no account is configured and the ingress is bound to loopback."""
    events: tuple[Event, ...]
    unauthorized: Literal[401, 403]
    verify: Verify[Account]
    sign: Sign[Account]
    read: Callable[[str, bytes], ParsedDocument]
    """(event name, body) -> ParsedDocument. Raises only UnreadableError, for any input.

    Its `numbers` and the articles of its lines are what people find the document by. They come with the rest of the
    reading because another hook would have to decode every body a second time.
    """
    decode: Callable[[str, bytes], msgspec.Struct]
    """(event name, body) -> the wire Struct. Raises only UnreadableError. Encoding the Struct again loses nothing."""
    refuse: Callable[[str, bytes, Account], str | None] | None = None
    """(event name, body, account) -> the reason, for the sender, why the account rejects the document; None: accept."""
    repair: Callable[[bytes], bytes | None] | None = None
    """For documented bodies that are not JSON: (body) -> the intended JSON, or None if this is not such a body."""
    secrets: Callable[[Account], Sequence[str]]
    """(account) -> all secrets of the account, which must never appear in a log."""
    sign_answer: Callable[[bytes, str, Account], dict[str, str]] | None = None
    """(body, secret that verified the request, account) -> headers that sign our response."""
    error: Callable[[int, str | None], tuple[str, bytes]] | None = None
    """(status, Accept-Language) -> content type and body of our own error responses; None: problem+json."""
    announcement: Announcement | None = None
    """Set if the recipients of an answered order's items get events of their own."""
    allocation_words: Callable[[Account], AllocationWords] | None = None
    """(account) -> its manufacturers and rules in words, for the page of an answered order."""
    personal_fields: tuple[str, ...] = ()
    """Names of the members of a body that hold what names, locates or reaches a person, at any depth, with all that is
    below them. Names are compared without regard to case, `@`, `_` and `-`. The console hides them until somebody asks
    to see them."""
    with_new_key: Callable[[str, bytes, str], bytes] | None = None
    """(event name, example body, new ID) -> the same document under another business key, for `crossdock send`."""
