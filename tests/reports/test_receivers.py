"""Public reports about receivers and consumers: the code of docs/receivers.md, as it stands there, really run."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import aiormq
import pytest
from standardwebhooks import Webhook

from broker import consumers
from deploy.local.children import free_ports
from schemas.consumers import Consumer
from tests.support import node
from tests.support.pipeline import until
from tests.support.tools import MissingToolError

PAGE = (Path(__file__).parents[2] / "docs/receivers.md").read_text()
SECRET = "whsec_" + "c2VjcmV0LW9mLXJlY2VpdmVycw=="
BODY = '{"specversion":"1.0","type":"channelape.x","subject":"K1","version":2,"data":{"a":"\u00e9"}}'


def block(section: str, language: str) -> str:
    """The code of a section, by its language."""
    text = PAGE.partition(f"{section}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return str(code)


def headers(id_: str, body: str = BODY, secret: str = SECRET) -> dict[str, str]:
    """As the dialect `standard` sends them, by the official library."""
    now = datetime.now(UTC)
    return {
        "Content-Type": "application/cloudevents+json",
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(id_, now, body),
    }


async def receives(command: Sequence[str], cwd: Path) -> None:
    """A right delivery is acknowledged and handled, its repeat acknowledged alone, a wrong one refused."""
    port = free_ports(1)[0]
    env = {**os.environ, "CROSSDOCK_SECRET": SECRET, "PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        *command, env=env, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    url = f"http://127.0.0.1:{port}/hooks"
    try:
        async with aiohttp.ClientSession() as session:

            async def answers() -> bool:
                try:
                    async with session.post(url, data=b"{}"):
                        return True
                except aiohttp.ClientConnectionError:
                    return False

            await until(answers, what="the receiver", seconds=100)

            async def post(sent: dict[str, str], body: str = BODY) -> int:
                async with session.post(url, data=body.encode(), headers=sent) as answer:
                    return answer.status

            assert await post(headers("1")) == 204
            assert await post(headers("1")) == 204
            assert await post(headers("2", secret="whsec_" + "b3RoZXItc2VjcmV0LW9mLXRoZW0=")) == 401
            assert await post(headers("3"), BODY.replace("K1", "K2")) == 401
            assert await post({**headers("4"), "webhook-timestamp": "1000000000"}) == 401
            assert await post({**headers("4"), "webhook-timestamp": "\u00b2"}) == 401
            assert await post({**headers("4"), "webhook-signature": "v1,\u00e9"}) == 401
            assert await post({**headers("4"), "webhook-signature": ""}, "") == 401
            other = BODY.replace("K1", "K5")
            rotated = headers("5", other)
            rotated["webhook-signature"] = "v1,AAAA " + rotated["webhook-signature"]
            assert await post(rotated, other) == 204
        async with asyncio.timeout(10):
            lines: list[str] = []
            while len(lines) < 2:
                line = (await process.stdout.readline()).decode().strip()
                lines += [line] if line.startswith("channelape") else []  # Flask says first what it serves
        assert lines == ["channelape.x K1 2", "channelape.x K5 2"]
    finally:
        process.kill()
        await process.wait()


@pytest.mark.timeout(300)
async def test_a_receiver_in_express_reads_cloudevents(tmp_path: Path) -> None:
    """medplum#5140: `express.json()` ignores `application/cloudevents+json`, and the body is empty."""
    runs, packages = await _node()
    (tmp_path / "receiver.mjs").write_text(block("## Receive webhooks", "js"))
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    await receives([runs, "receiver.mjs"], tmp_path)


async def test_a_receiver_in_flask_reads_cloudevents(tmp_path: Path) -> None:
    """medplum#5140 (sibling): `request.json` refuses a Content-Type that it doesn't know."""
    (tmp_path / "receiver.py").write_text(block("## Receive webhooks", "python"))
    await receives([sys.executable, "receiver.py"], tmp_path)


@pytest.mark.timeout(300)
async def test_a_receiver_in_go_reads_cloudevents(tmp_path: Path) -> None:
    """Reported as medplum#5140 (sibling)."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no `go` on PATH")
    (tmp_path / "receiver.go").write_text(block("## Receive webhooks", "go"))
    building = await asyncio.create_subprocess_exec(
        go, "build", "-o", "receiver", "receiver.go", cwd=tmp_path, env={**os.environ, "CGO_ENABLED": "0"}
    )
    assert await building.wait() == 0
    await receives([str(tmp_path / "receiver")], tmp_path)


@pytest.mark.timeout(300)
async def test_a_consumer_whose_queue_is_deleted_ends(amqp_url: str, tmp_path: Path) -> None:
    """amqplib#176: the callback is given null, and died of it."""
    runs, packages = await _node()
    (tmp_path / "consumer.mjs").write_text(block("## Consume a queue", "js"))
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    await consumers.add(amqp_url, Consumer(name="erp", types=["*"], accounts=["*"]))
    process = await asyncio.create_subprocess_exec(
        runs, "consumer.mjs", cwd=tmp_path, env={**os.environ, "AMQP_URL": amqp_url}, stderr=asyncio.subprocess.PIPE
    )
    connection = await aiormq.connect(amqp_url)
    try:
        channel = await connection.channel()

        async def consumed() -> bool:
            return (await channel.queue_declare("crossdock.consumer.erp", passive=True)).consumer_count == 1

        await until(consumed, seconds=60)
        await channel.queue_delete("crossdock.consumer.erp")
        _, output = await asyncio.wait_for(process.communicate(), 20)
        assert (process.returncode, output) == (1, b"")
    finally:
        await connection.close()
        if process.returncode is None:
            process.kill()


async def _node() -> tuple[str, Path]:
    try:
        return await asyncio.to_thread(lambda: (node.node(), node.packages()))
    except MissingToolError as why:
        pytest.skip(str(why))
