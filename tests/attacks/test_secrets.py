"""No secret used in a run is in anything that it says: logs, metrics, health, message headers, errors, commands."""

import base64
import json
import secrets
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import aiormq
import asyncpg
import pytest
from aiohttp import web

from schemas import topology
from storage.vault import Vault
from tests.attacks import processes, raw
from tests.support.bodies import known
from tests.support.pipeline import load, until
from tests.support.receiver import ReceivedRequest, receiver
from tests.support.shell import Shell

HEARD = "attack-heard"


def forms(secret: str) -> Iterator[bytes]:
    """How it may look where it has leaked."""
    plain = secret.encode()
    yield from (plain, plain.hex().encode(), plain.hex().upper().encode(), repr(secret)[1:-1].encode())
    yield from (urllib.parse.quote(secret, safe="").encode(), urllib.parse.quote_plus(secret).encode())
    yield json.dumps(secret)[1:-1].encode()
    for shift in range(3):  # base64 of something that it stands in: the characters that depend on nothing but it
        encoded = base64.b64encode(b"\0" * shift + plain)
        inner = encoded[(0, 2, 3)[shift] : len(encoded) // 4 * 4 - 4]
        yield from (inner, inner.replace(b"+", b"-").replace(b"/", b"_"))


def found_in(text: bytes, used: dict[str, str]) -> list[str]:
    """Names of the secrets that are in there, in any form."""
    return [name for name, secret in used.items() if any(form in text for form in forms(secret))]


def fresh(name: str) -> str:
    """One that stands nowhere else, and looks different in each form."""
    return f"{name}+/&é {secrets.token_urlsafe(12)}"


def settings(used: dict[str, str]) -> str:
    """A configuration in which every secret is one of `used`."""
    quoted = {name: json.dumps(secret, ensure_ascii=False) for name, secret in used.items()}
    return f"""
[log]
level = "debug"
[api]
operator_token = {quoted["operator"]}
[accounts.apicbase.acme]
secrets = [{quoted["apicbase"]}]
verdict_timeout = 0.5
[accounts.channelape.rothys]
keys = [{{ name = "token", secret = {quoted["channelape"]} }}]
[accounts.ecomnow.shop]
authorizations = [{quoted["ecomnow"]}]
[accounts.ustore.printshop]
secrets = [{quoted["ustore"]}]
answer_timeout = 0.5
[subscribers.boards]
username = "boards"
password = {quoted["password"]}
accounts = ["*/*"]
[delivery]
allow_http = true
allow_networks = ["127.0.0.0/8"]
schedule = [0, 0]
timeout = 2.0
"""


@asynccontextmanager
async def pipeline(folder: Path, env: dict[str, str], file: Path) -> AsyncIterator[dict[str, processes.Process]]:
    """Every process of ours."""
    async with AsyncExitStack() as stack:
        started = {}
        for name in (("ingress",), ("api",), ("worker", "store"), ("worker", "route"), ("worker", "deliver")):
            entering = processes.running(*name, folder=folder, env=env, config=file)
            started[name[-1]] = await stack.enter_async_context(entering)
        yield started


@pytest.mark.long
async def test_no_output_of_a_run_contains_a_secret(
    tmp_path: Path, amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    used = {name: fresh(name) for name in ("operator", "apicbase", "channelape", "ustore", "password", "mine")}
    used["ecomnow"] = "Basic " + base64.b64encode(fresh("ecomnow").encode()).decode()
    used["theirs"] = f"Bearer {secrets.token_hex(16)}"
    used["database"] = urllib.parse.urlsplit(database_url).password or ""
    used["encryption"] = Vault.generate()
    file = tmp_path / "secrets.toml"
    file.write_text(settings(used))
    env = {"AMQP_URL": amqp_url, "DATABASE_URL": database_url, "CROSSDOCK_ENCRYPTION_KEY": used["encryption"]}
    texts: dict[str, bytes] = {}
    async with receiver() as subscriber, pipeline(tmp_path, env, file) as running, aiohttp.ClientSession() as session:
        subscriber.answer = _echo
        broker = await aiormq.connect(amqp_url)
        channel = await broker.channel()
        await channel.queue_declare(HEARD, durable=True)
        for exchange in (topology.INBOUND, topology.EVENTS):
            await channel.queue_bind(HEARD, exchange, "#")
        api = f"http://127.0.0.1:{running['api'].port}"
        login = {"Authorization": aiohttp.encode_basic_auth("boards", used["password"], "utf-8")}
        for body in (
            {"url": f"{subscriber.url}/a", "dialect": "channelape", "types": ["channelape.*"], "secret": used["mine"]},
            {
                "url": f"{subscriber.url}/b",
                "dialect": "ecomnow",
                "authorization": used["theirs"],
                "types": ["ecomnow.*"],
            },
            {"url": f"{subscriber.url}/c"},
        ):
            async with session.post(f"{api}/v1/subscriptions", json=body, headers=login) as answer:
                subscription = await answer.json()
                assert answer.status == 201, subscription
                if subscription.get("secret") and subscription["secret"] != used["mine"]:
                    used["made for " + body["url"][-1]] = subscription["secret"]
        texts |= await _refused_by_the_api(session, api, used)
        texts |= await _posts(session, running["ingress"].port, file)
        await until(lambda: _called(database), what="every subscriber has been called", seconds=40)
        for name, process in running.items():
            for path in ("/metrics", "/healthz", "/readyz"):
                texts[f"{name}{path}"] = (await process.get(path)).encode()
        texts |= await _commands(Shell(tmp_path, **env, CROSSDOCK_CONFIG=str(file)), database)
        while isinstance((message := await channel.basic_get(HEARD, no_ack=True)).delivery, aiormq.spec.Basic.GetOk):
            texts[f"message {len(texts)}"] = repr(dict(message.header.properties)).encode() + message.body
        await broker.close()
    for process in running.values():
        texts[process.log.name] = process.log.read_bytes()
        assert texts[process.log.name]
    assert {got.path for got in subscriber.got} == {"/a", "/b", "/c"}
    assert sum(name.startswith("message") for name in texts) >= 2 * len(known())
    assert {name: held for name, text in texts.items() if (held := found_in(text, used))} == {}


def _echo(got: ReceivedRequest) -> web.Response:
    """What a careless subscriber answers: all that it was sent, and that it failed."""
    return web.Response(status=500, text=f"{got.query} {got.headers} {got.body[:500]!r}")


async def _posts(session: aiohttp.ClientSession, port: int, file: Path) -> dict[str, bytes]:
    """Every example, signed; the same changed; and the credential in requests that can't be read or lead nowhere."""
    config = load(file)
    texts: dict[str, bytes] = {}
    for platform, event, body in known():
        name, account = next(iter(config.accounts[platform.name].items()))
        signed = platform.sign(body, account)
        headers = {key: value.encode("utf-8").decode("latin-1") for key, value in signed.headers.items()}
        path = f"/hooks/{platform.name}/{name}/{event.path}"
        url = f"http://127.0.0.1:{port}{path}"
        for kind, sent, query in (
            ("signed", body, signed.query),
            ("changed", body + b" ", {key: value + "x" for key, value in signed.query.items()}),
        ):
            async with session.post(url, data=sent, headers=signed.headers, params=query) as answer:
                texts[f"{kind} {platform.name} {event.name} {len(texts)}"] = (
                    await answer.read() + repr(answer.headers).encode()
                )
                assert answer.status < 500 or platform.name == "ustore"
                if kind == "signed" and platform.name in ("channelape", "ecomnow"):
                    assert answer.status == 200
        target = path + "?" + urllib.parse.urlencode(signed.query | headers)
        for broken in (f"POST {target} HTTP/9.1\r\n\r\n", f"POST {target}\x01 HTTP/1.1\r\n\r\n", f"{target}\r\n\r\n"):
            texts[f"broken {len(texts)}"] = await raw.ask(port, broken.encode())
        texts[f"elsewhere {len(texts)}"] = await raw.ask(
            port, f"POST /x{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
    return texts


async def _refused_by_the_api(session: aiohttp.ClientSession, api: str, used: dict[str, str]) -> dict[str, bytes]:
    """Credentials in the wrong places, and a secret in a body that is refused."""
    texts: dict[str, bytes] = {}
    login = {"Authorization": aiohttp.encode_basic_auth("boards", used["password"], "utf-8")}
    refused = {"url": "https://a.example/", "dialect": "channelape", "secret": used["mine"], "schedule": [-1]}
    nowhere = {"url": "nowhere", "webhookType": "new_order", "authentication": used["theirs"]}
    calls: list[tuple[str, str, dict[str, str], object]] = [
        ("GET", "/v1/subscriptions", {"Authorization": f"Bearer {used['encryption']}"}, None),
        ("GET", "/v1/subscriptions", {"Authorization": aiohttp.encode_basic_auth("x", used["mine"], "utf-8")}, None),
        ("POST", "/v1/subscriptions", login, refused),
        ("POST", "/basic/webhooks", login, nowhere),
    ]
    for method, path, headers, body in calls:
        async with session.request(method, api + path, headers=headers, json=body) as answer:
            assert 400 <= answer.status < 500
            texts[f"{method} {path} {len(texts)}"] = await answer.read() + repr(answer.headers).encode()
    return texts


async def _commands(shell: Shell, database: asyncpg.Connection) -> dict[str, bytes]:
    delivery = await database.fetchval("SELECT id FROM crossdock.deliveries WHERE attempts > 0 LIMIT 1")
    key = await database.fetchval("SELECT key FROM crossdock.events WHERE platform = 'channelape' LIMIT 1")
    commands = [
        ("check",), ("check", "--json"), ("status", "--json"), ("trace", key, "--json"), ("topology", "export"),
        ("quarantine", "list", "--json"), ("deliveries", "list", "--json"), ("consumers", "list", "--json"),
        ("deliveries", "show", str(delivery), "--json"), ("asyncapi",),
    ]  # fmt: skip
    texts: dict[str, bytes] = {}
    for args in commands:
        done = await shell(*args)
        texts["crossdock " + " ".join(args)] = (done.out + done.err).encode()
    return texts


async def _called(database: asyncpg.Connection) -> bool:
    """Everything is stored, and all three subscribers have been called; not all deliveries: the breaker opens."""
    row = await database.fetchrow(
        "SELECT (SELECT count(*) FROM crossdock.events) AS events, "
        "count(DISTINCT subscription_id) FILTER (WHERE attempts > 0) AS called FROM crossdock.deliveries"
    )
    assert row is not None
    return bool(row["events"] >= len(known()) and row["called"] == 3)


def test_every_form_of_a_secret_is_found() -> None:
    secret = fresh("one")
    plain = secret.encode()
    for text in (
        secret.encode(),
        plain.hex().encode(),
        urllib.parse.urlencode({"token": secret}).encode(),
        json.dumps({"a": secret}).encode(),
        *(base64.b64encode(b"x" * before + plain + b"yz") for before in range(5)),
        base64.urlsafe_b64encode(b"boards:" + plain),
        repr(secret).encode(),
    ):
        assert found_in(b"before " + text + b" after", {"one": secret}) == ["one"], text
    assert found_in(b"before after", {"one": secret}) == []
