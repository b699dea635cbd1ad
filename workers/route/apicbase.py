"""The verdict on an Apicbase order while its customer waits: accepted, refused with the reason, or unreadable."""

from schemas import documents, problems
from schemas.envelope import Envelope
from schemas.platform import UnreadableError
from schemas.platforms import apicbase
from schemas.platforms.apicbase import refusal
from schemas.platforms.apicbase.config import Account
from schemas.platforms.apicbase.identity import EVENT
from workers.route.answers import Answer, Answerer

ACCEPTED = Answer(status=200, content_type="application/json", body=b"{}")
"""The body does not matter: the ingress answers an accepted order with its ID."""


def answer(request: Envelope, raw: bytes, account: Account) -> Answer:
    """Return the verdict on the order in `raw`; see `validate`."""
    return validate(raw, account, request.content_type)


def validate(raw: bytes, account: Account, content_type: str | None = None) -> Answer:
    """Return 200 for an accepted order, 422 for a refused one, 400 if it is unreadable. Never raises.

    Apicbase shows any 4xx to the customer at once.
    """
    try:
        # These are all checks of the store worker: an order that would end in quarantine is refused while the customer
        # looks. Peculiarities that are only flagged, such as unusual JSON, don't matter here.
        document = documents.describe(apicbase.PLATFORM, EVENT, raw, content_type)
        refused = refusal.refusal(document.data or raw, account)
    except UnreadableError as error:
        return _problem(400, "The purchase order could not be read", str(error))
    return ACCEPTED if refused is None else _problem(422, "The purchase order is refused", refused.detail)


def _problem(status: int, title: str, detail: str) -> Answer:
    body = problems.problem(status, title, detail, type="about:blank")
    return Answer(status=status, content_type=problems.CONTENT_TYPE, body=body)


ANSWERER = Answerer(answer=answer)
