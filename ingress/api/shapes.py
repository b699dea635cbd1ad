"""What the API takes and gives (contract §6 and §7). The OpenAPI document is made of these."""

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

T = TypeVar("T")

Url = Annotated[str, Meta(min_length=1, max_length=4096, examples=["https://example.com/hook"])]
Pattern = Annotated[str, Meta(min_length=1, max_length=255, examples=["channelape.*"])]
Patterns = Annotated[list[Pattern], Meta(min_length=1, max_length=100)]
Schedule = Annotated[list[Annotated[float, Meta(ge=0, le=2_592_000)]], Meta(min_length=1, max_length=50)]
Rate = Annotated[float, Meta(gt=0, le=1_000_000)]
InFlight = Annotated[int, Meta(ge=1, le=100)]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]
Key = Annotated[str, Meta(pattern=r"^[!-~]{1,64}$", examples=["@authtoken"])]
"""Any visible ASCII: it is percent-encoded in the URL."""

AtLeast = Annotated[
    bool,
    Meta(description="true: there are too many to count, and `count` is where counting stopped; else absent"),
]

Status = Literal["pending", "delivered", "failed", "cancelled", "superseded"]


def _trimmed(patterns: list[str]) -> list[str]:
    """Return patterns without blanks at their ends, which none can have."""
    return [pattern.strip() for pattern in patterns]


class NewSubscription(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to send where."""

    url: Url
    types: Patterns = msgspec.field(default_factory=lambda: ["*"])
    """Patterns of event types; `*` stands for anything."""
    accounts: Patterns | None = None
    """Patterns of `platform/account`; all that you may see when absent."""
    dialect: str = "standard"
    secret: Text | None = None
    """Made for you when absent; shown in this answer only."""
    authorization: Text | None = None
    query_key: Key | None = None
    schedule: Schedule | None = None
    """Seconds after the attempt before."""
    max_rate: Rate | None = None
    """Deliveries a second."""
    max_in_flight: InFlight = 10
    enabled: bool = True

    def __post_init__(self) -> None:
        self.types = _trimmed(self.types)
        if self.accounts is not None:
            self.accounts = _trimmed(self.accounts)


class Changes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to change; what is absent stays."""

    url: Url | UnsetType = UNSET
    types: Patterns | UnsetType = UNSET
    accounts: Patterns | UnsetType = UNSET
    authorization: Text | UnsetType | None = UNSET
    query_key: Key | UnsetType = UNSET
    schedule: Schedule | UnsetType | None = UNSET
    max_rate: Rate | UnsetType | None = UNSET
    max_in_flight: InFlight | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.types is not UNSET:
            self.types = _trimmed(self.types)
        if self.accounts is not UNSET:
            self.accounts = _trimmed(self.accounts)


class Missed(msgspec.Struct, rename={"begin": "from", "end": "to"}):
    """A span of time, as a replay takes it."""

    begin: datetime
    end: Annotated[datetime | None, Meta(description="null: it is still going on")]


class Subscription(msgspec.Struct, kw_only=True):
    """A registered URL."""

    id: UUID
    url: str
    types: list[str]
    accounts: list[str]
    dialect: str
    query_key: str | None
    schedule: list[float] | None
    max_rate: float | None
    max_in_flight: int
    enabled: bool
    disabled_reason: str | None
    disabled_at: Annotated[
        datetime | None, Meta(description="Since when it has been disabled; null while it is enabled")
    ]
    missed: Annotated[
        Missed | None,
        Meta(
            description="When it was last disabled; post this to `/v1/subscriptions/{id}/replay` to get what it missed"
        ),
    ]
    has_authorization: Annotated[
        bool | None, Meta(description="null: the service's keys cannot open its secrets; rotating them makes new ones")
    ]
    created_at: datetime
    updated_at: datetime


class CreatedSubscription(Subscription, kw_only=True):
    """As registered, with its secret: shown now and never again."""

    secret: str | None


class Secret(msgspec.Struct):
    """Shown now and never again."""

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
    """One call."""

    attempt: int
    at: datetime
    outcome: Literal["delivered", "refused", "timeout", "connection", "tls", "blocked"]
    status_code: int | None
    duration_ms: float
    response: str
    """The first 4 KiB of what was answered."""
    error: str | None


class DeliveryWithAttempts(Delivery, kw_only=True):
    """With all that was tried."""

    history: list[Attempt]


class DeliveryId(msgspec.Struct):
    """A delivery that was made."""

    delivery_id: UUID


class NewReplay(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename={"begin": "from", "end": "to"}):
    """Which events to send again."""

    begin: Annotated[datetime, Meta(tz=True)]
    """Received at or after."""
    end: Annotated[datetime, Meta(tz=True)] | None = None
    """Received before; now when absent."""
    types: Patterns | None = None
    key: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.types is not None:
            self.types = _trimmed(self.types)


class Replay(msgspec.Struct, omit_defaults=True):
    """A replay that was begun."""

    replay_id: UUID
    count: int
    """Events that it sends."""
    at_least: AtLeast = False


class Count(msgspec.Struct, omit_defaults=True):
    """What a replay would send."""

    count: int
    """Events that it would send."""
    at_least: AtLeast = False


class Page(msgspec.Struct, Generic[T]):
    """Part of a list; `next` is the cursor of what follows, null at the end."""

    data: list[T]
    next: str | None


class FieldError(msgspec.Struct):
    """What is wrong with a field."""

    field: str
    detail: str


class ProblemDetails(msgspec.Struct, kw_only=True):
    """RFC 9457."""

    title: str
    status: int
    detail: str | UnsetType = UNSET
    errors: list[FieldError] | UnsetType = UNSET
