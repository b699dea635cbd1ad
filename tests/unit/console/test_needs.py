"""Sentences about what needs somebody, from every state that the broker and the database can be in."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from ingress.console.advice import ADVICE, Need
from ingress.console.needs import needs_of
from storage.overview import (
    AccountActivity,
    DeliveryCounts,
    DisabledSubscription,
    Disagreements,
    Overview,
    RefusedSubscription,
    TransferCounts,
)
from storage.polls import FailingAccount
from storage.quarantine import STAGES, StageCount

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
RUNBOOK = (Path(__file__).parents[3] / "docs/runbook.md").read_text()

CALM = Overview(
    deliveries=DeliveryCounts(5, 5, 3.0, 0, 2, 0),
    quarantine=dict.fromkeys(STAGES, StageCount(0, 0.0)),
    disabled=(),
    refused=(),
    consumers=("billing",),
    transfers=TransferCounts({}, 0.0, 1.0, 1.0),
    accounts=(),
    failing_polls=(),
)


def needs(
    stored: Overview, depths: Mapping[str, tuple[int, int]] | None = None, unknown: str | None = None
) -> list[Need]:
    return needs_of(stored, depths, unknown, NOW, {("apicbase", "0"): "api.apicbase.com"})


def account(number: int) -> AccountActivity:
    return AccountActivity("channelape", f"shop{number}", NOW, 9, 90_000.0, 60.0, 3600.0, quiet=True)


def disabled(number: int, reason: str | None) -> DisabledSubscription:
    return DisabledSubscription(UUID(int=number), "acme", "https://acme.example/in", reason, NOW)


@pytest.mark.parametrize(
    ("queue", "depth", "text", "section"),
    [
        ("crossdock.store", (1, 0), "1 message waits in crossdock.store, and nothing takes it.", "QueueUnattended"),
        ("crossdock.store.3", (7, 0), "7 messages wait in crossdock.store.3, and nothing takes", "QueueUnattended"),
        ("crossdock.store", (10_001, 2), "10,001 messages wait in crossdock.store: they arrive faster", "Behind"),
        ("crossdock.route.ustore", (2, 0), "2 messages wait in crossdock.route.ustore, and nothing", "QueueUnattended"),
        ("crossdock.dead", (2, 1), "2 messages wait in crossdock.dead: they were rejected.", "Dead"),
        ("crossdock.unrouted", (2, 1), "2 messages wait in crossdock.unrouted: no queue took them.", "Dead"),
        ("crossdock.consumer.billing", (2, 0), "and its consumer is not connected.", "ConsumerBehind"),
        ("crossdock.consumer.billing", (200_000, 1), "more than its consumer takes.", "ConsumerBehind"),
        ("crossdock.consumer.billing.dead", (2, 0), "they were rejected.", "Dead"),
    ],
)
def test_a_queue_that_needs_somebody(queue: str, depth: tuple[int, int], text: str, section: str) -> None:
    [need] = needs(CALM, {queue: depth})
    assert text in need.text
    assert need.section == f"Crossdock{section}"


@pytest.mark.parametrize(
    ("queue", "depth"),
    [
        ("crossdock.store", (0, 0)),
        ("crossdock.store", (500, 1)),
        ("crossdock.events.log", (1_000_000, 0)),
        ("crossdock.consumer.billing", (500, 1)),
    ],
)
def test_a_queue_that_needs_nobody(queue: str, depth: tuple[int, int]) -> None:
    assert needs(CALM, {queue: depth}) == []


def test_many_of_a_kind_share_a_sentence() -> None:
    stored = msgspec.structs.replace(
        CALM,
        accounts=[account(number) for number in range(9)],
        failing_polls=[FailingAccount("apicbase", str(number), 1, None, None) for number in range(6)],
        deliveries=DeliveryCounts(0, 0, None, 0, 12, 9),
        disabled=[disabled(number, "410 Gone") for number in range(8)],
        transfers=TransferCounts({str(number): number for number in range(1, 8)}, 90_000.0, 0.0, 1.0),
    )
    texts = [need.text for need in needs(stored)]
    assert "4 more accounts are quiet for longer than usual." in texts
    assert "1 more account could not be polled." in texts
    assert "4 more subscriptions are disabled." in texts
    assert "28 transfers are late (7 7, 6 6, 5 5, 4 4, 3 3 and 2 other accounts), by up to 25 h." in texts
    assert len(texts) == 5 + 1 + 5 + 1 + 5 + 1 + 1


@pytest.mark.parametrize(
    ("status_code", "outcome", "error", "why"),
    [
        (500, "refused", "500 Internal Server Error", "the last was answered with 500."),
        (None, "connection", "the connection was refused", "the last failed: the connection was refused."),
        (None, "timeout", None, "the last failed: timeout."),
        (None, None, None, "the last failed: no reason is known."),
    ],
)
def test_a_subscriber_that_does_not_take_what_is_sent(
    status_code: int | None, outcome: str | None, error: str | None, why: str
) -> None:
    refused = RefusedSubscription(
        UUID(int=3), "wms", "http://wms.example/broken", 31, 4, 720.0, outcome, status_code, error
    )
    [need] = needs(msgspec.structs.replace(CALM, refused=[refused]))
    start = "31 deliveries wait for wms at http://wms.example/broken, the oldest for 12 min and after 4 attempts: "
    assert (need.kind, need.text) == ("warn", start + why)
    due = DeliveryCounts(31, 31, 720.0, 0, 2, 0)
    assert len(needs(msgspec.structs.replace(CALM, refused=[refused], deliveries=due))) == 1
    many = msgspec.structs.replace(refused, waiting=1001)
    [need] = needs(msgspec.structs.replace(CALM, refused=[many]))
    assert need.text.startswith("1,000+ deliveries wait for wms")


def test_what_somebody_disabled_on_purpose_needs_nobody() -> None:
    stored = msgspec.structs.replace(CALM, deliveries=DeliveryCounts(0, 0, None, 0, 2, 1), disabled=[disabled(1, None)])
    assert [(need.kind, need.text) for need in needs(stored)] == [("note", "1 subscription is disabled, on request.")]


def test_every_sentence_names_a_section_of_the_runbook_and_the_most_urgent_comes_first() -> None:
    stored = msgspec.structs.replace(
        CALM,
        deliveries=DeliveryCounts(9, 9, 500.0, 10_001, 2, 1),
        quarantine={"failed": StageCount(1, 90_000.0), "unrouted": StageCount(10_001, 5.0)},
        disabled=[disabled(1, "410 Gone")],
        accounts=[account(1)],
        failing_polls=[FailingAccount("apicbase", "kitchen", 2, "401", NOW)],
        transfers=TransferCounts({"rothys": 1}, 90_000.0, 100.0, 0.5),
    )
    shown = needs(stored, {"crossdock.store": (3, 0)}, "RabbitMQ does not answer within 2 s.")
    assert [need.kind for need in shown] == sorted((need.kind for need in shown), key=["bad", "warn", "note"].index)
    assert len(shown) == 12
    for need in shown:
        assert f"\n## {need.section}\n" in RUNBOOK, need.text
        assert need.advice, need.text
    texts = [need.text for need in shown]
    assert "1 message is in quarantine as failed, the oldest for 25 h." in texts
    assert "10,000+ messages are in quarantine as unrouted, the oldest for 5 s." in texts
    assert "10,000+ deliveries failed for good in the last 24 hours." in texts


def test_advice_is_what_the_runbook_says() -> None:
    sections = re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    runbook = {name: " ".join(text.split()) for name, text in sections}
    for section, advice in ADVICE.items():
        for sentence in re.split(r"(?<=[.?]) (?=[A-Z`])", advice):
            assert sentence in runbook[section], section
        assert advice.count("`") % 2 == 0, section


def test_a_sentence_says_since_when_it_is_so() -> None:
    stored = msgspec.structs.replace(
        CALM,
        deliveries=DeliveryCounts(9, 9, 500.0, 0, 2, 1),
        disabled=[disabled(1, "410 Gone")],
        accounts=[account(1)],
        failing_polls=[FailingAccount("apicbase", "0", 2, "401", NOW)],
    )
    stored = msgspec.structs.replace(
        stored, accounts=[*stored.accounts, msgspec.structs.replace(account(0), platform="apicbase", account="0")]
    )
    late, off, poll, quiet = needs(stored)
    assert (late.since, off.since) == (NOW - timedelta(seconds=500), NOW)
    assert poll.text == "apicbase/0 could not be polled at api.apicbase.com 2 times in a row: 401."
    assert (poll.since_word, poll.since) == ("The last poll that succeeded:", NOW)
    assert (quiet.since_word, quiet.since) == ("The last message:", NOW)


def test_what_concerns_more_comes_first() -> None:
    fewest = RefusedSubscription(UUID(int=3), "wms", "http://wms.example", 3, 4, 9000.0, "refused", 500, None)
    stored = msgspec.structs.replace(
        CALM,
        deliveries=DeliveryCounts(0, 0, None, 7, 2, 0),
        refused=[fewest, msgspec.structs.replace(fewest, subscriber="shop", waiting=50, oldest_seconds=300.0)],
        quarantine={"refused": StageCount(1, 5.0), "failed": StageCount(2, 5.0)},
    )
    numbers = [need.text.split()[0] for need in needs(stored)]
    assert numbers == ["50", "3", "7", "2", "1"], "subscribers, then failed deliveries, then single messages"


def test_documents_that_disagree_are_good_to_know() -> None:
    stored = msgspec.structs.replace(CALM, disagreements=Disagreements(2, {"short": 2, "direction_flipped": 1}))
    [need] = needs(stored)
    assert (need.kind, need.href) == ("note", "/console/transfers?only=disagreements")
    assert need.text == (
        "2 transfers have documents that disagree, among those of the last 7 days: 2 short, 1 direction flipped."
    )
