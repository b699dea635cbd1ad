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
import pytest_asyncio

from deploy.state import read_endpoints

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.startswith("crossdock ")
]


async def run(*command: str, env: dict[str, str]) -> tuple[int, str]:
    """Exit code and what was said."""
    process = await asyncio.create_subprocess_exec(
        *command, env=env, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode(errors="replace")


@pytest_asyncio.fixture
async def up(tmp_path: Path, servers: Path) -> AsyncIterator[dict[str, str]]:
    """A running `crossdock up`: the environment that finds it. Ready within 40 s, gone within 15 s, nothing left."""
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
        yield env
        family = [
            *psutil.Process(process.pid).children(recursive=True),
            *map(psutil.Process, endpoints.pids.values()),
        ]
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 15)
        assert [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
        assert not (state / "endpoints.json").exists()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_every_command_of_the_readme_works(up: dict[str, str]) -> None:
    assert len(COMMANDS) >= 10
    for line in COMMANDS:
        code, said = await run(sys.executable, "-m", "deploy.cli.main", *shlex.split(line)[1:], env=up)
        assert code == 0, f"{line}: {said}"


def test_the_readme_names_its_two_commands_and_make_has_them() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert "make demo" in README
    assert "make test" in README
