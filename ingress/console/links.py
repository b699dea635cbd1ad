"""Addresses of pages that other pages link to. Pure."""

import re
from urllib.parse import quote, urlencode
from uuid import UUID

DOCUMENTS = "/console/documents"
_ID = re.compile(r"\b([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b")
_DOCUMENT = re.compile(r"(?P<type>\S+) (?P<key>.+) \((?P<platform>[^/()]+)/(?P<account>[^/()]+)\)")


def document(platform: str, account: str, type_: str, key: str) -> str:
    """Return the address of a document that is the same in every database: the one to paste into a ticket."""
    return f"{DOCUMENTS}?{urlencode({'platform': platform, 'account': account, 'type': type_, 'key': key})}"


def document_id(id_: int, *, version: int | None = None) -> str:
    """Return the short address of a document in this database, and of one of its versions."""
    return f"{DOCUMENTS}/{id_}" + ("" if version is None else f"?version={version}#body")


def transfer(account: str, channel_order_id: str) -> str:
    """Return the address of a transfer, which is the same in every database."""
    return f"/console/transfers/{quote(channel_order_id, safe='')}?{urlencode({'account': account})}"


def delivery(id_: UUID) -> str:
    """Return the address of a delivery."""
    return f"/console/deliveries/{id_}"


def subscription(id_: UUID) -> str:
    """Return the address of a subscription."""
    return f"/console/subscriptions/{id_}"


def quarantined(id_: UUID) -> str:
    """Return the address of a message in quarantine."""
    return f"/console/quarantine/{id_}"


def find(text: str, **more: str) -> str:
    """Return the address of a search."""
    return f"/console/find?{urlencode({'q': text, **more}, quote_via=quote)}"


def type_words(type_: str) -> str:
    """Return the type of a document for people, such as `stock transfer order`."""
    return (type_.partition(".")[2] or type_).replace("_", " ")


def of_subject(action: str, subject: str) -> list[tuple[str, str | None]]:
    """Return the subject of an action in parts, each with the address of the page that it names, or None.

    A subject is the id of what was acted on, a document's name, or a filter in words that may name a subscription.
    """
    kind = action.partition(".")[0]
    if kind == "documents" and (name := _DOCUMENT.fullmatch(subject)) is not None:
        return [(subject, document(name["platform"], name["account"], name["type"], name["key"]))]
    page = _PAGES.get(kind)
    parts: list[tuple[str, str | None]] = []
    for text in _ID.split(subject):
        named = None
        if _ID.fullmatch(text):
            named = page if text == subject else subscription if parts[-1][0].endswith("subscription ") else None
        parts.append((text, None if named is None else named(UUID(text))))
    return [part for part in parts if part[0]]


_PAGES = {
    "deliveries": delivery,
    "quarantine": quarantined,
    "subscriptions": subscription,
    "events": lambda id_: find(str(id_)),
}
"""The pages of what actions act on, by the first part of the action's name."""
