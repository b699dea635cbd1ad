"""The sentence above a document, and the list of what happened to it."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from ingress.console import state, timeline
from storage.document import DocumentRow, History, SentAttempt, SentDelivery, StoredVersion
from storage.progress import LineProgress
from storage.timeline import Moment
from tests.support.storing import at

DOCUMENT = DocumentRow(
    id=1, platform="ustore", account="a", type="ustore.manufacturer_allocation", key="K", order_number=None,
    order_ref=None, warehouse_ref=None, version=2, erased=False, received_at=at(0), last_received_at=at(9),
    is_being_erased=False, late_since=None,
)  # fmt: skip


def past(*times: int) -> History:
    versions = [
        StoredVersion(
            id=UUID(int=n), version=n, received_at=at(n), stored_at=at(n), times_received=count,
            last_received_at=at(n), flags=[], message_id=UUID(int=n + 100),
        )
        for n, count in enumerate(times, 1)
    ]  # fmt: skip
    return History(receipts=[], versions=versions, records=[])


def delivery(number: int, status: str, *outcomes: str, **more: Any) -> SentDelivery:
    attempts = [
        SentAttempt(
            at=at(n), attempt=n, outcome=outcome, status_code=500 if outcome == "refused" else None, duration_ms=1.0,
            error=None,
        )
        for n, outcome in enumerate(outcomes, 1)
    ]  # fmt: skip
    fields: dict[str, Any] = {
        "id": UUID(int=number), "subscription_id": UUID(int=number % 10), "event_id": UUID(int=1),
        "type": DOCUMENT.type,
        "version": 1, "status": status, "times_attempted": len(outcomes), "created_at": at(number),
        "next_attempt_at": None, "finished_at": None, "subscriber": f"shop{number % 10}", "url": "https://x.example",
        "dialect": "standard", "is_enabled": True, "is_deleted": False, "disabled_reason": None, "paused_until": None,
        "attempts": attempts,
    }  # fmt: skip
    return SentDelivery(**{**fields, **more})


def sentence_of(*deliveries: SentDelivery, **more: Any) -> str:
    document = msgspec.structs.replace(DOCUMENT, **more)
    return state.sentence(document, past(2, 1), state.recipients(deliveries), at(0))


@pytest.mark.parametrize(
    ("deliveries", "text"),
    [
        ([], "No subscription receives it."),
        ([delivery(1, "delivered", "delivered")], "Delivered to its only subscriber."),
        ([delivery(1, "delivered"), delivery(2, "delivered")], "Delivered to all 2 subscribers."),
        (
            [
                delivery(3, "pending", *["refused"] * 4, next_attempt_at=at(720)),
                delivery(2, "delivered"),
                delivery(1, "delivered"),
            ],
            "Delivered to 2 of 3 subscribers; shop3 refused it 4 times, next try in 12 min.",
        ),
        ([delivery(1, "pending")], "Not delivered yet; shop1 waits for its first attempt, next try now."),
        (
            [delivery(1, "pending", next_attempt_at=at(-300))],
            "Not delivered yet; shop1 waits for its first attempt, due for 5 min.",
        ),
        (
            [delivery(1, "pending", "timeout", is_enabled=False, disabled_reason="gone")],
            "Not delivered yet; shop1 could not be reached once, and is disabled (gone).",
        ),
        (
            [delivery(1, "pending", "refused", next_attempt_at=at(-5), paused_until=at(7200))],
            "Not delivered yet; shop1 refused it once, next try in 2 h.",
        ),
        (
            [delivery(1, "failed", "tls", "tls")],
            "Not delivered; shop1 could not be reached twice, and is not tried again.",
        ),
        (
            [delivery(2, "superseded"), delivery(1, "cancelled")],
            "Delivered to none of 2 subscribers; shop1 was not sent it, because the delivery was cancelled; shop2 was "
            "not sent it, because a newer version came first.",
        ),
        # A newer delivery to the same subscription counts, and the news of an erasure does not.
        ([delivery(11, "delivered"), delivery(1, "failed", "refused")], "Delivered to its only subscriber."),
        (
            [delivery(2, "pending", type="crossdock.erased"), delivery(1, "delivered")],
            "Delivered to its only subscriber.",
        ),
    ],
)  # fmt: skip
def test_the_sentence_says_who_got_it_and_what_comes_next(deliveries: list[SentDelivery], text: str) -> None:
    assert sentence_of(*deliveries) == f"Received 3 times, 2 versions. {text}"


def test_the_sentence_stays_short() -> None:
    text = sentence_of(*[delivery(n, "pending") for n in range(9, 0, -1)])
    assert "shop2" in text
    assert "shop3" not in text
    assert text.endswith("7 more are listed below.")


def test_an_erasure_is_said() -> None:
    assert sentence_of(erased=True).endswith("Its content was erased.")
    assert "is being erased" in sentence_of(is_being_erased=True)


def test_attempts_of_all_deliveries_of_a_subscription_are_in_order() -> None:
    (row,) = state.recipients([delivery(11, "pending", "refused"), delivery(1, "failed", "tls", "timeout")])
    assert [attempt.at for attempt in row.attempts] == sorted(attempt.at for attempt in row.attempts)
    assert (row.latest.id, len(row.earlier), row.last_error) == (UUID(int=11), 1, "500: refused")


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, 0), (0.9, 0), (1, 1), (59, 2), (60, 3), (600, 4), (3600, 5), (86_399, 6), (10**7, 7)]
)
def test_a_longer_pause_is_a_longer_gap(seconds: float, expected: int) -> None:
    assert timeline.gap(seconds) == expected


def test_steps_have_pauses_and_links() -> None:
    moments = [
        Moment(at(0), 0, "received", "1 byte", UUID(int=1)),
        Moment(at(0.5), 1, "stored", "version 1"),
        Moment(at(7200.5), 4, "refused", "by Zoë"),
    ]
    steps = timeline.steps(moments, lambda moment: f"/{moment.rank}", lambda text: text.replace("Zoë", "••••"))
    assert [(step.since, step.gap, step.pause, step.href) for step in steps] == [
        ("0.000 s", 0, "", "/0"), ("0.500 s", 0, "", "/1"), ("2.0 h", 5, "2 h", "/4"),
    ]  # fmt: skip
    assert steps[-1].detail == "by ••••"


def test_only_the_newest_steps_are_shown() -> None:
    moments = [Moment(at(n), 0, "received", str(n)) for n in range(timeline.STEPS + 10)]
    steps = timeline.steps(moments, lambda _: "", str)
    assert (len(steps), steps[0].detail, steps[0].since, steps[0].gap) == (timeline.STEPS, "10", "10.000 s", 0)


def line(
    ordered: int | None, shipped: int = 0, announced: int = 0, received: int = 0, damaged: int = 0
) -> LineProgress:
    numbers = {"shipped": shipped, "announced": announced, "received": received, "damaged": damaged}
    return LineProgress(
        line_id="1", sku="A", ordered=None if ordered is None else Decimal(ordered), outstanding=None, cartons=0,
        first_shipped_at=None, last_received_at=None, flags=(),
        **{name: Decimal(number) for name, number in numbers.items()},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "more", "text"),
    [
        ([line(100, 100, 0, 94), line(100, 100, 100, 100)], {}, "Partly received: 194 of 200, 6 missing."),
        ([line(100, 100, 0, 100, 2)], {}, "Completely received: 100 of 100, 2 damaged."),
        ([line(100, 60), line(20)], {}, "On its way: 60 of 120 shipped, 60 not shipped yet."),
        ([line(100, 0, 100)], {}, "On its way: 100 of 100 announced."),
        ([line(1500)], {"late_since": at(-4 * 86_400)}, "4 d late, nothing shipped yet: 1,500 ordered."),
        ([line(5, 5, 0, 5)], {"order_ref": "STO1"}, "Its transfer is completely received: 5 of 5."),
        ([line(1)] * 501, {}, ""),
        ([line(None, 5)], {}, "On its way: 5 of an unknown quantity shipped."),
    ],
)
def test_the_sentence_begins_with_how_far_the_transfer_is(
    lines: list[LineProgress], more: dict[str, Any], text: str
) -> None:
    document = msgspec.structs.replace(DOCUMENT, **more)
    whole = state.sentence(document, past(1), [], at(0), lines)
    assert whole == f"{text} Received once, 2 versions. No subscription receives it.".strip()
