"""What `consume` and `listen` have in common: the options that choose events, and reading the log until a signal."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli import selection
from deploy.cli.errors import CommandError

if TYPE_CHECKING:
    from broker.eventlog import EventLog
    from schemas.filters import Filter

PATIENCE = 10.0
"""Seconds to reach the broker before a command fails that does not follow the log."""
Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="P", help="Only events of this type, such as channelape.*; repeatable."),
]
Accounts = Annotated[
    list[str] | None,
    typer.Option(
        "--account", metavar="A", help="Only events of this account, such as rothys or channelape/*; repeatable."
    ),
]
FilterText = Annotated[
    str | None,
    typer.Option(
        "--filter", metavar="JSON", help='Only events that match, such as \'{"data": {"locationId": "819"}}\'.'
    ),
]


class Chosen:
    """The events that types, accounts and a filter choose."""

    def __init__(self, types: list[str] | None, accounts: list[str] | None, filter_: str | None) -> None:
        """Check what was typed. Raises BadParameter."""
        from schemas.selection import with_platform

        types, accounts = [entry.strip() for entry in types or ()], [entry.strip() for entry in accounts or ()]
        selection.check_types(types, "--type")
        selection.check_accounts(accounts, "--account")
        self._types = types or ["*"]
        self._accounts = [with_platform(name) for name in accounts or ["*"]]
        self._filter = _filter(filter_)

    def has(self, body: bytes) -> bool:
        """Return whether an event is chosen."""
        from schemas import cloudevents, filter_events
        from schemas.filter_conditions import TooManyStepsError
        from schemas.patterns import fits

        if self._types != ["*"] or self._accounts != ["*"]:
            event = cloudevents.decode(body)
            if not (fits(event.type, self._types) and fits(event.source.removeprefix("/"), self._accounts)):
                return False
        try:
            return self._filter is None or self._filter.matches(filter_events.of_log(body))
        except TooManyStepsError:
            return True  # as the store worker decides it


def _filter(text: str | None) -> "Filter | None":
    """Return the filter that was typed. Raises BadParameter."""
    from schemas import filters

    if text is None:
        return None
    try:
        return filters.from_json(text)
    except filters.FilterError as error:
        raise typer.BadParameter(str(error), param_hint="--filter") from None


async def until_stopped(log: "EventLog", work: Coroutine[None, None, None]) -> None:
    """Do `work` with the log until it ends or a signal comes. Raises its errors, and those of `report_problems`."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    tasks = [loop.create_task(job) for job in (work, stop.wait(), report_problems(log))]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended


async def opened(log: "EventLog") -> None:
    """Wait until the log can be read. Raises CommandError if that takes longer than PATIENCE."""
    try:
        async with asyncio.timeout(PATIENCE):
            await log.opened()
    except TimeoutError:
        raise CommandError(f"RabbitMQ does not return its log: {log.problem}; check AMQP_URL") from None


async def report_problems(log: "EventLog") -> None:
    """Print from time to time why no events arrive. Raises an error of our own, which waiting does not mend."""
    await asyncio.sleep(PATIENCE / 4)
    while True:
        if log.defect is not None:
            raise log.defect
        if log.problem is not None:
            typer.echo(f"crossdock: waiting for RabbitMQ: {log.problem}", err=True)
        await asyncio.sleep(PATIENCE)
