"""What becomes of a delivery after an attempt, and what is known about its server."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from schemas.dialects import get_dialect
from schemas.outbound import Credentials
from workers.deliver import delivery
from workers.deliver.attempt.result import AttemptResult, Outcome
from workers.deliver.breaker import THRESHOLD
from workers.deliver.content import DueDelivery, LoadedDelivery
from workers.deliver.health import Health
from workers.deliver.schedule import RetryPolicy
from workers.deliver.settings import SubscriptionSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = UUID(int=1)
SETTINGS = SubscriptionSettings(
    id=ID,
    subscriber="demo",
    url="https://example.org/hook",
    updated_at=NOW,
    dialect=get_dialect("standard"),
    credentials=Credentials(),
    retry_policy=RetryPolicy((0.0, 100.0)),
    max_rate=None,
    max_in_flight=1,
)


def due(attempts: int) -> LoadedDelivery:
    waiting = DueDelivery(ID, ID, ID, ID, 1, "channelape.receipt_confirmation", "K", attempts, NOW, False, False)
    return LoadedDelivery(ID, waiting, None, 0.0)


@pytest.mark.parametrize(
    ("attempts", "outcome", "is_final", "status", "least_seconds"),
    [
        (0, "delivered", False, "delivered", 0.0),
        (0, "delivered", True, "delivered", 0.0),
        (0, "timeout", False, "pending", 90.0),
        (0, "refused", True, "failed", 0.0),
        (1, "refused", False, "failed", 0.0),
    ],
)
def test_the_schedule_and_the_outcome_decide_the_status(
    attempts: int, outcome: Outcome, is_final: bool, status: str, least_seconds: float
) -> None:
    answer = AttemptResult(outcome=outcome, duration_ms=1.0)
    result = delivery.decide(due(attempts), SETTINGS, answer, NOW, is_final=is_final)
    assert (result.attempt, result.status, result.at) == (attempts + 1, status, NOW)
    assert least_seconds <= result.next_seconds <= least_seconds * 11 / 9


def test_a_retry_after_is_part_of_the_decision() -> None:
    answer = AttemptResult(outcome="refused", status_code=429, duration_ms=1.0, retry_after=500.0)
    assert delivery.decide(due(0), SETTINGS, answer, NOW, is_final=False).next_seconds == 500.0


def test_only_failures_of_the_server_open_the_breaker() -> None:
    health = Health.fresh(None)
    results = [
        AttemptResult(outcome="blocked", duration_ms=1.0),
        AttemptResult(outcome="refused", status_code=404, duration_ms=1.0),
    ]
    for now in range(2 * THRESHOLD):
        health.started(now)
        health.ended(results[now % 2], now)
        health.ended(None, now)  # cancelled
    assert health.wait(100.0) == 0.0
    for _ in range(THRESHOLD):
        health.ended(AttemptResult(outcome="timeout", duration_ms=1.0), 100.0)
    assert health.wait(100.0) > 0.0
