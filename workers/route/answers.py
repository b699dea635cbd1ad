"""What is answered to senders that wait, by platform: bytes in, an answer and its record out. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from schemas import documents
from schemas.envelope import Envelope
from schemas.platform import UnreadableError
from schemas.platforms import ustore as ustore_platform
from schemas.platforms.ustore import messages, record, wire
from workers.route import allocate, verdict


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What goes back to the sender, and what is kept of it."""

    status: int
    """HTTP status."""
    content_type: str
    body: bytes
    record: bytes | None = None
    """For the store worker: an encoded `AllocationRecord`. None: nothing was decided that needs to be kept."""
    about: dict[str, Any] = {}
    """For the log: what was decided and why. No personal data."""


def ustore(request: Envelope, raw: bytes, account: Any) -> Answer:
    """Every item's manufacturer; or 400 with a message for the shopper, in their language."""
    try:
        # All that the store worker will ask of it: an order that would end in quarantine is refused while its shopper
        # can still do something about it.
        document = documents.describe(ustore_platform.PLATFORM, request.event, raw, request.content_type)
        order = wire.decode(document.data or raw).order
        order_id = document.reading.key
    except UnreadableError as error:
        return _apology(messages.body(messages.UNREADABLE, request.language), {"unreadable": str(error)})
    outcome = allocate.allocate(order, account)
    if isinstance(outcome, allocate.Refusal):
        about = {"order": order_id, "refused_item": outcome.item}
        if outcome.name is None:
            return _apology(messages.body(messages.UNREADABLE, request.language), about)
        return _apology(messages.body(messages.CANNOT_BE_PRODUCED, request.language, item=outcome.name), about)
    return Answer(
        status=200,
        content_type=messages.CONTENT_TYPE,
        body=allocate.answer_bytes(outcome),
        record=record.encode(record.AllocationRecord(raw, outcome.items)),
        about={"order": order_id, "items": len(outcome.items)},
    )


def apicbase(request: Envelope, raw: bytes, account: Any) -> Answer:
    """200 for an order that is taken, whose body the ingress makes; else problem+json."""
    decided = verdict.validate(raw, account, request.content_type)
    return Answer(status=decided.status, content_type=decided.content_type, body=decided.body)


def _apology(body: bytes, about: dict[str, Any]) -> Answer:
    return Answer(status=400, content_type=messages.CONTENT_TYPE, body=body, about=about)


ANSWERS: dict[str, Callable[[Envelope, bytes, Any], Answer]] = {"apicbase": apicbase, "ustore": ustore}
"""By platform; the account is that platform's own Struct."""


def prepare(accounts: Mapping[str, Mapping[str, Any]]) -> None:
    """Compiles the rules of every account (platform → name → account), so that no shopper waits for it.

    Takes some 0.2 s the first time, so call it at the start and before a reloaded configuration is put in place.
    Raises OSError or ValueError where the operator's postal code files can't be read.
    """
    for account in accounts.get("ustore", {}).values():
        allocate.rules(account)
