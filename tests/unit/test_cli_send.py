"""`crossdock send`: what EVENT stands for, what is posted, how it is summed up."""

from pathlib import Path
from typing import Any

import pytest
import typer
from multidict import CIMultiDict, MultiDict

from deploy import config
from deploy.cli import load, send
from schemas import registry
from schemas.platform import Event, Platform

CASES = [
    pytest.param(platform, event, example, id=f"{platform.name}-{example}")
    for platform in registry.platforms().values()
    for event in platform.events
    for example in event.examples
]


@pytest.mark.parametrize(
    ("platform", "name", "event", "example"),
    [
        ("channelape", "receipt_confirmation", "receipt_confirmation", "receipt_confirmation"),
        ("channelape", "channelape.ship_confirmation", "ship_confirmation", "ship_confirmation"),
        ("ecomnow", "notification", "notification", "new_order"),
        ("ecomnow", "new_order", "notification", "new_order"),
        ("ecomnow", "ecomnow.order_cancellation", "notification", "order_cancellation"),
        ("ecomnow", "new_order_valid", "notification", "new_order_valid"),
        ("ustore", "manufacturer_allocation_one_item", "manufacturer_allocation", "manufacturer_allocation_one_item"),
    ],
)
def test_an_event_goes_by_its_name_its_type_or_its_example(platform: str, name: str, event: str, example: str) -> None:
    chosen = send.choose(registry.platforms()[platform], name)
    assert (chosen.event.name, chosen.example) == (event, example)


def test_every_event_every_type_and_every_example_can_be_sent() -> None:
    for platform in registry.platforms().values():
        for event in platform.events:
            for name in (event.name, *event.types, *event.examples):
                chosen = send.choose(platform, name)
                assert chosen.event == event
                assert chosen.example in event.examples


def test_an_unknown_event_lists_the_known_events() -> None:
    with pytest.raises(typer.BadParameter, match="'fax' is not one of notification, new_order, order_cancellation"):
        send.choose(registry.platforms()["ecomnow"], "fax")


def settings_of(platform: Platform) -> Any:
    return next(iter(config.parse({}, Path()).accounts[platform.name].values()))


@pytest.mark.parametrize(("platform", "event", "example"), CASES)
def test_many_are_many_documents_and_each_is_signed(platform: Platform, event: Event, example: str) -> None:
    settings = settings_of(platform)
    body = registry.example(platform.name, example)
    make = send.maker(platform, event, settings, body, with_new_key=True)
    keys = set()
    for _ in range(20):
        raw, headers, query = make()
        assert platform.verify(raw, CIMultiDict(headers), MultiDict(query), settings) is not None
        repaired = platform.repair(raw) if platform.repair else None
        keys.add(platform.read(event.name, repaired or raw).key)
    assert len(keys) == 20


@pytest.mark.parametrize(("platform", "event", "example"), CASES)
def test_one_is_the_example_byte_for_byte(platform: Platform, event: Event, example: str) -> None:
    body = registry.example(platform.name, example)
    make = send.maker(platform, event, settings_of(platform), body, with_new_key=False)
    assert make().body == make().body == body


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.5, 5.0), (0.9, 9.0), (0.91, 10.0), (0.99, 10.0), (1.0, 10.0)]
)
def test_quantiles_are_by_nearest_rank(share: float, expected: float) -> None:
    assert load.quantile([float(n) for n in range(1, 11)], share) == expected


def test_the_quantile_of_one_is_that_one() -> None:
    assert {load.quantile([3.0], share) for share in (0.0, 0.5, 1.0)} == {3.0}


def test_a_summary_counts_everything() -> None:
    tally = load.Tally()
    for n in range(97):
        tally.add("200", '{"id":"…"}', n / 1000)
    tally.add("error", "127.0.0.1:1: Connection refused", 0.2)
    tally.add("503", "later", 0.3)
    tally.add("200", "last", 0.4)
    summary = tally.summary(2.0)
    assert summary.statuses == {"200": 98, "503": 1, "error": 1}
    assert (summary.posted, summary.per_second) == (100, 50.0)
    assert summary.latency_ms == {"p50": 49.0, "p90": 89.0, "p99": 300.0, "max": 400.0}
    assert summary.first_failure == "error 127.0.0.1:1: Connection refused"
    assert summary.answer == "last"
    assert not summary.all_accepted


def test_all_2xx_is_all_accepted() -> None:
    tally = load.Tally()
    tally.add("200", "", 0.1)
    tally.add("204", "", 0.1)
    assert tally.summary(1.0).all_accepted
    assert tally.summary(1.0).first_failure is None
