"""One of our processes, sampled from inside: how much CPU the thread of its event loop spends in which stage.

A second thread samples the stack of the first one a thousand times per second, and adds the CPU time that the first one
has used since the last sample to the current stage. So waiting does not count, and small functions are not distorted:
profilers that hook into every call (cProfile, yappi) make them look large, and py-spy needs permission to trace, which
containers seldom have. Linux only, because it reads the clock of another thread.

python -m bench.sampler PROFILE KIND ARGUMENTS…    runs `crossdock ARGUMENTS`; twice a second, writes PROFILE
"""

import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

import msgspec

from bench import stages
from deploy.cli.main import main

PAUSE = 0.001
"""Seconds between two samples."""
SWITCH = 0.00005
"""Seconds after which the interpreter switches to the sampler; the default of 5 ms would hide shorter work."""
WRITE = 0.5


class Profile(msgspec.Struct, frozen=True):
    """CPU seconds so far."""

    stages: dict[str, float]
    sampler: float
    """CPU seconds of the sampler itself."""


class Sampler(threading.Thread):
    """The sampling thread, which runs as long as the process."""

    def __init__(self, file: Path, kind: str) -> None:
        super().__init__(daemon=True, name="sampler")
        self._file = file
        self._rules = stages.RULES[kind]
        self._known: dict[CodeType, str | None] = {}
        self._spent: Counter[str] = Counter()
        self._thread = threading.main_thread().ident or 0
        self._clock = time.pthread_getcpuclockid(self._thread)

    def run(self) -> None:
        before = time.clock_gettime(self._clock)
        due = 0.0
        while True:
            time.sleep(PAUSE)
            frame = sys._current_frames().get(self._thread)
            now = time.clock_gettime(self._clock)
            self._spent[self._stage(frame)] += now - before  # type: ignore[assignment]  # a Counter of seconds
            before = now
            if time.monotonic() >= due:
                due = time.monotonic() + WRITE
                self._write()

    def _stage(self, frame: FrameType | None) -> str:
        """Return the stage of the innermost frame that belongs to one."""
        while frame is not None:
            code = frame.f_code
            if code not in self._known:
                self._known[code] = stages.stage(self._rules, code.co_filename, code.co_name)
            stage = self._known[code]
            if stage is not None:
                return stage
            frame = frame.f_back
        return stages.LOOP

    def _write(self) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(Profile(dict(self._spent), time.thread_time())))
        os.replace(fresh, self._file)  # noqa: PTH105 - one call, no objects


def read(file: Path) -> Profile:
    """Return what a sampled process has written last."""
    return msgspec.json.decode(file.read_bytes(), type=Profile)


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH)
    Sampler(Path(sys.argv[1]), sys.argv[2]).start()
    sys.exit(main(sys.argv[3:]))
