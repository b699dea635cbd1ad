"""Request and response bodies of the API (contract §6 and §7). The OpenAPI document is built from these."""

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingress.outbound import HIGHEST_RATE, MOST_IN_FLIGHT
from schemas.config import Delay

T = TypeVar("T")

Url = Annotated[str, Meta(min_length=1, max_length=4096, examples=["https://example.com/hook"])]
Pattern = Annotated[str, Meta(min_length=1, max_length=255, examples=["channelape.*"])]
Patterns = Annotated[list[Pattern], Meta(min_length=1, max_length=100)]
Schedule = Annotated[list[Delay], Meta(min_length=1, max_length=50)]
Rate = Annotated[float, Meta(gt=0, le=HIGHEST_RATE)]
InFlight = Annotated[int, Meta(ge=1, le=MOST_IN_FLIGHT)]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]
_KEY = r"^[!-~]{1,64}$"
FORMATS = {_KEY: "1 to 64 visible ASCII characters without blanks, such as @authtoken"}
"""What the texts of a pattern look like, for those who send one that does not match."""
Key = Annotated[str, Meta(pattern=_KEY, examples=["@authtoken"])]
"""Visible ASCII of any kind, because it is percent-encoded in the URL."""

Filter = Annotated[
    msgspec.Raw,
    Meta(
        description="Conditions on the CloudEvent, in docs/filters.md; null for none",
        examples=[{"data": {"locationId": "819"}}],
        extra_json_schema={"type": ["object", "null"], "minProperties": 1},
    ),
]
Payload = Annotated[
    Literal["full", "thin"],
    Meta(description="thin: without `data`, and with `dataref`, the URL of the whole event; for dialect standard"),
]
NO_FILTER = msgspec.Raw(b"null")

AtLeast = Annotated[
    bool,
    Meta(description="true if there are too many to count: `count` is where counting stopped; else absent"),
]

Status = Literal["pending", "delivered", "failed", "cancelled", "superseded"]


def _trimmed(patterns: list[str]) -> list[str]:
    """Return patterns without blanks at their ends, which none can have."""
    return [pattern.strip() for pattern in patterns]


