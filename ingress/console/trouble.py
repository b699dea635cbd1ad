"""The page that an operator sees in place of an error."""

import logging

import asyncpg
from aiohttp import hdrs, web

from ingress.console.errors import PageError
from storage.database import is_row_error, is_unavailable

log = logging.getLogger("crossdock.console")


def of(error: Exception, *, is_page: bool) -> tuple[PageError, str | None]:
    """Return the page for an error, and the reason for the log. `is_page`: whether a page was asked for."""
    if isinstance(error, PageError):
        return error, error.title
    if isinstance(error, web.HTTPException):
        return _from_aiohttp(error), None
    reason = f"{type(error).__name__}: {error}"
    if is_slow(error):
        return PageError(503, "This is more than can be shown", "Narrow it: a filter, or a shorter period."), reason
    if is_row_error(error):
        return PageError(400, "The request holds a value that cannot be stored", "Enter something else."), reason
    if is_unavailable(error):
        return unavailable(is_page=is_page), reason
    log.error("internal error", exc_info=error)
    return PageError(500, "An internal error occurred", "It has been logged. Nothing was changed."), reason


def is_slow(error: Exception) -> bool:
    """Return whether a statement took too long."""
    return isinstance(error, TimeoutError | asyncpg.QueryCanceledError)


def unavailable(*, is_page: bool) -> PageError:
    """Return the page that is shown while the database is unavailable. A form must not be sent again by itself."""
    advice = (
        "This page tries again by itself."
        if is_page
        else "Look whether the action was carried out before you send it again."
    )
    return PageError(
        503,
        "The database is unavailable",
        f"Webhooks are still accepted and kept in RabbitMQ. {advice}",
        headers={hdrs.RETRY_AFTER: "5"},
        reloads=is_page,
    )


def _from_aiohttp(error: web.HTTPException) -> PageError:
    if error.status == 405:
        headers = {"Allow": error.headers[hdrs.ALLOW]}
        return PageError(405, "This is not done so", "Use the buttons of the pages.", headers=headers)
    if error.status == 404:
        return PageError(404, "There is no such page", "The search box finds any number that you have in hand.")
    return PageError(error.status, error.reason, "Go back and try again.")
