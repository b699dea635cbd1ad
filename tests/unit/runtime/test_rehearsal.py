"""A message that ends every process that reads it is found by copies of the process, and no other is blamed."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.runtime import rehearsal, watchdog
from workers.runtime.outcomes import UnavailableError

PARENT = os.getpid()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(watchdog, "LIMIT", 0.3)
    monkeypatch.setattr(watchdog.arm, "__defaults__", (0.3,))


async def find_culprits(
    count: int, work: rehearsal.Work, *, control: Callable[[], object] = lambda: None
) -> dict[int, str]:
    """Return the verdicts on all suspects, by index, as the workers reach them."""
    suspects = await rehearsal.find_suspects(count, work)
    verdicts = {index: await rehearsal.convict(index, why, work, control=control) for index, why in suspects.items()}
    return {index: verdict for index, verdict in verdicts.items() if verdict is not None}


def loop_for_ever() -> None:
    while True:
        pass


def take_memory() -> None:
    taken = [bytes(rehearsal.MEMORY // 4) for _ in range(8)]
    assert taken


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "signal SIGSEGV"),
        (os.abort, "signal SIGABRT"),
        (lambda: os._exit(3), "exit code 3"),
        (loop_for_ever, "it took more than 0 seconds of processor time"),
        (take_memory, "it took more memory than there is for a message"),
    ],
    ids=["kill", "abort", "exit", "loop", "memory"],
)
async def test_only_the_message_that_ends_its_reader_is_blamed(ending: Callable[[], None], reason: str) -> None:
    def work(index: int) -> None:
        assert os.getpid() != PARENT
        if index == 7:
            ending()

    culprits = await find_culprits(20, work)
    assert culprits == {7: f"it ended the process that read it, 3 times of 3: {reason}"}


async def test_two_messages_that_end_their_reader_are_both_identified() -> None:
    def work(index: int) -> None:
        if index in (0, 9):
            os.abort()

    assert sorted(await find_culprits(10, work)) == [0, 9]


async def test_a_message_that_one_copy_reads_is_not_to_blame(tmp_path: Path) -> None:
    """A copy that was killed from outside proves nothing."""
    mark = tmp_path / "killed"

    def work(index: int) -> None:
        if index == 1 and not mark.exists():
            mark.touch()
            os.abort()

    assert await find_culprits(3, work, control=lambda: None) == {}


async def test_a_copy_that_is_killed_from_outside_blames_no_message() -> None:
    """The kernel does that when memory runs out, for which no message is to blame."""

    def work(index: int) -> None:
        if index == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(UnavailableError, match="SIGKILL"):
        await find_culprits(3, work)


async def test_the_machine_is_to_blame_if_the_control_message_ends_its_copy_too() -> None:
    with pytest.raises(UnavailableError, match="no message can be read here: signal SIGABRT"):
        await find_culprits(3, lambda index: os.abort(), control=os.abort)


async def test_exceptions_are_left_to_the_handler_and_waiting_takes_no_processor_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rehearsal, "WALL_LIMIT", 0.5)

    def work(index: int) -> None:
        if index == 0:
            raise ValueError
        if index == 1:
            time.sleep(60)

    culprits = await find_culprits(3, work)
    assert culprits == {1: "it ended the process that read it, 3 times of 3: it took too long"}


async def test_no_copy_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, copies = os.fork, []

    def noting() -> int:
        pid = fork()
        copies.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", noting)
    await find_culprits(50, lambda index: None)
    await find_culprits(2, lambda index: os._exit(1) if index else None)
    assert len(copies) == 6  # one for all; one for both, three for the second alone, and the control
    for pid in copies:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
