"""The answer to a uStore order: the manufacturer of each item, by the rules of the account, or a refusal.

Only deciding is done here, without I/O: `workers.route.worker` receives the order and publishes answer and record.
Begin with `allocate` (an order in, an allocation out), then `rules` and `conditions`; `explain` is for people.
"""

from collections.abc import Mapping

from schemas import allocation, documents
from schemas.envelope import Envelope
from schemas.platform import UnreadableError
from schemas.platforms import ustore
from schemas.platforms.ustore import messages, wire
from schemas.platforms.ustore.config import Account
from workers.route.answers import Answer, Answerer, DataFiles, Rules
from workers.route.ustore import allocate, distance, explain


def answer(request: Envelope, raw: bytes, account: Account) -> Answer:
    """Return each item's manufacturer, or 400 with a message in the shopper's language."""
    try:
        # These are all checks of the store worker: an order that would end in quarantine is refused while its shopper
        # can still correct it.
        document = documents.describe(ustore.PLATFORM, request.event, raw, request.content_type)
        order = wire.decode(document.data or raw).order
        order_id = document.reading.key
    except UnreadableError as error:
        return _refusal_answer(messages.body(messages.UNREADABLE, request.language), {"unreadable": str(error)})
    outcome = allocate.allocate(order, account)
    if isinstance(outcome, allocate.Refusal):
        log_fields = {"order": order_id, "refused_item": outcome.item}
        if outcome.name is None:
            return _refusal_answer(messages.body(messages.UNREADABLE, request.language), log_fields)
        body = messages.body(messages.CANNOT_BE_PRODUCED, request.language, item=outcome.name)
        return _refusal_answer(body, log_fields)
    return Answer(
        status=200,
        content_type=messages.CONTENT_TYPE,
        body=allocate.answer_bytes(outcome),
        record=allocation.encode(allocation.AllocationRecord(raw, outcome.items)),
        log_fields={"order": order_id, "items": len(outcome.items)},
    )


def _refusal_answer(body: bytes, log_fields: Mapping[str, str | int | None]) -> Answer:
    return Answer(status=400, content_type=messages.CONTENT_TYPE, body=body, log_fields=log_fields)


ANSWERER = Answerer(
    answer=answer,
    prepare=allocate.rules,
    rules=Rules(
        count=lambda account: len(account.rules),
        check=explain.check,
        explain=explain.explain,
        files=DataFiles("postal codes", distance.load_folder),
    ),
)