class NewSubscription(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A URL to register, and the events to send to it."""

    url: Url
    types: Patterns = msgspec.field(default_factory=lambda: ["*"])
    """Patterns of event types; `*` matches any characters."""
    accounts: Patterns | None = None
    """Patterns of `platform/account`; by default all that you may see."""
    dialect: str = "standard"
    secret: Text | None = None
    """Generated if absent; shown in this response only."""
    authorization: Text | None = None
    query_key: Key | None = None
    schedule: Schedule | None = None
    """Seconds after the previous attempt."""
    max_rate: Rate | None = None
    """Maximum number of deliveries per second."""
    max_in_flight: InFlight = 10
    filter: Filter = msgspec.field(default_factory=lambda: NO_FILTER)
    payload: Payload = "full"
    enabled: bool = True

    def __post_init__(self) -> None:
        self.types = _trimmed(self.types)
        if self.accounts is not None:
            self.accounts = _trimmed(self.accounts)


class Changes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The fields to change; absent fields keep their value."""

    url: Url | UnsetType = UNSET
    types: Patterns | UnsetType = UNSET
    accounts: Patterns | UnsetType = UNSET
    authorization: Text | UnsetType | None = UNSET
    query_key: Key | UnsetType = UNSET
    schedule: Schedule | UnsetType | None = UNSET
    max_rate: Rate | UnsetType | None = UNSET
    max_in_flight: InFlight | UnsetType = UNSET
    filter: Filter | UnsetType = UNSET
    payload: Payload | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.types is not UNSET:
            self.types = _trimmed(self.types)
        if self.accounts is not UNSET:
            self.accounts = _trimmed(self.accounts)


class Missed(msgspec.Struct, rename={"begin": "from", "end": "to"}):
    """A period of time, in the form that a replay takes."""

    begin: datetime
    end: Annotated[datetime | None, Meta(description="null while the period has not ended")]


class Subscription(msgspec.Struct, kw_only=True):
    """A registered URL, as the API shows it."""

    id: UUID
    url: str
    types: list[str]
    accounts: list[str]
    dialect: str
    query_key: str | None
    schedule: list[float] | None
    max_rate: float | None
    max_in_flight: int
    filter: Annotated[msgspec.Raw | None, Meta(description="Conditions on the CloudEvent, as they were sent")]
    payload: Payload
    enabled: bool
    disabled_reason: str | None
    disabled_at: Annotated[
        datetime | None, Meta(description="Since when it has been disabled; null while it is enabled")
    ]
    missed: Annotated[
        Missed | None,
        Meta(
            description="When it was last disabled; post it to `/v1/subscriptions/{id}/replay` to get what was missed"
        ),
    ]
    has_authorization: Annotated[
        bool | None,
        Meta(description="null if the service's keys cannot decrypt its secrets; rotate them to create new ones"),
    ]
    created_at: datetime
    updated_at: datetime


class CreatedSubscription(Subscription, kw_only=True):
    """The new subscription with its secret, which is not shown again."""

    secret: str | None


class Secret(msgspec.Struct):
    """The new secret, which is not shown again."""

    secret: str


class Delivery(msgspec.Struct, kw_only=True):
    """One event for one subscription."""

    id: UUID
    subscription_id: UUID
    event_id: UUID
    type: str
    key: str
    version: int
    status: Status
    attempts: int
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


class Attempt(msgspec.Struct, kw_only=True):
    """One HTTP request to the subscriber."""

    attempt: int
    at: datetime
    outcome: Literal["delivered", "refused", "timeout", "connection", "tls", "blocked"]
    status_code: int | None
    duration_ms: float
    response: str
    """The first 4 KiB of the response body."""
    error: str | None


class DeliveryWithAttempts(Delivery, kw_only=True):
    """A delivery with all its attempts."""

    history: list[Attempt]


class DeliveryId(msgspec.Struct):
    """The delivery that was created."""

    delivery_id: UUID


class EventId(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The event to compare."""

    event_id: UUID


class Decision(msgspec.Struct, kw_only=True):
    """The condition that decided that an event does not match."""

    path: str
    """Where it is in the event, such as `data.locationId`; `accounts` and `types` are those of the subscription."""
    condition: Annotated[object, Meta(description="What must hold there", extra_json_schema={})]
    value: Annotated[
        object, Meta(description="What the event has there, shortened; null if it has nothing", extra_json_schema={})
    ]


class Match(msgspec.Struct, kw_only=True):
    """Whether an event matches a subscription."""

    matches: bool
    decided_by: Annotated[Decision | None, Meta(description="null if it matches")]
    compared: bool
    """False if the event's arrays are too long to be compared: such an event is sent."""


class NewReplay(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename={"begin": "from", "end": "to"}):
    """Which events to send again."""

    begin: Annotated[datetime, Meta(tz=True)]
    """Events received at or after this time."""
    end: Annotated[datetime, Meta(tz=True)] | None = None
    """Events received before this time; by default now."""
    types: Patterns | None = None
    key: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.types is not None:
            self.types = _trimmed(self.types)


class Replay(msgspec.Struct, omit_defaults=True):
    """The replay that was started."""

    replay_id: UUID
    count: int
    """Number of events that it sends."""
    at_least: AtLeast = False


class Count(msgspec.Struct, omit_defaults=True):
    """The number of events that a replay would send."""

    count: int
    """Number of events that it would send."""
    at_least: AtLeast = False


class Page(msgspec.Struct, Generic[T]):
    """One page of a list; `next` is the cursor of the next page, null on the last one."""

    data: list[T]
    next: str | None


class FieldError(msgspec.Struct):
    """What is wrong with one field."""

    field: str
    detail: str


class ProblemDetails(msgspec.Struct, kw_only=True):
    """An error as described by RFC 9457."""

    title: str
    status: int
    detail: str | UnsetType = UNSET
    errors: list[FieldError] | UnsetType = UNSET
