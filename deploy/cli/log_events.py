"""Which events of the log a command is about: the options of `consume` and `listen`."""

from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli import selection

if TYPE_CHECKING:
    from schemas.filters import Filter

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
        from schemas import cloudevents, filters
        from schemas.patterns import fits

        if self._types != ["*"] or self._accounts != ["*"]:
            event = cloudevents.decode(body)
            if not (fits(event.type, self._types) and fits(event.source.removeprefix("/"), self._accounts)):
                return False
        try:
            return self._filter is None or self._filter.matches(filters.of_log(body))
        except filters.TooManyStepsError:
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
