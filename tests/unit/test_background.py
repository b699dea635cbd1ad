"""Supervised background tasks: a dead one is reported and ends the process."""

import asyncio
import logging

import pytest

from telemetry import background as supervision
from telemetry.background import Background, drain


async def test_a_task_that_raises_is_logged_reported_and_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()
    background = Background(on_death=ended.set)

    async def work() -> None:
        raise RuntimeError("broken")

    background.start(work(), name="sweep")
    with caplog.at_level(logging.ERROR, "crossdock.process"):
        await asyncio.wait_for(ended.wait(), 5)
    assert background.problems() == ["the task sweep died (RuntimeError: broken)"]
    assert [(record.message, vars(record)["task"]) for record in caplog.records] == [("background task died", "sweep")]


async def test_a_task_that_returns_counts_as_dead() -> None:
    ended = asyncio.Event()
    background = Background(on_death=ended.set)

    async def work() -> None:
        return

    background.start(work(), name="listen")
    await asyncio.wait_for(ended.wait(), 5)
    assert background.problems() == ["the task listen died (it returned)"]


async def test_stopping_does_not_count_as_dying_and_the_process_ends_once() -> None:
    deaths: list[str] = []
    background = Background(on_death=lambda: deaths.append("death"))
    gate = asyncio.Event()

    async def fail() -> None:
        await gate.wait()
        raise RuntimeError

    tasks = [background.start(fail(), name=name) for name in ("a", "b")]
    running = background.start(asyncio.Event().wait(), name="c")  # type: ignore[arg-type]
    gate.set()
    await asyncio.wait(tasks)
    await asyncio.sleep(0)
    await background.stop()
    assert running.cancelled()
    assert deaths == ["death"]
    assert len(background.problems()) == 2


async def test_a_task_that_swallows_one_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "CANCEL_AGAIN", 0.01)
    background = Background()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    background.start(stubborn(), name="stubborn")
    await asyncio.sleep(0)
    await asyncio.wait_for(background.stop(), 5)


async def test_draining_waits_for_tasks_and_cancels_those_that_are_late() -> None:
    async def work(gate: asyncio.Event) -> None:
        await gate.wait()

    gate = asyncio.Event()
    gate.set()
    quick, late = asyncio.create_task(work(gate)), asyncio.create_task(work(asyncio.Event()))
    await drain([quick, late], 0.1)
    assert (quick.done(), quick.cancelled(), late.cancelled()) == (True, False, True)
    await drain([], 0.1)
