"""The README's commands, run as they stand there against a running `crossdock up`."""

import asyncio
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from deploy.state import read_endpoints
from tests.support.shell import ROOT, Shell

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.startswith("crossdock ")
]


@pytest_asyncio.fixture
async def up(tmp_path: Path, servers: Path) -> AsyncIterator[Shell]:
    """Where a running `crossdock up` is found. It is ready within 40 s and gone within 15 s, and leaves nothing."""
    state = servers / f"up-{tmp_path.name}"
    env = {**os.environ, "CROSSDOCK_STATE": str(state)}
    command = [sys.executable, "-m", "deploy.cli.main", "up", "--port", "0"]
    with (tmp_path / "up.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=env, cwd=ROOT, stdout=log, stderr=log)
    try:
        async with asyncio.timeout(40):
            while not (endpoints := read_endpoints(state)).ingress:
                assert process.returncode is None, (tmp_path / "up.log").read_text()
                await asyncio.sleep(0.1)
        yield Shell(ROOT, CROSSDOCK_STATE=str(state))
        family = [
            *psutil.Process(process.pid).children(recursive=True),
            *map(psutil.Process, endpoints.pids.values()),
        ]
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 15)
        assert [left for left in family if left.is_running() and left.status() != psutil.STATUS_ZOMBIE] == []
        assert not (state / "endpoints.json").exists()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.long
async def test_every_command_of_the_readme_works(up: Shell) -> None:
    assert len(COMMANDS) >= 10
    for line in COMMANDS:
        result = await up(*shlex.split(line)[1:])
        assert result.code == 0, f"{line}: {result.out}{result.err}"


def test_the_readme_names_its_two_commands_and_make_has_them() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert "make demo" in README
    assert "make test" in README
