"""The verdict on an Apicbase order while its customer waits: taken, refused with the reason, or not readable."""

import msgspec

from schemas import documents
from schemas.platform import UnreadableError
from schemas.platforms import apicbase
from schemas.platforms.apicbase import refusal
from schemas.platforms.apicbase.config import Account
from schemas.platforms.apicbase.identity import EVENT

PROBLEM = "application/problem+json"


class Verdict(msgspec.Struct, frozen=True):
    status: int
    """200 taken; 422 refused; 400 no order (Apicbase shows any 4xx to the customer at once)."""
    content_type: str
    body: bytes


TAKEN = Verdict(200, "application/json", b"{}")
"""The body doesn't matter: the ingress answers a taken order with its id."""


def validate(raw: bytes, account: Account, content_type: str | None = None) -> Verdict:
    """Never raises, whatever the bytes."""
    try:
        # All that the store worker will ask of it: an order that would end in quarantine is refused while the customer
        # looks. Nothing wrong with it that is only noted (its JSON is odd, say) matters here.
        document = documents.describe(apicbase.PLATFORM, EVENT, raw, content_type)
        refused = refusal.refusal(document.data or raw, account)
    except UnreadableError as error:
        return _problem(400, "The purchase order could not be read", str(error))
    return TAKEN if refused is None else _problem(422, "The purchase order is refused", refused.detail)


def _problem(status: int, title: str, detail: str) -> Verdict:
    """RFC 9457."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Verdict(status, PROBLEM, msgspec.json.encode(body))
