"""`crossdock consume`: prints the log of events as JSON lines; also an example of how to write a consumer."""

import asyncio
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli import servers
from deploy.cli.errors import CommandError
from deploy.cli.log_events import PATIENCE, Accounts, Chosen, FilterText, Types, opened, until_stopped
from deploy.cli.options import LARGEST, State, parse_time
from deploy.cli.output import printable_json

if TYPE_CHECKING:
    from broker.eventlog import Entry, EventLog, Start


def consume(
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="Where to start: first, next, a time (RFC 3339) or an offset.",
            show_default="first; next with --follow",
        ),
    ] = None,
    types: Types = None,
    accounts: Accounts = None,
    filter_: FilterText = None,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, max=LARGEST, help="Stop after N events.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more events, until Ctrl-C.")] = False,
    state: State = None,
) -> None:
    """Print the events of the log, one JSON line per event.

    Stops at the event that was the newest when it started, unless --follow is given, and prints where to continue.
    """
    chosen = Chosen(types, accounts, filter_)
    place = _place(start or ("next" if follow else "first"))
    reader = _Reader(chosen, count, follow=follow)
    asyncio.run(reader.run(servers.amqp_url(state), place))


def _place(text: str) -> "Start":
    if text in ("first", "next"):
        return text  # type: ignore[return-value]
    if text.isdecimal() and len(text) < len(str(LARGEST)):
        return int(text)
    return parse_time(text, "--from", others="first, next, an offset, or ")


class _Reader:
    """Prints the events that match."""

    def __init__(self, chosen: Chosen, count: int | None, *, follow: bool) -> None:
        self._chosen = chosen
        self._count = count
        self._follow = follow
        self._next: int | None = None
        """Offset at which another command would continue."""
        self._written = 0

    async def run(self, url: str, place: "Start") -> None:
        """Print events until the end. Raises CommandError and aiormq's errors."""
        from broker.eventlog import EventLog, newest

        last = None
        if not self._follow:
            try:
                last = await newest(url, PATIENCE)
            except TimeoutError:
                message = "RabbitMQ does not return its log: check AMQP_URL, and run `crossdock topology check`"
                raise CommandError(message) from None
        self._next = place if isinstance(place, int) else None
        if self._follow or _is_before(place, last):
            async with EventLog(url, place) as log:
                await until_stopped(log, self._read(log, last))
        more = "" if self._next is None else f"; continue with `--from {self._next}`"
        typer.echo(f"crossdock: {self._written} events{more}", err=True)

    async def _read(self, log: "EventLog", last: int | None) -> None:
        """Read to the end, or for ever with --follow."""
        if last is not None:
            await opened(log)
        async with aclosing(log.read()) as batches:
            while True:
                try:
                    # If the place is a time after the newest event, nothing arrives, and nothing is waited for.
                    async with asyncio.timeout(None if last is None else PATIENCE / 4):
                        entries = await anext(batches)
                except TimeoutError:
                    return
                for entry in entries:
                    if last is not None and entry.offset > last:
                        return
                    if self._chosen.has(entry.body):
                        self._write(entry)
                    self._next = entry.offset + 1
                    if self._written == self._count or entry.offset == last:
                        return
                sys.stdout.buffer.flush()

    def _write(self, entry: "Entry") -> None:
        # Line breaks in JSON can only stand between values, so a body of several lines becomes one line.
        body = entry.body.replace(b"\r", b" ").replace(b"\n", b" ")
        if sys.stdout.isatty():
            body = printable_json(body.decode("utf-8", "backslashreplace")).encode("utf-8", "backslashreplace")
        sys.stdout.buffer.write(body + b"\n")
        self._written += 1


def _is_before(place: "Start", last: int | None) -> bool:
    """Return whether there is anything to read from this place up to the newest event."""
    if last is None or place == "next":
        return False
    return not isinstance(place, int) or place <= last
