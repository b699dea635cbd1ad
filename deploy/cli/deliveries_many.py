"""Sends again or cancels all deliveries that a filter selects, for `crossdock deliveries retry` and `cancel`."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deploy.cli import servers
from deploy.cli.errors import CommandError, explain
from deploy.cli.options import confirm, parse_key, parse_time, parse_uuid
from deploy.cli.recording import recorded
from deploy.cli.selection import check_accounts

if TYPE_CHECKING:
    from storage.deliveries import Selection

STATUSES = ("pending", "delivered", "failed", "cancelled", "superseded")


def selection(
    *,
    status: str | None,
    subscription: str | None,
    type_: str | None,
    account: str | None,
    key: str | None,
    begin: str | None,
    end: str | None,
) -> "Selection":
    """Return the filter that the options describe. Raises BadParameter."""
    from storage.deliveries import Selection

    if status is None:
        raise typer.BadParameter(f"--all needs --status, one of {', '.join(STATUSES)}")
    chosen = next((known for known in STATUSES if known == status), None)
    if chosen is None:
        raise typer.BadParameter(f"{status!r} is not one of {', '.join(STATUSES)}", param_hint="--status")
    if account is not None:
        if "/" not in account or "*" in account:
            raise typer.BadParameter(f"{account!r}: write channelape/rothys", param_hint="--account")
        check_accounts([account], "--account")
    hint = "the view crossdock.subscriptions shows them"
    return Selection(
        status=chosen,  # type: ignore[arg-type]  # it is one of the literals
        subscription=None if subscription is None else parse_uuid(subscription, "--subscription", hint),
        type=type_,
        account=account,
        key=parse_key(key, "--key"),
        since=None if begin is None else parse_time(begin, "--from"),
        until=None if end is None else parse_time(end, "--to"),
    )


async def act(state: Path | None, action: str, chosen: "Selection", *, ask: bool) -> dict[str, int]:
    """Retry or cancel all that is selected now, piece by piece, and return how many. Raises CommandError.

    What begins to match later is not included. Safe to interrupt: each piece is done or not.
    """
    import msgspec

    from storage import bulk

    async with servers.database(state) as connection:
        now = await bulk.now(connection)
        until = now if chosen.until is None else min(now, chosen.until)
        chosen = msgspec.structs.replace(chosen, until=until)
        counted = await bulk.count(connection, chosen)
        if ask and (counted.count or not counted.is_exact):
            confirm(f"{counted.text} deliveries", "sent again" if action == "retry" else "cancelled")
        kind, subject = f"deliveries.{action}", chosen.in_words()
        async with recorded(connection, kind, subject=subject, count=counted.count) as tally:
            try:
                async for piece in bulk.pieces(connection, chosen):
                    async with connection.transaction():
                        if action == "retry":
                            retried = await bulk.retry(
                                connection, piece.ids, piece.ended, lambda subscriber, account: None
                            )
                            done, failed = len(retried.ids), retried.failed
                        else:
                            done, failed = len(await bulk.cancel(connection, piece.ids)), 0
                    tally.done, tally.failed = tally.done + done, tally.failed + failed
            except Exception as error:
                raise CommandError(f"{tally.done} of {counted.text} done, then: {explain(error) or error}") from error
    return {"retried": tally.done, "failed": tally.failed} if action == "retry" else {"cancelled": tally.done}
