"""The settings by which one subscription's deliveries are sent: its row, and the configuration of its subscriber."""

import logging
import time
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from schemas import cloudevents
from schemas.config import Config
from schemas.dialects import get_dialect
from schemas.outbound import OPERATOR, Credentials, Dialect, Event
from storage import sealed
from storage.vault import UndecryptableError, Vault
from workers.deliver.schedule import RetryPolicy

log = logging.getLogger("crossdock.deliver")


class SubscriptionSettings(msgspec.Struct, frozen=True):
    """The settings by which one subscription's deliveries are sent."""

    id: UUID
    subscriber: str
    url: str
    updated_at: datetime
    dialect: Dialect
    credentials: Credentials
    retry_policy: RetryPolicy
    max_rate: float | None
    max_in_flight: int
    refers_to: str | None = None
    """The API's public URL, if events are sent without their data and with a reference to them."""

    def sent(self, event: Event) -> Event:
        """Return an event as this subscription is sent it."""
        if self.refers_to is None:
            return event
        return msgspec.structs.replace(event, dataref=cloudevents.reference(self.refers_to, event.id))


def read(row: asyncpg.Record, config: Config, vault: Vault) -> SubscriptionSettings | None:
    """Return the settings of a subscription; log the reason and return None if it cannot be served."""
    if not is_configured(row["subscriber"], config):
        names = {"subscription": str(row["id"]), "subscriber": row["subscriber"]}
        log.warning("deliveries postponed: their subscriber is not configured", extra=names)
        return None
    try:
        secrets = sealed.unseal(vault, row["id"], row["sealed"])
        dialect = get_dialect(row["dialect"])
    except (UndecryptableError, LookupError) as error:
        log.error("subscription cannot be served", extra={"subscription": str(row["id"]), "error": str(error)})
        return None
    delivery = config.delivery
    schedule = delivery.schedule if row["schedule"] is None else row["schedule"]
    return SubscriptionSettings(
        id=row["id"],
        subscriber=row["subscriber"],
        url=row["url"],
        updated_at=row["updated_at"],
        dialect=dialect,
        credentials=sealed.credentials(secrets, row["query_key"], time.time()),
        retry_policy=RetryPolicy(tuple(schedule), delivery.channelape_interval if dialect.forever else None),
        max_rate=row["max_rate"],
        max_in_flight=row["max_in_flight"],
        refers_to=config.api.public_url if row["payload"] == "thin" else None,
    )


def is_configured(subscriber: str, config: Config) -> bool:
    """Return whether a subscriber is in the configuration; the operator always is."""
    return subscriber == OPERATOR or subscriber in config.subscribers
