"""Deliveries and subscriptions in words, and requests without secrets."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from ingress.console import delivery_words as words
from ingress.console.delivery_request import HIDDEN, describe_request
from schemas.dialects import dialects
from storage.delivery_lists import Content, Document, LastAttempt, ListedDelivery
from workers.deliver import breaker

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def last(**fields: Any) -> LastAttempt:
    values = {"at": NOW, "outcome": "refused", "status_code": 500, "error": "answered 500", "response": "", **fields}
    return LastAttempt(**values)


def delivery(status: Any, attempts: int, attempt: LastAttempt | None = None, type_: str = "t") -> ListedDelivery:
    return ListedDelivery(
        row={
            "id": UUID(int=1),
            "subscription_id": UUID(int=2),
            "event_id": UUID(int=3),
            "type": type_,
            "key": "K",
            "version": 1,
            "status": status,
            "attempts": attempts,
            "next_attempt_at": None,
            "created_at": NOW,
            "finished_at": NOW,
        },
        replay_id=None,
        subscriber="boards",
        url="https://a.example/",
        is_subscription_deleted=False,
        document=Document(platform="apicbase", account="acme", type="apicbase.purchase_order", key="a b&c"),
        last=attempt,
    )


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (None, ""),
        (last(outcome="delivered", status_code=200, error=None), ""),
        (last(response="down\nfor repairs"), "refused with status 500: down for repairs"),
        (last(), "refused with status 500"),
        (last(outcome="timeout", status_code=None, error="no answer in 15 s"), "timeout: no answer in 15 s"),
    ],
)
def test_an_error_is_one_line_that_says_the_most(attempt: LastAttempt | None, expected: str) -> None:
    assert words.error(attempt) == expected


def test_a_failed_delivery_says_why_it_ended() -> None:
    assert "410 Gone" in words.meaning(delivery("failed", 1, last(status_code=410)))
    assert "All 9 attempts" in words.meaning(delivery("failed", 9, last()))
    assert "Its only attempt" in words.meaning(delivery("failed", 1, last()))
    blocked = last(outcome="blocked", status_code=None, error="the content was erased")
    assert "the content was erased" in words.meaning(delivery("failed", 1, blocked))


def test_every_status_has_a_shape_and_a_meaning() -> None:
    for status, _ in words.STATUSES:
        for attempts in (0, 3):
            assert words.kind(status, attempts)
            assert words.meaning(delivery(status, attempts)).endswith(".")


def test_the_state_of_a_subscription_names_the_first_obstacle() -> None:
    free: dict[str, Any] = {"disabled_at": None, "disabled_reason": None, "now": NOW}
    later = NOW + timedelta(hours=1)
    states = [
        words.subscription_state(enabled=enabled, paused_until=paused, is_configured=configured, **free)[0]
        for enabled, paused, configured in (
            (False, later, False), (True, later, False), (True, later, True), (True, NOW, True), (True, None, True)
        )
    ]  # fmt: skip
    assert states == ["disabled", "unknown subscriber", "paused", "enabled", "enabled"]
    failing = last(response='{"error":"warehouse database is down,\n ticket WMS-481"}')
    assert words.trouble(failing, NOW, NOW + timedelta(minutes=3), NOW) == (
        'Enabled, but \u2068its server answers 500: {"error":"warehouse database is down, ticket WMS-481"}\u2069, '
        "since 2026-11-21 09:30:00 UTC. The next try is in 3 min."
    )
    assert len(words.trouble(last(response="x" * 5000), None, None, NOW) or "") < 300
    assert words.trouble(last(outcome="delivered"), None, None, NOW) is None
    assert words.newest_answer(last(status_code=410, response="moved to /v2")) == (
        " Its newest answer, at 2026-11-21 09:30:00 UTC: \u2068410: moved to /v2\u2069."
    )


def test_a_delivery_that_is_due_says_why_it_waits() -> None:
    free: dict[str, Any] = {"enabled": True, "is_configured": True, "paused_until": None, "now": NOW}
    assert words.why_due(**free, last=None) is None
    assert words.why_due(**free, last=last(outcome="delivered", status_code=200)) is None
    assert words.why_due(**free, last=last(status_code=400)) is None
    assert "answered 500 10 s ago" in str(words.why_due(**free, last=last(at=NOW - timedelta(seconds=10))))
    assert "could not be reached (timeout)" in str(
        words.why_due(**free, last=last(outcome="timeout", status_code=None))
    )
    paused = words.why_due(**{**free, "paused_until": NOW + timedelta(seconds=70)}, last=None)
    assert "asked for a pause; the next delivery is tried at 09:31:10 UTC" in str(paused)
    assert "is disabled" in str(words.why_due(**{**free, "enabled": False}, last=last()))
    assert words.LONGEST_PAUSE == breaker.LONGEST_PAUSE


def test_a_document_is_linked_by_its_own_type_and_key() -> None:
    path = words.document_path(delivery("failed", 1).document)
    assert path == "/console/documents?platform=apicbase&account=acme&type=apicbase.purchase_order&key=a+b%26c"


@pytest.mark.parametrize("name", sorted(dialects()))
def test_no_header_of_a_dialect_shows_what_is_made_with_a_secret(name: str) -> None:
    content = Content(received_at=NOW, size=2, raw=b"{}", flags=[])
    view = describe_request(delivery("pending", 0, type_="ecomnow.order_cancellation"), name, content)
    assert view.problem is None
    headers = dict(view.headers)
    assert headers["Content-Type"]
    for header in ("webhook-signature", "X-APIC-WEBHOOK-SIGNATURE", "Authorization"):
        assert headers.get(header, HIDDEN) == HIDDEN
    if not view.has_query:
        assert HIDDEN in headers.values()


def test_a_request_that_cannot_be_shown_says_why() -> None:
    content = Content(received_at=NOW, size=2, raw=b"{}", flags=[])
    gone = Content(received_at=NOW, size=None, raw=None, flags=[])
    large = Content(received_at=NOW, size=10**7, raw=None, flags=[])
    erased = Content(received_at=NOW, size=0, raw=b"", flags=["erased"])
    problems = [
        describe_request(delivery("failed", 1), name, what).problem
        for name, what in ((None, content), ("standard", gone), ("standard", large), ("standard", erased))
    ]
    assert all(problems)
    assert len(set(problems)) == 4


@pytest.mark.parametrize(
    ("seconds", "repeat", "text"),
    [
        ([0, 5, 300, 7200], None, "at once, then after 5 s, 5 min and 2 h: 4 attempts in all"),
        ([30], None, "after 30 s: one attempt in all"),
        ([], None, "at once: one attempt in all"),
        ([0, 5], 900.0, "at once, then every 15 min until it succeeds or is cancelled"),
    ],
)
def test_a_schedule_is_said_in_words(seconds: list[float], repeat: float | None, text: str) -> None:
    assert words.schedule(seconds, repeat) == text
