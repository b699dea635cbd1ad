"""The interface between the poll worker and the platforms whose APIs it polls, and the discovery of these.

A platform that is polled has one module here, `workers.poll.<platform>`, which exports one `SOURCE`. No other module of
the worker names a platform.
"""

import importlib
import importlib.util
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import Generic, Protocol

import msgspec

from schemas import registry
from schemas.platform import Account


class Settings(Protocol):
    """The settings of an account that is polled: OAuth 2.0 client credentials, and the interval."""

    @property
    def client_id(self) -> str: ...

    @property
    def client_secret(self) -> str: ...

    @property
    def base_url(self) -> str: ...

    @property
    def interval(self) -> float:
        """Number of seconds between two polls."""
        ...


class OrderSummary(msgspec.Struct, frozen=True):
    """The values of one order that polling needs; each is None if it is absent or unreadable."""

    id: str | None = None
    status: str | None = None
    placed_at: datetime | None = None
    """When the order was placed, in UTC."""


class Source(msgspec.Struct, Generic[Account], frozen=True, kw_only=True):
    """How the orders of one platform's accounts are fetched. Paths are relative to the account's `base_url`."""

    platform: str
    event: str
    """The event as which an order is published."""
    settings: Callable[[Account], Settings | None]
    """(account) -> how it is polled; None if it isn't."""
    token_path: str
    scope: str
    """The scope of the token."""
    orders_path: str
    filters: Callable[[datetime], dict[str, str]]
    """(time) -> the query string of the first page of orders after that time."""
    overlap: timedelta
    """Time before the cursor that each poll requests again."""
    status: str
    """The only status of orders that are published, in upper case."""
    summarize: Callable[[bytes], OrderSummary]
    """(one item of a page) -> its values. Never raises."""


@cache
def sources() -> MappingProxyType[str, Source]:
    """Return the source of each platform that can be polled, by name."""
    sources_by_platform: dict[str, Source] = {}
    for name in registry.platforms():
        module = f"{__package__}.{name}"
        if importlib.util.find_spec(module) is not None:
            source: Source | None = getattr(importlib.import_module(module), "SOURCE", None)
            if source is not None:
                sources_by_platform[name] = source
    return MappingProxyType(sources_by_platform)
