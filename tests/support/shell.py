"""The command line, as a person uses it: one process per command."""

import asyncio
import importlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
"""This checkout: its commands are run, wherever the package is installed from."""
TIMEOUT = 40.0
"""Seconds that a command may take."""
PRELOADED = (
    "aiohttp",
    "broker.consumers",
    "broker.eventlog",
    "broker.ids",
    "deploy.cli.load",
    "deploy.cli.main",
    "deploy.cli.quarantine_replay",
    "deploy.config",
    "ingress.api.shapes",
    "prometheus_client.parser",
    "rich.table",
    "schemas.asyncapi.document",
    "schemas.registry",
    "storage.erasure",
    "storage.find",
    "storage.pool",
    "storage.replays",
    "storage.trace",
    "uvloop",
    "workers.route.answers",
)
"""Imported once, by the process from which commands are forked: what commands import when they are called."""

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(list(PRELOADED))


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
        """The output's lines, each of which is JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


class Shell:
    """Runs commands in a folder, with the servers in the environment.

    Each command is a process of its own, forked from one that has imported its modules, because importing them takes
    longer than what most commands do.
    """

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env}

    async def start(self, *args: str) -> asyncio.subprocess.Process:
        """Start a command that goes on until it is stopped, or whose output is read while it runs."""
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deploy.cli.main", *args,
            cwd=self.folder, env=self.env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def __call__(self, *args: str) -> CommandResult:
        """Run a command to its end."""
        result = await asyncio.to_thread(self._run, args)
        assert "Traceback" not in result.err, result.err
        return result

    def _run(self, args: tuple[str, ...]) -> CommandResult:
        with tempfile.TemporaryDirectory(prefix="crossdock-command-") as name:
            output = Path(name)
            process = _CONTEXT.Process(target=_command, args=(args, self.folder, self.env, output))
            process.start()
            process.join(TIMEOUT)
            if process.exitcode is None:
                process.kill()
                process.join()
                raise TimeoutError(f"crossdock {' '.join(args)} took more than {TIMEOUT} s")
            code = process.exitcode
            process.close()
            out, err = ((output / stream).read_bytes().decode() for stream in ("out", "err"))
            return CommandResult(code, out, err)


def _command(args: tuple[str, ...], folder: Path, env: Mapping[str, str], output: Path) -> None:
    """Run a command in the process forked for it, which ends with the command's exit code."""
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    for handle, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT, 0o600), handle)
    os.chdir(folder)
    from broker import ids
    from deploy.cli.main import main

    importlib.reload(ids)  # the only module with a state of its own, from which no two processes may make their ids
    sys.exit(main(args))
