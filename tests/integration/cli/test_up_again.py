"""`crossdock up` on a state folder that it has used before, however it ended, with the default configuration."""

import os
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import aiormq
import asyncpg
import psutil
import pytest
from aiormq.exceptions import AMQPError

from schemas.topology import LOG_POLICY
from tests import restarts
from tests.support import pipeline

POLLED = """
[accounts.apicbase.bistro]
secrets = ["s"]
[accounts.apicbase.bistro.poll]
client_id = "c"
client_secret = "s"
base_url = "http://127.0.0.1:9"
"""


CONFIG = """
[events]
log_max_age = "14D"
[accounts.channelape.shop]
keys = [{ name = "t", secret = { env = "SHOP_SECRET" } }]
[subscribers.boards]
username = "boards"
password = { env = "BOARDS_PASSWORD" }
accounts = ["*/*"]
"""
SECRETS = {"SHOP_SECRET": "s", "BOARDS_PASSWORD": "p"}
OWN = {
    "ingress": {"AMQP_URL", "SHOP_SECRET"},
    "route": {"AMQP_URL"},
    "store": {"AMQP_URL", "DATABASE_URL"},
    "poll": {"AMQP_URL", "DATABASE_URL"},
    "deliver": {"DATABASE_URL", "CROSSDOCK_ENCRYPTION_KEY"},
    "api": {"DATABASE_URL", "CROSSDOCK_ENCRYPTION_KEY", "BOARDS_PASSWORD"},
    "console": {"AMQP_URL", "DATABASE_URL", "CROSSDOCK_ENCRYPTION_KEY", "CROSSDOCK_CONSOLE_TOKEN"},
}
"""By process: the variables with secrets that it may hold."""
EVERY = {name for own in OWN.values() for name in own}
USERS = "SELECT DISTINCT usename::text AS name FROM pg_stat_activity WHERE application_name LIKE 'crossdock%'"


async def check_that_each_holds_only_its_own(endpoints: dict[str, Any]) -> None:
    """Each process has the secrets of its own sections, and a login that is a member of its own role alone."""
    kinds = [name for name in endpoints["pids"] if name in OWN]
    for name in kinds:
        environment = psutil.Process(endpoints["pids"][name]).environ()
        assert environment.keys() & EVERY == OWN[name], name
        if "DATABASE_URL" in OWN[name]:
            assert f"//crossdock_{name}_login:" in environment["DATABASE_URL"]
    expected = {f"crossdock_{name}_login" for name in kinds if "DATABASE_URL" in OWN[name]}
    connection = await asyncpg.connect(endpoints["postgres"])

    async def connected() -> bool:
        return {row["name"] for row in await connection.fetch(USERS)} == expected

    await pipeline.until(connected, what="every process has connected as its own login")
    await connection.close()


@pytest.mark.busy_thread
@pytest.mark.long
async def test_up_starts_again_after_every_end(tmp_path: Path) -> None:
    state = tmp_path / "Straße, 5 * (%41)"
    seconds = await restarts.repeat(state, ("TERM", "KILL", "KILL", "TERM"), {})
    assert len(seconds) == 4

    # The fifth start, looked at closely: closed to others, a login of its own, another retention, polling by SIGHUP.
    config = tmp_path / "crossdock.toml"
    config.write_text(CONFIG)
    running = await restarts.start(state, SECRETS, "--config", str(config))
    try:
        assert "14D" in (state / LOG_POLICY).read_text()
        for path in (state, *state.iterdir(), *(state / "logs").iterdir()):
            if path.is_dir() or path.suffix in (".log", ".json", ".key", ".token"):
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        url = running.endpoints["amqp"]
        with pytest.raises(AMQPError):
            await aiormq.connect(f"amqp://guest:guest@{url.rpartition('@')[2]}")
        await check_that_each_holds_only_its_own(running.endpoints)
        config.write_text(config.read_text() + POLLED)
        running.process.send_signal(signal.SIGHUP)
        pid = await pipeline.until(lambda: restarts.read(state)["pids"].get("poll"), what="the poll worker runs")
        os.kill(pid, 0)
        assert "poll" in restarts.read(state)["admin"]
        await check_that_each_holds_only_its_own(restarts.read(state))
        config.write_text(config.read_text().replace(POLLED, ""))
        running.process.send_signal(signal.SIGHUP)
        await pipeline.until(lambda: "poll" not in restarts.read(state)["pids"], what="the poll worker has ended")
    finally:
        assert await running.terminate() == 0


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_a_wildcard_of_ipv6_is_both_families() -> None:
    from deploy.local.up import _url
    from schemas.config import Ingress

    assert Ingress(host="::").hosts == ["::", "0.0.0.0"]
    assert Ingress(host=["fd00::5", "10.0.0.5"]).hosts == ["fd00::5", "10.0.0.5"]
    assert _url("::", 8080) == _url("0.0.0.0", 8080) == "http://127.0.0.1:8080"
    assert _url("fd00::5", 8080) == "http://[fd00::5]:8080"
