"""When transfers are computed, and which documents they are computed from."""

import pytest

from schemas import registry
from workers.store import transfers


@pytest.mark.parametrize(("is_busy", "share"), [(True, 0.03), (False, 0.5)])
def test_computing_keeps_its_share_of_the_time(is_busy: bool, share: float) -> None:
    pause = transfers.pause_after(0.09, is_busy)
    assert 0.09 / (0.09 + pause) == pytest.approx(share)


def test_a_piece_that_takes_minutes_is_followed_by_others() -> None:
    assert transfers.pause_after(600.0, is_busy=True) == transfers.MAX_PAUSE


def test_only_platforms_with_transfers_have_any() -> None:
    assert registry.transfer_types() == {
        "channelape.stock_transfer_order",
        "channelape.ship_confirmation",
        "channelape.advanced_ship_notice",
        "channelape.receipt_confirmation",
    }
