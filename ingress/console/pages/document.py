"""One document and its whole life: what was received, what changed, who got it; and the erasure of its content."""

import asyncio
from datetime import UTC, datetime

from aiohttp import web

from ingress.console import confirm, diff, document_view, links, notices, progress
from ingress.console.confirm import Button, Confirmation
from ingress.console.document_view import Parts, Surroundings
from ingress.console.errors import PageError, invalid, not_found
from ingress.console.render import plural
from ingress.console.route import act, page
from ingress.console.visit import Page, Visit, see_other
from schemas import registry
from schemas.allocation import AllocationWords
from schemas.config import Config
from storage import document as documents
from storage import erasure
from storage.document import DocumentRow
from storage.erasure import Selection
from storage.progress import lines as progress_lines

MAX_ID = 2**63 - 1
"""Largest number of a document."""
MAX_VERSION = 2**31 - 1
"""Largest number of a version."""
notices.NOTICES["erasing"] = "The erasure is noted, and is carried out by a store worker within seconds."


async def show(visit: Visit) -> Page | web.StreamResponse:
    """Show a document by its number."""
    return await _page(visit, await _document(visit), _query_number(visit), is_shown=False)


async def show_by_key(visit: Visit) -> Page | web.StreamResponse:
    """Show a document by platform, account, type and key."""
    names = ("platform", "account", "type", "key")
    platform, account, type_, key = (visit.query(name) for name in names)
    if platform is None or account is None or type_ is None or key is None:
        raise invalid("The address of a document has `platform`, `account`, `type` and `key`.")
    document = await documents.by_identity(visit.connection, platform, account, type_, key)
    if document is None:
        raise not_found(f"{links.type_words(type_)} {key[:100]} of {platform}/{account}")
    return await _page(visit, document, _query_number(visit), is_shown=False)


async def unmask(visit: Visit) -> Page | web.StreamResponse:
    """Show a document with the personal data in its body. It is recorded who saw it."""
    document = await _document(visit)
    numbers = {name: _number(visit.field(name), name) for name in ("version", "a", "b")}
    await visit.record("documents.unmask", subject=_subject(document), note=visit.field("note"))
    return await _page(visit, document, numbers, is_shown=True)


async def erase(visit: Visit) -> Page | web.StreamResponse:
    """Ask whether the content of a document is to be erased, or note that it is."""
    document = await _document(visit)
    selection = Selection(platform=document.platform, account=document.account, key=document.key)
    counts = await erasure.count_stored(visit.connection, selection)
    back = links.document_id(document.id)
    if not counts["documents"]:
        raise PageError(409, "Nothing is left to erase", "The content of this document is already erased.")
    typed = confirm.typed_for(counts["documents"])
    if visit.field("confirmed") is None or (visit.field("typed") or "") != typed:
        return confirm.page(_question(document, counts, typed, back))
    await erasure.request(visit.connection, selection)
    await visit.record(
        "documents.erase",
        subject=_subject(document),
        count=counts["documents"],
        note=visit.field("note"),
        outcome="started",
    )
    return see_other(notices.done(back, "erasing"))


def _question(document: DocumentRow, counts: dict[str, int], typed: str, back: str) -> Confirmation:
    names = {
        "receipts": ("message as received", "messages as received"),
        "versions": ("version", "versions"),
        "allocation_records": ("answer to the order", "answers to the order"),
        "outbox": ("delivery that waits", "deliveries that wait"),
        "finished": ("part of an order that was sent", "parts of an order that were sent"),
        "attempts": ("answer of a subscriber", "answers of subscribers"),
    }
    rows = [plural(counts[name], *words) for name, words in names.items() if counts.get(name)]
    number = counts["documents"]
    whole = "the document" if number == 1 else f"all {number:,} documents"
    return Confirmation(
        question=f"Erase the content of {document.key} for good?",
        what=f"Bodies, names, addresses and subscribers' answers are erased of {whole} of {document.platform}/"
        f"{document.account} with the key {document.key}, of every type: {', '.join(rows)}. Messages in quarantine "
        "that are about it are erased as well.",
        consequence="It cannot be undone. Keys, versions, times, articles and quantities stay, marked as erased. "
        "Deliveries that wait are cancelled, and subscribers that were sent the document are informed.",
        action=f"{back}/erase",
        buttons=[Button(label="Erase for good", name="confirmed", value="yes")],
        typed=typed,
        back=back,
    )


async def _document(visit: Visit) -> DocumentRow:
    """Return the document that the path names. Raises PageError: 404."""
    text = visit.request.match_info["id"]
    if text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= MAX_ID:
        document = await documents.by_id(visit.connection, int(text))
        if document is not None:
            return document
    raise not_found(f"document {text[:60]}")


async def _page(visit: Visit, document: DocumentRow, numbers: dict[str, int | None], *, is_shown: bool) -> Page:
    """Return the page, for which six statements are executed with the one that has found the document."""
    connection, config = visit.connection, visit.context.config
    chosen = document_view.choice(document, **numbers)
    is_about_transfers = document.type in registry.transfer_types()
    parts = Parts(
        document=document,
        past=await documents.history(connection, document.id),
        sent=await documents.deliveries(connection, document.id),
        progress=progress.line_views(
            await progress_lines(connection, document.account, document.order_ref or document.key)
            if is_about_transfers
            else ()
        ),
        lines=() if is_about_transfers else await documents.lines(connection, document),
        related=await documents.related(connection, document),
        contents=await documents.contents(connection, document.id, chosen.versions, diff.MAX_BYTES),
    )
    scheme = "https" if visit.context.sessions.is_secure(visit.request) else "http"
    around = Surroundings(
        now=datetime.now(UTC),
        origin=f"{scheme}://{visit.request.host}",
        api_url=config.api.public_url.rstrip("/") or f"http://{_url_host(config.api.host)}:{config.api.port}",
        may_act=visit.may_act,
        is_shown=is_shown,
        words=_words(config, document),
    )
    # Large bodies take half a second, in which other requests are answered.
    view = await asyncio.to_thread(document_view.view, parts, chosen, around)
    template = "document_shown.html" if is_shown else "document.html"
    return Page(template=template, view=view, title=f"{view.name.capitalize()} {document.key}")


def _words(config: Config, document: DocumentRow) -> AllocationWords:
    """Return what the configuration says of manufacturers and rules; nothing if it has neither."""
    platform = registry.platforms().get(document.platform)
    account = config.accounts.get(document.platform, {}).get(document.account)
    if platform is None or platform.allocation_words is None or account is None:
        return AllocationWords({}, {})
    return platform.allocation_words(account)


def _query_number(visit: Visit) -> dict[str, int | None]:
    return {name: _number(visit.query(name), name) for name in ("version", "a", "b")}


def _number(text: str | None, name: str) -> int | None:
    """Return the number of a version, or None. Raises PageError: 400."""
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and 0 < int(text) <= MAX_VERSION):
        raise invalid(f"`{name}` in the address is the number of a version, such as 2.")
    return int(text)


def _subject(document: DocumentRow) -> str:
    return f"{document.type} {document.key} ({document.platform}/{document.account})"


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


ROUTES = (
    page(links.DOCUMENTS, show_by_key),
    page(f"{links.DOCUMENTS}/{{id}}", show),
    act(f"{links.DOCUMENTS}/{{id}}/unmask", unmask, "documents.unmask"),
    act(f"{links.DOCUMENTS}/{{id}}/erase", erase, "documents.erase"),
)
