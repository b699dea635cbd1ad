"""Addresses of pages that other pages link to. Pure."""

from urllib.parse import quote, urlencode
from uuid import UUID

DOCUMENTS = "/console/documents"


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
