"""The interface between the route worker and the platforms whose requests it answers, and the discovery of these.

A platform whose senders wait has one module here, `workers.route.<platform>`, which exports one `ANSWERER`. No other
module of the worker names a platform. Pure: bytes in, an answer and its record out.
"""

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Generic, NamedTuple

import msgspec

from schemas import registry
from schemas.envelope import Envelope
from schemas.platform import Account


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a sender, and the record that is kept of it."""

    status: int
    """HTTP status of the response."""
    content_type: str
    body: bytes
    record: bytes | None = None
    """The encoded record for the store worker; None if nothing was decided that must be stored."""
    log_fields: Mapping[str, str | int | None] = {}
    """The decision and its reasons, for the log. No personal data."""


class Step(msgspec.Struct, frozen=True):
    """One rule, applied to one item."""

    rule: str
    matched: bool
    reasons: list[str]
    """Why the rule did not match; empty if it did."""
    distances: dict[str, float] = {}
    """Kilometres by manufacturer, for `nearest` if the destination is known, whether the rule matched or not."""


class Explanation(msgspec.Struct, frozen=True):
    """Which rule decides about one order item, and why the rules before it do not."""

    item: str
    name: str
    units: str | None
    destination: str | None
    """For example `US US-PA 19028`; None without an address."""
    place: str | None
    """The place that stood for the destination's postal code when distances were measured."""
    steps: list[Step]
    """All rules up to and including the one that matched."""
    manufacturer: str | None
    """None if the item cannot be produced, so that the order is refused."""
    rule: str
    """The rule that decided, or the fallback."""
    detail: str | None


class DataFiles(NamedTuple):
    """Data files of the operator that a platform's rules use."""

    name: str
    """For people, for example `postal codes`."""
    load: Callable[[], str | None]
    """Load the files and return their folder; None if none is configured. Raises OSError or ValueError."""


class Rules(msgspec.Struct, Generic[Account], frozen=True, kw_only=True):
    """What the command line does with the rules of a platform's accounts."""

    count: Callable[[Account], int]
    check: Callable[[Account], list[str]]
    """Return a sentence for each rule that almost certainly does not do what its author meant."""
    explain: Callable[[Account, bytes], list[Explanation]]
    """Explain the answer to an order, item by item. Raises UnreadableError if the bytes are not an order."""
    files: DataFiles | None = None


class Answerer(msgspec.Struct, Generic[Account], frozen=True, kw_only=True):
    """How the requests of one platform are answered."""

    answer: Callable[[Envelope, bytes, Account], Answer]
    """(request, body, account) -> the answer. Deterministic, and without side effects."""
    prepare: Callable[[Account], object] | None = None
    """Do the work that depends only on the account, so that no sender waits for it. Raises OSError or ValueError if
    files of the operator cannot be read."""
    rules: Rules[Account] | None = None
    """Set if the answer follows rules in the account's configuration."""


@cache
def answerers() -> MappingProxyType[str, Answerer]:
    """Return the answerer of each platform whose senders wait, by name, in alphabetical order.

    Raises ModuleNotFoundError if such a platform has no module here.
    """
    names = [
        platform.name
        for platform in registry.platforms().values()
        if any(event.reply is not None for event in platform.events)
    ]
    return MappingProxyType({name: importlib.import_module(f"{__package__}.{name}").ANSWERER for name in sorted(names)})


def prepare(accounts: Mapping[str, Mapping[str, Any]]) -> None:
    """Prepare all accounts (platform -> name -> account), so that no sender waits for it.

    Takes about 0.2 s the first time, so call it at the start and before a reloaded configuration is put in place.
    Raises OSError or ValueError if files of the operator cannot be read.
    """
    for name, answerer in answerers().items():
        if answerer.prepare is not None:
            for account in accounts.get(name, {}).values():
                answerer.prepare(account)
