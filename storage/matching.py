"""Whether stored events match the filter of a subscription, for replays, tests and explanations."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from schemas import filter_events
from schemas.filter_conditions import TooManyStepsError
from schemas.filters import Filter
from storage import events
from storage.database import Connection
from storage.events import StoredEvent
from storage.sql import query

PIECE = 20
"""Events whose bodies are read at a time: each may have a megabyte."""


class Place(Protocol):
    """A row that says where an event is stored."""

    def __getitem__(self, name: str, /) -> object: ...


async def matching(connection: Connection, filter_: Filter, places: Sequence[Place]) -> set[UUID]:
    """Return the ids of the events that match. `places`: rows with `id`, `received_at` and `message_id`.

    Raises asyncpg's errors.
    """
    result: set[UUID] = set()
    for start in range(0, len(places), PIECE):
        piece = places[start : start + PIECE]
        columns = [[place[name] for place in piece] for name in ("id", "received_at", "message_id")]
        for row in await connection.fetch(query("events", "several"), *columns):
            event = StoredEvent(**row)
            if matches(filter_, event):
                result.add(event.id)
    return result


def matches(filter_: Filter, event: StoredEvent) -> bool:
    """Return whether a stored event matches, as the store worker decides it."""
    try:
        return filter_.matches(view(event, with_data=filter_.reads_data))
    except TooManyStepsError:
        return True


def view(event: StoredEvent, *, with_data: bool) -> dict[str, object]:
    """Return a stored event as filters see it."""
    shown = attributes(event.id, event.platform, event.account, event.type, event.key, event.received_at, event.version)
    if with_data:
        filter_events.add_data(shown, events.data(event))
    return shown


def attributes(
    id_: UUID, platform: str, account: str, type_: str, key: str, received_at: datetime, version: int
) -> dict[str, object]:
    """Return the attributes of an event as filters see them."""
    return filter_events.attributes(
        id=str(id_), platform=platform, account=account, type=type_, key=key, received_at=received_at, version=version
    )
