"""The next things that a job acts on: those that were ticked, or those that its frozen filter selects."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from storage import bulk, quarantine
from storage.database import Connection
from storage.jobs import Job

Place = tuple[datetime, UUID]


class Things(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries or messages, in the order in which they are handled."""

    ids: Sequence[UUID]
    places: Sequence[Place]
    """Where each of them is in that order."""
    ended: Sequence[datetime | None] | None = None
    """When each of the deliveries had ended when it was selected; None if that does not matter."""
    after: Place | None
    """Where the next piece begins."""
    is_last: bool

    def first(self) -> "Things":
        """Return the first of them alone, after which the others follow; nothing if there is none."""
        if not self.ids:
            return self
        ended = None if self.ended is None else self.ended[:1]
        is_last = self.is_last and len(self.ids) == 1
        after = self.after if is_last else self.places[0]
        return Things(ids=self.ids[:1], places=self.places[:1], ended=ended, after=after, is_last=is_last)


async def next_deliveries(connection: Connection, job: Job) -> Things:
    """Return the next deliveries of a job."""
    if job.filter.deliveries is None:
        return _ticked(job, bulk.PIECE)
    piece = await bulk.walk(connection, job.filter.deliveries, job.after)
    return Things(
        ids=piece.ids,
        places=list(zip(piece.created, piece.ids, strict=True)),
        ended=piece.ended,
        after=piece.after,
        is_last=piece.is_last,
    )


async def next_messages(connection: Connection, job: Job) -> Things:
    """Return the next messages of a job, whose bodies are not too large together."""
    if job.filter.quarantine is None:
        things = _ticked(job, quarantine.PIECE)
        sizes = await quarantine.sizes(connection, things.ids)
        return _of_bounded_size(things, [(id_, sizes.get(id_, 0)) for id_ in things.ids])
    piece = await quarantine.walk(connection, job.filter.quarantine, job.after)
    ids = [id_ for id_, _ in piece.messages]
    places = list(zip(piece.received, ids, strict=True))
    things = Things(ids=ids, places=places, after=piece.after, is_last=piece.is_last)
    return _of_bounded_size(things, piece.messages)


def _ticked(job: Job, limit: int) -> Things:
    """Return the next ticked rows, which are sorted by their ids."""
    done = job.after_id
    left = [id_ for id_ in job.filter.ids or () if done is None or id_ > done]
    ids = left[:limit]
    places = [(job.created_at, id_) for id_ in ids]
    return Things(ids=ids, places=places, after=places[-1] if places else job.after, is_last=len(left) <= limit)


def _of_bounded_size(things: Things, messages: Sequence[tuple[UUID, int]]) -> Things:
    pieces = quarantine.pieces(messages)
    if len(pieces) < 2:
        return things
    size = len(pieces[0])
    return Things(ids=things.ids[:size], places=things.places[:size], after=things.places[size - 1], is_last=False)
