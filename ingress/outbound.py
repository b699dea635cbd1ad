"""What the API, the console and the commands do alike with subscriptions and their deliveries."""

import math
import time
from uuid import UUID

import msgspec

from schemas import filters
from schemas.config import Config
from schemas.dialects import get_dialect
from schemas.filter_conditions import TooManyStepsError
from schemas.outbound import OPERATOR, Dialect, allowed_accounts
from schemas.patterns import fits
from storage import deliveries, matching, sealed, subscriptions
from storage.database import Connection
from storage.deliveries import NewestEvent
from storage.events import StoredEvent
from storage.replays import Scope
from storage.sealed import Sealed, Secret
from storage.subscriptions import Subscription
from storage.vault import UndecryptableError, Vault

OVERLAP = 86_400.0
"""Seconds for which a secret stays valid after its rotation (contract §6: 24 h)."""
MOST_SECRETS = 10
"""Maximum number of secrets of one subscription that are valid at the same time."""
HIGHEST_RATE = 1_000_000
"""Largest `max_rate` of a subscription, in deliveries per second."""
MOST_IN_FLIGHT = 100
"""Largest `max_in_flight` of a subscription."""


class ConflictError(Exception):
    """The subscription does not allow this now; the text is a sentence that states why."""


def may_send(config: Config, subscriber: str, account: str) -> str | None:
    """Return why events of an account (`platform/account`) may not be sent to a subscriber now, or None."""
    if not is_configured(config, subscriber):
        return f"the subscriber {subscriber} is not configured any more"
    if not fits(account, allowed_accounts(subscriber, config)):
        return f"the subscriber may not see events of {account} any more"
    return None


def is_configured(config: Config, subscriber: str) -> bool:
    """Return whether a subscriber exists in the configuration, as the operator always does."""
    return subscriber == OPERATOR or subscriber in config.subscribers


def scope_of(config: Config, subscription: Subscription) -> Scope:
    """Return which events the store worker would send to a subscription now."""
    types = get_dialect(subscription.dialect).types
    return Scope(
        list(subscription.types),
        list(subscription.accounts),
        allowed_accounts(subscription.subscriber, config),
        None if types is None else sorted(types),
        filters.stored(subscription.filter),
    )


def parse_rate(text: str | None) -> float | None:
    """Return a `max_rate` that an operator entered, None if it is empty. Raises ValueError with what is wrong."""
    if not text:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= HIGHEST_RATE:
        raise ValueError(f"The rate must be a number above 0 and at most {HIGHEST_RATE:,}, or empty for no limit.")
    return rate


def parse_in_flight(text: str | None) -> int:
    """Return a `max_in_flight` that an operator entered. Raises ValueError with what is wrong."""
    if not text or not text.isascii() or not text.isdigit() or not 1 <= int(text[:10]) <= MOST_IN_FLIGHT:
        raise ValueError(f"The deliveries in progress must be a whole number from 1 to {MOST_IN_FLIGHT}.")
    return int(text)


def rotated(dialect: Dialect, old: Sealed, new: str) -> Sealed:
    """Return the secrets with a new one in front. Raises ConflictError if too many are still valid.

    Where a webhook can carry several signatures, the old secrets keep signing: the newest of them for OVERLAP seconds
    from now, older ones until their own time is over.
    """
    kept: list[Secret] = []
    if dialect.two_secrets:
        now = time.time()
        kept = [
            msgspec.structs.replace(secret, until=now + OVERLAP if secret.until is None else secret.until)
            for secret in old.secrets
            if secret.until is None or secret.until > now
        ]
    if len(kept) >= MOST_SECRETS:
        raise ConflictError(
            f"{MOST_SECRETS} secrets of the last 24 hours are still valid, and each webhook carries the signatures of "
            "all of them; rotate again when the oldest has expired."
        )
    return msgspec.structs.replace(old, secrets=(Secret(secret=new), *kept))


async def rotate(connection: Connection, vault: Vault, old: Subscription) -> str:
    """Give a subscription whose row is locked a new secret, and return it. Raises ConflictError."""
    dialect = get_dialect(old.dialect)
    if dialect.make_secret is None:
        raise ConflictError(f"Dialect {dialect.name} uses no secret.")
    secret = dialect.make_secret()
    try:
        secrets = sealed.unseal(vault, old.id, old.sealed)
    except UndecryptableError:
        secrets = Sealed()  # secrets that no key decrypts are lost; a new secret makes the subscription usable again
    fresh = sealed.seal(vault, old.id, rotated(dialect, secrets, secret))
    await subscriptions.update(connection, msgspec.structs.replace(old, sealed=fresh))
    return secret


async def test_event(connection: Connection, config: Config, subscription: Subscription) -> NewestEvent:
    """Return the event that `send_test` would send now. Raises ConflictError."""
    if not subscription.enabled:
        raise ConflictError("The subscription is disabled; enable it first.")
    event = await deliveries.newest_for_test(connection, scope_of(config, subscription))
    if event is None:
        raise ConflictError(_nothing_to_test(subscription))
    return event


async def send_test(connection: Connection, config: Config, subscription: Subscription) -> UUID:
    """Send the newest stored event that matches to a subscription alone, and return the delivery's id.

    Raises ConflictError.
    """
    if not subscription.enabled:
        raise ConflictError("The subscription is disabled; enable it first.")
    delivery_id = await deliveries.test(connection, subscription.id, scope_of(config, subscription))
    if delivery_id is None:
        raise ConflictError(_nothing_to_test(subscription))
    return delivery_id


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The condition that decided that an event does not match."""

    path: str
    condition: object
    value: object


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an event matches a subscription."""

    matches: bool
    decided_by: Decision | None
    """None if it matches."""
    compared: bool
    """False if its arrays are too long to be compared: such an event is sent."""


def match(scope: Scope, event: StoredEvent) -> Match:
    """Return whether an event matches a subscription with this scope, as the store worker decides it."""
    account = f"{event.platform}/{event.account}"
    if not fits(account, scope.accounts):
        return _no_match("accounts", scope.accounts, account)
    if not scope.covers(account, event.type):
        return _no_match("types", scope.types, event.type)
    if scope.filter is None:
        return Match(matches=True, decided_by=None, compared=True)
    try:
        reason = scope.filter.why_not(matching.view(event, with_data=scope.filter.reads_data))
    except TooManyStepsError:
        return Match(matches=True, decided_by=None, compared=False)
    if reason is None:
        return Match(matches=True, decided_by=None, compared=True)
    return _no_match(reason.path, reason.condition, reason.value)


def _no_match(path: str, condition: object, value: object) -> Match:
    decision = Decision(path=path, condition=condition, value=value)
    return Match(matches=False, decided_by=decision, compared=True)


def _nothing_to_test(subscription: Subscription) -> str:
    """Return why there is no event that a test could send."""
    if subscription.filter is None:
        return "Nothing is stored yet that this subscription would get; send an event first."
    return (
        f"None of the newest {deliveries.MOST_FILTERED} events that this subscription would get otherwise matches its "
        "filter; send an event that does first."
    )
