"""What a request holds for a worker's answer is given back once, and nothing is held where it does not fit."""

import asyncio
from typing import Any, cast

import pytest

from broker.outgoing import BrokerUnavailableError
from broker.publisher import Publisher
from broker.replies import Replies
from ingress.hooks.clock import ReceiveClock
from ingress.hooks.question import Question
from ingress.hooks.request import Broker

BODY = b"x" * 60


class Request:
    """As much of a request as its question uses."""

    def __init__(self) -> None:
        self.id = "m"
        self.timeouts = 0
        self.broker = Broker(Publisher(confirm_timeout=5.0, max_held_bytes=100), Replies(), ReceiveClock())

    def done(self) -> bool:
        return False

    def timed_out(self) -> None:
        self.timeouts += 1

    def held(self) -> tuple[int, int]:
        return self.broker.publisher.held_bytes, len(self.broker.replies)

    def ask(self, timeout: float = 60.0) -> Question:
        return Question(cast(Any, self), timeout, b"", BODY)


async def test_held_memory_is_released_once() -> None:
    request = Request()
    question = request.ask(0.0)  # its timer is due in the next turn of the loop
    assert (request.held(), question.done()) == ((60, 1), False)
    question.close()
    question.close()
    assert (request.held(), question.done()) == ((0, 0), True)
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, later.set)  # after its timer, if that had not been cancelled
    await later.wait()
    assert request.timeouts == 0


async def test_a_question_that_does_not_fit_leaves_nothing_behind() -> None:
    request = Request()
    request.broker.publisher.hold(len(BODY))
    with pytest.raises(BrokerUnavailableError):
        request.ask(0.0)
    assert request.held() == (60, 0)
