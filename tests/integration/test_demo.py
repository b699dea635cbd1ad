"""`make demo`, as it is run."""

import asyncio
import os
import re
import sys
from pathlib import Path

import asyncpg
import pytest

from deploy.demo.__main__ import WIDTH
from schemas import registry

EVENTS = [
    (platform.name, example)
    for platform in registry.platforms().values()
    for event in platform.events
    for example in event.examples[: len(event.types)]
]


async def demo(folder: Path, **env: str) -> tuple[int | None, str]:
    """Exit code and all that was printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.demo",
        cwd=folder, env={"PATH": os.environ["PATH"], "TMPDIR": str(folder), **env},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode, out.decode()


def prepared(folder: Path) -> Path:
    folder.mkdir()
    return folder


# milliseconds: with a decimal, or without from a second on
AFTER = r"(\d{1,3}\.\d|\d{4,}) ms"


def assert_all_arrived(text: str) -> None:
    assert len(EVENTS) == 8
    assert "8 of 8 events arrived" in text
    blocks = re.split(r"\n\s*\n", text)
    for platform, example in EVENTS:
        (block,) = (block for block in blocks if re.search(rf"^{platform} .*\n{example} ", block, re.MULTILINE))
        assert re.search(rf"^{platform} +200 ", block, re.MULTILINE)
        assert re.search(rf" row +\S+ v1 +{AFTER}", block)
        assert re.search(rf" queue +{platform}\.\S+ +{AFTER}", block)
        for dialect in {"standard", platform} - {"ustore"} | ({"ecomnow"} if platform == "apicbase" else set()):
            assert re.search(rf" call +{dialect}, verified +{AFTER}", block), dialect
    for line in (
        "ustore.manufacturer_order.printshop.1 ",
        "ustore.manufacturer_order.printshop.2 ",
        "item  3087 to 2",
    ):
        assert line in text
    assert max(map(len, text.splitlines())) <= WIDTH


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_the_demo_delivers_everything_and_leaves_nothing_behind(servers: Path) -> None:
    folder = prepared(servers / "demo")
    code, text = await demo(folder)
    assert code == 0, text
    assert_all_arrived(text)
    assert '{"3087":"2","3088":"1"}' in text
    assert "1000-4612 v1" in text  # the documented examples, as they are
    assert list(folder.iterdir()) == []


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_the_demo_can_be_repeated_on_existing_servers(
    tmp_path: Path, amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    folder = prepared(tmp_path / "demo")
    for _ in range(2):
        code, text = await demo(folder, AMQP_URL=amqp_url, DATABASE_URL=database_url)
        assert code == 0, text
        assert_all_arrived(text)
    assert await database.fetchval("SELECT count(*) FROM crossdock.events") == 2 * len(EVENTS)


async def test_a_demo_that_does_not_start_names_the_cause_and_keeps_its_logs(tmp_path: Path, database_url: str) -> None:
    folder = prepared(tmp_path / "demo")
    code, text = await demo(folder, AMQP_URL="amqp://user:hush@127.0.0.1:1/", DATABASE_URL=database_url)
    assert code == 1
    assert (
        "failed: the pipeline did not start: crossdock: RabbitMQ can't be reached at amqp://user@127.0.0.1:1/" in text
    )
    (kept,) = folder.iterdir()
    assert f"logs are kept in {kept}" in text
    assert "hush" not in text
    assert (kept / "up.log").is_file()
