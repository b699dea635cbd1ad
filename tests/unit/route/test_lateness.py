"""What has waited too long is told without comparing two machines' wall clocks."""

from datetime import UTC, datetime, timedelta

import pytest

from schemas.envelope import Envelope
from workers.route import lateness
from workers.route.lateness import Lateness

EPOCH = datetime(2026, 11, 27, 12, tzinfo=UTC)
TIMEOUT = 2.0


class World:
    """Two machines whose wall clocks, and monotonic clocks, have nothing to do with each other."""

    def __init__(self, *, wall_ahead: float = 0.0, monotonic_ahead: float = 0.0) -> None:
        self.now = 0.0
        """The true time, which neither machine knows."""
        self._ahead = monotonic_ahead
        wall = EPOCH.timestamp() + wall_ahead
        self.lateness = Lateness(lambda: 1000.0 + self.now * (1 + self.drift), lambda: wall + self.now)
        self.drift = 0.0

    def request(self, ingress: str = "a", *, clock: bool = True) -> Envelope:
        """A request that an ingress receives now."""
        received = EPOCH + timedelta(seconds=self.now)
        return Envelope(
            message_id="1",
            platform="ustore",
            account="printshop",
            event="manufacturer_allocation",
            received_at=received,
            reply_to=f"amq.rabbitmq.reply-to.{ingress}",
            deadline=received.timestamp() + TIMEOUT,
            clock=self._ahead + self.now if clock else None,
        )

    def after(self, seconds: float, request: Envelope) -> bool:
        self.now += seconds
        return self.lateness.is_late(request)


@pytest.mark.parametrize("wall_ahead", [-120.0, 0.0, 120.0])
@pytest.mark.parametrize("monotonic_ahead", [-1e6, 0.0, 1e6])
def test_clocks_that_differ_change_nothing(wall_ahead: float, monotonic_ahead: float) -> None:
    world = World(wall_ahead=wall_ahead, monotonic_ahead=monotonic_ahead)
    assert not world.after(0.005, world.request())
    assert not world.after(0.1, world.request())
    assert not world.after(1.9, world.request())
    assert world.after(2.1, world.request())
    assert not world.after(0.01, world.request())


def test_each_ingress_has_its_own_clock() -> None:
    world, other = World(monotonic_ahead=0.0), World(monotonic_ahead=500.0)
    other.lateness = world.lateness
    assert not world.after(0.01, world.request("a"))
    assert not world.after(0.01, other.request("b"))
    assert not world.after(0.01, world.request("a"))
    assert world.after(3.0, world.request("a"))


def test_clocks_that_drift_apart_make_no_request_late() -> None:
    world = World()
    world.drift = 0.0005
    assert not world.after(0.0, world.request())
    for _ in range(100):
        world.now += 3600.0
        assert not world.after(0.01, world.request())


def test_requests_that_waited_long_are_late_and_a_short_backlog_is_answered() -> None:
    world = World(wall_ahead=120.0)
    assert not world.after(60.0, world.request("restarted a minute ago"))
    assert world.after(lateness.SURELY_LATE + TIMEOUT, world.request("restarted long ago"))


def test_an_ingress_without_the_header_is_believed_its_wall_clock() -> None:
    world = World()
    assert not world.after(1.9, world.request(clock=False))
    assert world.after(2.1, world.request(clock=False))


def test_addresses_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lateness, "KEPT", 3)
    world = World()
    for number in range(10):
        world.after(0.01, world.request(str(number)))
    assert len(world.lateness._differences) == 3
