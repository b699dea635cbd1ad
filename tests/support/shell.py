"""The command line, as a person uses it: one process a command."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
"""This checkout: its commands are run, wherever the package is installed from."""


class CommandResult(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """JSON, a line each."""
        return [json.loads(line) for line in self.out.splitlines()]


class Shell:
    """Runs commands in a folder, with the servers in the environment."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env}

    async def start(self, *args: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deploy.cli.main", *args,
            cwd=self.folder, env=self.env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def __call__(self, *args: str) -> CommandResult:
        process = await self.start(*args)
        async with asyncio.timeout(40):
            out, err = await process.communicate()
        assert process.returncode is not None
        assert "Traceback" not in err.decode()
        return CommandResult(process.returncode, out.decode(), err.decode())
