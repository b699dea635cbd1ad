"""Find: whatever has a number, an article or an id that a person has in hand."""

from collections.abc import Sequence

import msgspec
from aiohttp import web

from ingress.console import links
from ingress.console.route import page
from ingress.console.visit import Page, Visit, see_other
from schemas import registry
from storage import document as documents
from storage import find
from storage.find import DocumentMatch, FindResult, QuarantineMatch


class AccountMatches(msgspec.Struct, frozen=True, kw_only=True):
    """The documents of one account that match, the newest first."""

    platform: str
    account: str
    documents: Sequence[DocumentMatch]


class OtherCase(msgspec.Struct, frozen=True, kw_only=True):
    """The text in upper or lower case, if something has that."""

    text: str
    path: str


class TransferMatch(msgspec.Struct, frozen=True, kw_only=True):
    """A transfer whose order matches."""

    key: str
    account: str
    path: str


class FindView(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked for, and what has it."""

    text: str
    result: FindResult | None
    """None if nothing can have the text, or nothing was entered."""
    accounts: Sequence[AccountMatches]
    transfers: Sequence[TransferMatch]
    other_cases: Sequence[OtherCase]
    """What the text may have been meant to be, if nothing has the text as it was entered."""
    quarantined: Sequence[QuarantineMatch] | None
    """Messages in quarantine whose bytes contain the text; None if they were not searched."""
    look_into_quarantine: str
    """The address that searches them as well."""
    searched: int = documents.QUARANTINED
    """Number of newest messages in quarantine that are searched."""
    limit: int = find.LIMIT
    retention_days: int


async def show(visit: Visit) -> Page | web.StreamResponse:
    """Show what has a text, or go straight to the only document that has it."""
    text = find.normalized(visit.request.query.get("q", ""))
    is_deep = visit.query("quarantined") is not None
    result = await find.find(visit.connection, text) if text else None
    if result is not None and not is_deep and (target := _only(result)) is not None:
        return see_other(target)
    others = await find.other_cases(visit.connection, text) if result is not None and result.is_empty else ()
    groups: dict[tuple[str, str], list[DocumentMatch]] = {}
    for match in result.documents if result is not None else ():
        groups.setdefault((match.platform, match.account), []).append(match)
    view = FindView(
        text=text,
        result=result,
        accounts=[
            AccountMatches(platform=platform, account=account, documents=matches)
            for (platform, account), matches in groups.items()
        ],
        transfers=[
            TransferMatch(key=match.key, account=match.account, path=links.transfer(match.account, match.key))
            for match in (() if result is None else result.documents)
            if match.type in registry.transfer_order_types()
        ],
        other_cases=[OtherCase(text=other, path=links.find(other)) for other in others],
        quarantined=await documents.quarantined(visit.connection, text) if is_deep and text else None,
        look_into_quarantine=links.find(text, quarantined="1"),
        retention_days=visit.context.config.storage.retention_days,
    )
    return Page(template="find.html", view=view, title=f"Find {text[:60]}" if text else "Find")


def _only(result: FindResult) -> str | None:
    """Return the address of the only thing that matches; None if there are several, or none.

    A message or an event is shown on the page of its document.
    """
    documents = {document.id for document in result.documents}
    others = result.deliveries or result.subscriptions or result.quarantine
    if len(documents) != 1 or others:
        return None
    version = result.events[0].version if result.events else None
    return links.document_id(documents.pop(), version=version)


ROUTES = (page("/console/find", show),)
