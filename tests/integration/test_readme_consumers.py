"""The consumers of docs/receivers.md, as they stand there, beside a queue that `crossdock consumers add` makes."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker import consumers
from schemas.consumers import Consumer
from tests.support import node
from tests.support.announcing import announce_all
from tests.support.tools import MissingToolError

PAGE = (Path(__file__).parents[2] / "docs/receivers.md").read_text()
SECTION = PAGE.partition("## Consume a queue")[2].partition("\n## ")[0]


def block(language: str) -> str:
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    return str(code)


@asynccontextmanager
async def running(command: list[str], amqp_url: str) -> AsyncIterator[asyncio.StreamReader]:
    pipe = asyncio.subprocess.PIPE
    env = {**os.environ, "AMQP_URL": amqp_url}
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def reads(command: list[str], amqp_url: str) -> None:
    await consumers.add(amqp_url, Consumer(name="erp", types=["channelape.*"], accounts=["rothys"]))
    await announce_all(amqp_url, ["a", "b", "a"])
    await announce_all(amqp_url, ["not", "ours"], platform="ecomnow", account="shop")
    async with running(command, amqp_url) as output, asyncio.timeout(30):
        await announce_all(amqp_url, ["c"])
        lines = [(await output.readline()).decode().strip() for _ in range(3)]
    assert lines == ["channelape.x a 1", "channelape.x b 1", "channelape.x c 1"]


async def test_the_python_consumer_of_the_readme_works(amqp_url: str, tmp_path: Path) -> None:
    (tmp_path / "consumer.py").write_text(block("python"))
    await reads([sys.executable, str(tmp_path / "consumer.py")], amqp_url)


@pytest.mark.timeout(300)
async def test_the_nodejs_consumer_of_the_readme_works(amqp_url: str, tmp_path: Path) -> None:
    try:
        runs, packages = await asyncio.to_thread(lambda: (node.node(), node.packages()))
    except MissingToolError as why:
        pytest.skip(str(why))
    (tmp_path / "consumer.mjs").write_text(block("js"))
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    await reads([runs, str(tmp_path / "consumer.mjs")], amqp_url)
