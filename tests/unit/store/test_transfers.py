"""When transfers are computed, and which documents they are computed from."""

import asyncio

import pytest

from schemas import registry
from workers.store import transfers


@pytest.mark.parametrize(("saturated", "expected"), [(0, 0.1), (10_000, 0.1 / 0.01 - 0.1), (5, 0.6)])
async def test_computing_keeps_its_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch, saturated: int, expected: float
) -> None:
    """A tenth of a second of work, while storing is saturated for that many looks at it."""
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr("workers.store.transfers.asyncio.sleep", sleep)
    monkeypatch.setattr("workers.store.transfers.time.monotonic", lambda: now)
    looks = iter(range(saturated))
    await transfers.rest(0.1, lambda: next(looks, None) is not None, 0.0)
    assert now == pytest.approx(expected, abs=0.11)


async def test_a_piece_that_takes_hours_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "MAX_PAUSE", 0.01)
    async with asyncio.timeout(5):
        await transfers.rest(3600.0, lambda: False, 0.0)


def test_only_platforms_with_transfers_have_any() -> None:
    assert registry.transfer_types() == {
        "channelape.stock_transfer_order",
        "channelape.ship_confirmation",
        "channelape.advanced_ship_notice",
        "channelape.receipt_confirmation",
    }
