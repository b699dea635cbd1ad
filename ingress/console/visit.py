"""One request of an operator: what was asked for, by whom, and the connection to answer it with."""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import unquote
from uuid import UUID

import msgspec
from aiohttp import hdrs, web

from ingress.console.audit import Recorded
from ingress.console.context import Context
from ingress.console.errors import PageError, invalid, not_found
from ingress.console.form import Form
from ingress.console.session import Operator
from schemas.lenient import normalized
from schemas.values import value_problem
from storage import actions
from storage.actions import Actor, Outcome
from storage.database import Connection

HOME = "/console"
"""Path of the first page."""
NOBODY = Operator("", "read")
"""Stands for everybody on the pages that need no log-in."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What a page shows: a template, and the Struct that it is filled with."""

    template: str
    view: msgspec.Struct
    title: str
    status: int = 200
    path: str = ""
    """Where the page is read again, if an action answers with it; empty for its own address."""


class Visit:
    """A request that has passed the guard."""

    def __init__(
        self,
        request: web.Request,
        context: Context,
        connection: Connection,
        operator: Operator,
        address: str,
        form: Form,
    ) -> None:
        self.request = request
        self.context = context
        self.connection = connection
        """For a page, in a transaction that only reads; for an action, in the action's own transaction."""
        self.operator = operator
        self.actor = Actor(operator.name, operator.role, address)
        self._form = form
        self.recorded: list[Recorded] = []
        """What `record` has recorded; it is announced when the transaction is committed."""

    def log_in(self, operator: Operator) -> None:
        """Go on as this operator, who has just logged in."""
        self.operator = operator
        self.actor = Actor(operator.name, operator.role, self.actor.address)

    @property
    def may_act(self) -> bool:
        """Whether the operator may change anything."""
        return self.operator.role == "act"

    def query(self, name: str) -> str | None:
        """Return a parameter of the URL without blanks at its ends; None if it is missing or blank."""
        return _text(self.request.query.get(name), name)

    def query_choice(self, name: str, choices: Sequence[str]) -> str | None:
        """Return a parameter that has one of these values, or None. Raises PageError: 400."""
        value = self.query(name)
        if value is not None and value not in choices:
            raise invalid(f"`{name}` in the address must be one of {', '.join(choices)}.")
        return value

    def query_uuid(self, name: str) -> UUID | None:
        """Return a parameter that is an id, or None. Raises PageError: 400."""
        return _uuid(self.query(name), name)

    def query_time(self, name: str) -> datetime | None:
        """Return a parameter that is a time, in UTC if it has no time zone. Raises PageError: 400."""
        return _time(self.query(name), name)

    def field(self, name: str) -> str | None:
        """Return a field of the form without blanks at its ends; None if it is missing or blank."""
        return field(self._form, name)

    def field_uuid(self, name: str) -> UUID | None:
        """Return a field that is an id, or None. Raises PageError: 400."""
        return _uuid(self.field(name), name)

    def field_time(self, name: str) -> datetime | None:
        """Return a field that is a time, in UTC if it has no time zone. Raises PageError: 400."""
        return _time(self.field(name), name)

    def field_uuids(self, name: str) -> list[UUID]:
        """Return the ids of all fields of this name, such as of ticked rows. Raises PageError: 400."""
        ids = [_uuid(text, name) for text in self._form.get(name, ())]
        return [id_ for id_ in ids if id_ is not None]

    def entered(self, *names: str) -> dict[str, str]:
        """Return what was typed into these fields of the form, to be shown in them again."""
        texts = {name: self._form.get(name, ("",))[0] for name in names}
        return {name: "" if value_problem(text) else text for name, text in texts.items()}

    def path_uuid(self, what: str) -> UUID:
        """Return the id in the path. Raises PageError (404) if it is not one. `what`: such as `delivery`."""
        text = self.request.match_info["id"]
        try:
            return UUID(normalized(text))
        except ValueError:
            raise not_found(f"{what} {text[:60]}") from None

    async def record(
        self,
        action: str,
        *,
        subject: str = "",
        count: int | None = None,
        note: str | None = None,
        outcome: Outcome = "done",
    ) -> None:
        """Record an action in its own transaction, so that both are stored or neither is."""
        await actions.record(
            self.connection, self.actor, action, subject=subject, count=count, note=note, outcome=outcome
        )
        self.announce(action, subject=subject, count=count, outcome=outcome)

    def announce(self, action: str, *, subject: str = "", count: int | None = None, outcome: Outcome = "done") -> None:
        """Log and count an action once the transaction is committed, which something else has recorded."""
        self.recorded.append(Recorded(actor=self.actor, action=action, outcome=outcome, subject=subject, count=count))


def field(form: Form, name: str) -> str | None:
    """Return the first field of this name without blanks at its ends; None if it is missing or blank."""
    values = form.get(name)
    return _text(values[0] if values else None, name)


def safe_path(target: str | None, otherwise: str = HOME) -> str:
    """Return a path of the console; anything else becomes `otherwise`."""
    if target is None or not (target == HOME or target.startswith((f"{HOME}/", f"{HOME}?"))):
        return otherwise
    # Browsers leave out controls, take \ for /, and resolve `..`, also where it is written %2e%2e.
    steps = unquote(target.partition("?")[0]).replace("\\", "/").split("/")
    is_plain = target.isascii() and target.isprintable() and "\\" not in target
    return target if is_plain and not {".", ".."} & set(steps) else otherwise


def see_other(path: str) -> web.Response:
    """Return a response that sends the browser to another page of the console, as every action ends."""
    return web.Response(status=303, headers={hdrs.LOCATION: path})


def _text(value: str | None, name: str) -> str | None:
    if value is None:
        return None
    text = normalized(value)
    if (problem := value_problem(text)) is not None:
        raise PageError(400, f"What was entered for {name} {problem}", "Enter it again without what is in the way.")
    return text or None


def _uuid(text: str | None, name: str) -> UUID | None:
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise invalid(f"What was entered for {name} is not an id, which has 32 digits and four hyphens.") from None


def _time(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"What was entered for {name} is not a time such as 2026-11-21 09:30 (UTC).") from None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    if (problem := value_problem(time)) is not None:
        raise invalid(f"The time that was entered for {name} {problem}.")
    return time
