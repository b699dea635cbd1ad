"""Publishes quarantined messages again, for `crossdock quarantine replay`."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import UUID

from aio_pika.abc import AbstractChannel

from broker import outgoing
from deploy.cli import servers
from deploy.cli.errors import CommandError, explain
from deploy.cli.options import confirm
from deploy.cli.recording import recorded
from ingress import quarantine as publishing
from storage import quarantine
from storage.database import Connection
from storage.quarantine import Selection


async def replay_messages(
    state: Path | None, ids: list[UUID], selection: Selection | None, shards: int, *, ask: bool
) -> list[UUID]:
    """Replay the named or the selected messages, and return them.

    Named messages are looked up before the first is published. `shards`: number of inbound queues. `ask`: ask for
    confirmation first. Raises CommandError.
    """
    done: list[UUID] = []
    async with servers.database(state) as connection, servers.broker(state) as channel:
        if selection is None:
            sizes = await quarantine.sizes(connection, ids)
            unknown = [str(id_) for id_ in ids if id_ not in sizes]
            if unknown:
                raise CommandError(f"not in quarantine: {', '.join(unknown)}; nothing was replayed")
            count = len(sizes)
        else:
            count = await quarantine.count_open(connection, selection)
            if ask:
                confirm(f"{count} messages", "replayed")
        subject = subject_of(ids, selection)
        async with recorded(connection, "quarantine.replay", subject=subject, count=count) as tally:
            try:
                async for page in _pages(connection, ids, selection):
                    for piece in quarantine.pieces(page):
                        done += await _publish(connection, channel, piece, shards, again=selection is None)
                        tally.done = len(done)
            except Exception as error:
                raise CommandError(f"{len(done)} of {count} replayed, then: {_reason(error)}") from error
    return done


def subject_of(ids: Sequence[UUID], selection: Selection | None) -> str:
    """Return what is acted on, as it is recorded."""
    if selection is not None:
        return selection.in_words()
    return str(ids[0]) if len(ids) == 1 else f"{len(ids)} named messages"


async def _pages(
    connection: Connection, ids: list[UUID], selection: Selection | None
) -> AsyncIterator[list[tuple[UUID, int]]]:
    """Yield ids and sizes of the messages."""
    if selection is None:
        sizes = await quarantine.sizes(connection, ids)
        yield [(id_, sizes[id_]) for id_ in dict.fromkeys(ids) if id_ in sizes]
        return
    async for page in quarantine.pages(connection, selection):
        yield page


async def _publish(
    connection: Connection, channel: AbstractChannel, ids: Sequence[UUID], shards: int, *, again: bool
) -> list[UUID]:
    """Publish some messages and mark them, in one transaction. Raises the first error of a message."""
    async with connection.transaction():
        published = await publishing.publish(connection, channel, ids, shards, again=again)
        for error in published.refused.values():
            raise error
    return list(published.ids)


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return explain(error) or str(outgoing.explain(error))
