"""One encryption key in place of another, and what `status` and `check` say of subscriptions and their deliveries."""

import json
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp import web

from storage.vault import Vault
from tests.support.delivering import receipt, store, worker
from tests.support.pipeline import running, until
from tests.support.receiver import KEY, Receiver, config, receiver, statuses, subscribe
from tests.support.shell import Shell
from workers.deliver.worker import DeliverWorker

NEW = Vault.generate()


async def test_a_new_key_takes_over_and_the_old_one_is_needed_no_more(pool: asyncpg.Pool, database_url: str) -> None:
    async with receiver() as subscriber:
        id_ = await subscribe(pool, subscriber.url)
        both = DeliverWorker(config(), database_url=database_url, vault=Vault.from_text(f"{NEW},{KEY}"))
        new = Vault.from_text(NEW)

        async def renewed() -> bool:
            return not new.needs_rotation(await pool.fetchval("SELECT sealed FROM crossdock.subscribed"))

        async with running(both):
            await until(renewed)
        await _delivers(pool, subscriber, DeliverWorker(config(), database_url=database_url, vault=new))
    assert await pool.fetchval("SELECT id FROM crossdock.subscribed") == id_


async def _delivers(pool: asyncpg.Pool, subscriber: Receiver, sender: DeliverWorker) -> None:
    await store(pool, receipt("K"))
    async with running(sender):
        await until(lambda: subscriber.got)


async def test_status_shows_waiting_failed_and_disabled_subscriptions(
    pool: asyncpg.Pool, database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    async with receiver() as subscriber:
        subscriber.answer = lambda _: _refuse()
        await subscribe(pool, subscriber.url, schedule=[0.0])
        await store(pool, receipt("K"))
        async with running(worker(database_url)):
            await until(lambda: _are(pool, {"failed": 1}))
        await store(pool, receipt("L"))
        await subscribe(pool, subscriber.url, enabled=False)
        code, out = await run(tmp_path, "status", amqp_url, database_url, "--json")
        deliveries = json.loads(out)["deliveries"]
        assert (code, deliveries["waiting"], deliveries["due"], deliveries["failed_today"]) == (0, 1, 1, 1)
        assert (deliveries["subscriptions"], deliveries["disabled"]) == (2, 1)
        assert deliveries["oldest_due_seconds"] >= 0
        _, out = await run(tmp_path, "status", amqp_url, database_url)
        assert "deliveries  1 waiting, 1 of them due" in out
        assert "1 failed in the last day: `crossdock deliveries list --status failed`" in out
        assert "2 subscriptions, 1 of them disabled" in out


def _refuse() -> Any:
    return web.Response(status=500)


async def _are(pool: asyncpg.Pool, expected: dict[str, int]) -> bool:
    return await statuses(pool) == expected


async def test_check_names_subscriptions_that_cannot_be_served_and_why(
    pool: asyncpg.Pool, database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    settings = '[subscribers.demo]\nusername = "demo"\npassword = "demo-password"\naccounts = ["*/*"]\n'
    (tmp_path / "crossdock.toml").write_text(settings)
    fine = await subscribe(pool, "https://vendor.example/hook")
    _, out = await run(tmp_path, "check", amqp_url, database_url, "--json")
    assert _of(out) == []
    private = await subscribe(pool, "http://127.0.0.1/hook")
    nobodys = await subscribe(pool, "https://vendor.example/hook", subscriber="gone")
    typo = await subscribe(pool, "https://vendor.example/hook", accounts=["channelape/rothis"])
    code, out = await run(tmp_path, "check", amqp_url, database_url, "--json")
    assert code == 1
    assert sorted(problem.split(": ")[0] for problem in _of(out)) == sorted([str(private), str(nobodys), str(typo)])
    assert any("'channelape/rothis' matches no configured account" in problem for problem in _of(out))
    code, out = await run(tmp_path, "check", amqp_url, database_url, "--json", key=NEW)
    assert any(problem.startswith(f"{fine}: the key that this was encrypted with") for problem in _of(out))
    _, out = await run(tmp_path, "check", amqp_url, database_url, "--json", key="")
    assert _of(out) == ["CROSSDOCK_ENCRYPTION_KEY is empty: set it to the value that api and deliver have"]


def _of(out: str) -> list[str]:
    (problems,) = (check["problems"] for check in json.loads(out) if check["what"] == "subscriptions")
    return list(problems)


async def run(folder: Path, command: str, amqp: str, database: str, *args: str, key: str = KEY) -> tuple[int, str]:
    shell = Shell(folder, AMQP_URL=amqp, DATABASE_URL=database, CROSSDOCK_ENCRYPTION_KEY=key)
    result = await shell(command, *args)
    return result.code, result.out
