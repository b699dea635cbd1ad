"""`crossdock trace`: one order's whole life, in the order it happened."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from deploy.cli.errors import CommandError
from deploy.cli.options import AsJson, State

Found = dict[str, Any]


class Moment(NamedTuple):
    """One step of an order's life. `rank` orders steps of the same time."""

    at: datetime
    rank: int
    what: str
    detail: str


def trace(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Business key, order number, message id or event id.")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show the whole life of one order.

    Every receipt, what was stored, its versions, allocation, queue messages and delivery attempts, and its messages in
    quarantine.
    """
    from deploy.cli import output

    found = asyncio.run(_trace(state, key))
    if not found["documents"] and not found["quarantine"]:
        raise CommandError(
            f"nothing is known of {key!r}: it was never accepted, or it is older than [storage] retention_days"
        )
    for document in found["documents"]:
        document["messages"] = list(messages(document))
    if as_json:
        output.print_json(found)
        return
    for document in found["documents"]:
        _print(
            f"{document['type']}  {document['key']}  ({document['platform']}/{document['account']})", timeline(document)
        )
    for entry in found["quarantine"]:
        _print(f"quarantine  {entry['platform']}/{entry['account']} {entry['event']}  {entry['id']}", setbacks(entry))


async def _trace(state: Path | None, key: str) -> Found:
    from deploy.cli import servers
    from storage import trace as traces

    async with servers.database(state) as connection:
        return await traces.trace(connection, key)


def messages(document: Found) -> Iterator[dict[str, Any]]:
    """Return a document's events on `crossdock.events`: one per version, and one per recipient of a changed share."""
    from schemas import registry, topology

    platform = registry.platforms().get(document["platform"])
    announcement = None if platform is None else platform.announcement
    account = document["account"]
    stored = {version["id"]: version for version in document["versions"]}
    for version in document["versions"]:
        yield {
            "exchange": topology.EVENTS,
            "routing_key": topology.event_key(document["type"], account),
            "id": version["id"],
            "version": version["version"],
            "stored_at": version["stored_at"],
        }
    for record in document["records"]:
        if announcement is None or (version := stored.get(record["version_id"])) is None:
            continue
        for recipient in record["announced"] or ():
            yield {
                "exchange": topology.EVENTS,
                "routing_key": topology.event_key(announcement.event_type, account, recipient),
                "id": None,
                "version": version["version"],
                "stored_at": max(version["stored_at"], record["received_at"]),
            }


def timeline(document: Found) -> list[Moment]:
    """Return everything that happened to one document, in order of time."""
    found = [
        Moment(one["received_at"], 0, "received", f"{one['bytes']} bytes, message {one['message_id']}")
        for one in document["receipts"]
    ]
    for one in document["versions"]:
        flags = f" [{', '.join(one['flags'])}]" if one["flags"] else ""
        times = f", received {one['times_received']} times" if one["times_received"] > 1 else ""
        found.append(
            Moment(one["stored_at"], 1, "stored", f"version {one['version']}{flags}{times}, event {one['id']}")
        )
    before = None
    for record in document["records"]:
        found += [Moment(record["received_at"], 2, "allocated", text) for text in _allocated(record, before)]
        before = record["items"]
    found += [
        Moment(one["stored_at"], 3, "queued", f"{one['routing_key']} on {one['exchange']}")
        for one in document["messages"]
    ]
    found += [Moment(one["at"] or one["created_at"], 4, *_told(one)) for one in document["deliveries"]]
    return sorted(found)


def _told(one: Found) -> tuple[str, str]:
    """Describe an attempt, or a delivery that waits for its first attempt."""
    whom = f"{one['dialect']} {one['url']}"
    if one["at"] is None:
        return one["status"], f"{whom}, delivery {one['id']}"
    status = f" {one['status_code']}" if one["status_code"] else ""
    error = f": {one['error']}" if one["error"] else ""
    return one["outcome"], f"{whom}{status}, attempt {one['attempt']}, {one['duration_ms']:.1f} ms{error}"


def _allocated(record: Found, before: Any) -> Iterator[str]:
    """Return one line per item, or one line for an answer that equals the one before."""
    if record["items"] == before:
        yield f"as before, for message {record['message_id']}"
        return
    for item in record["items"]:
        detail = f" ({item['detail']})" if item.get("detail") else ""
        yield f"item {item['item']} to manufacturer {item['manufacturer']} by {item['rule']}{detail}"


def setbacks(entry: Found) -> list[Moment]:
    """Return what happened to a message that could not be processed."""
    steps = (
        (entry["received_at"], "quarantined", entry["reason"]),
        (entry["replayed_at"], "replayed", "published again"),
        (entry["discarded_at"], "discarded", "by a person"),
    )
    return sorted(Moment(at, rank, what, detail) for rank, (at, what, detail) in enumerate(steps) if at is not None)


def _print(title: str, moments: list[Moment]) -> None:
    from deploy.cli.output import moment, print_table

    first = moments[0].at
    times = [moment(one.at, fraction=True) for one in moments]
    head = "time (UTC)"
    if len({time[:10] for time in times}) == 1:
        head, times = f"{times[0][:10]} UTC", [time[11:] for time in times]
    rows = [(time, since(one.at, first), one.what, one.detail) for time, one in zip(times, moments, strict=True)]
    print_table((head, "after", "", ""), rows, title=title, right=("after",))
    typer.echo()


def since(at: datetime, first: datetime) -> str:
    """Return the time since the first step, such as `0.041 s`, `12 min`, `3.5 h` or `2.1 d`."""
    seconds = (at - first).total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3f} s"
