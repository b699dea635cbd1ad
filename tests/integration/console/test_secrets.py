"""No configured secret, token, sealed value or query of a URL is in a page, a header or a line of the log."""

import asyncio
import logging
import re
from functools import partial

import asyncpg
import msgspec
import pytest

from ingress.console import audit
from ingress.console.routes import ROUTES
from ingress.console.session import make_link
from schemas.config import Operator
from storage import actions
from telemetry.logs import JsonFormatter
from tests.attacks.test_secrets import found_in, fresh
from tests.integration.console.test_rights import path_of
from tests.support import seeding
from tests.support.console import ACT, READ, Answer, config, console
from tests.support.receiver import VAULT, subscribe


def address_of(path: str, seeds: seeding.Seeds) -> str:
    """The address of a page with something to show."""
    ids = {
        "deliveries": seeds.delivery,
        "documents": seeds.documents["channelape.stock_transfer_order"],
        "quarantine": seeds.quarantined,
        "subscriptions": seeds.subscription,
        "transfers": seeds.transfer,
    }
    if path == "/console/documents":
        type_ = "channelape.stock_transfer_order"
        return f"{path}?platform=channelape&account=rothys&type={type_}&key={seeds.transfer}"
    return re.sub(r"\{\w+(:[^}]+)?\}", str(ids.get(path.split("/")[2:3][0], "") if path != "/console" else ""), path)


@pytest.mark.long
async def test_no_answer_and_no_line_of_the_log_has_a_secret(
    database_url: str, database: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    used = {name: fresh(name) for name in ("act", "read", "shared", "password", "query", "authorization", "mine")}
    base = config()
    settings = msgspec.structs.replace(
        base,
        api=msgspec.structs.replace(base.api, operator_token=used["shared"]),
        operators={ACT: Operator(token=used["act"], role="act"), READ: Operator(token=used["read"], role="read")},
        subscribers={
            name: msgspec.structs.replace(subscriber, password=used["password"])
            for name, subscriber in base.subscribers.items()
        },
    )
    seeds = await seeding.seed(database_url, settings)
    mine = await subscribe(
        database,
        f"https://a.example/hook?token={used['query']}",
        secret=used["mine"],
        authorization=used["authorization"],
        query_key=used["query"],
        subscriber="boards",
    )
    used["link"] = make_link(VAULT, READ)
    used["second link"] = make_link(VAULT, "carl")
    answers: dict[str, Answer] = {}
    async with console(database_url, settings, who=None) as client:
        for name in ("act", "read", "shared"):
            answers[f"wrong {name}"] = await client.post("/console/login", {"token": f"{used[name]}x", "next": "/x"})
            assert answers[f"wrong {name}"].status == 403
        answers["link"] = await client.get(f"/console/login?once={used['link']}")
        answers["used link"] = await client.get(f"/console/login?once={used['link']}")
        answers["link of nobody"] = await client.get(f"/console/login?once={used['second link']}")
        assert [answers[name].status for name in ("link", "used link", "link of nobody")] == [303, 403, 403]
        answers["log-in"] = await client.post("/console/login", {"token": used["act"]})
        assert answers["log-in"].status == 303
        cookies = [cookie.value for cookie in client.session.cookie_jar]
        for route in ROUTES:
            if route.method == "GET" and route.who != "nobody":
                address = address_of(route.path, seeds)
                answers[address] = await client.get(address)
                assert answers[address].status in (200, 303), address
        answers["subscription"] = await client.get(f"/console/subscriptions/{mine}")
        assert answers["subscription"].status == 200
        assert "https://a.example/hook" in answers["subscription"].text
        rows = await database.fetch("SELECT message_id, received_at FROM crossdock.receipts")
        files = {f"/console/events/{row['message_id']}/raw": {"at": row["received_at"].isoformat()} for row in rows}
        for address, form in {**files, f"/console/quarantine/{seeds.quarantined}/raw": {}}.items():
            answers[f"file {address}"] = await client.post(address, form)
            assert answers[f"file {address}"].headers["Content-Disposition"].startswith("attachment"), address
        for route in ROUTES:  # a token where it does not belong is not sent back
            if route.method == "POST" and route.who == "act":
                form = {"note": used["shared"], "id": used["act"], "back": f"/console?x={used['mine']}"}
                answers[f"POST {route.path}"] = await client.post(path_of(route), form)
    log_ins = {"log-in", "link"}  # only these set a cookie
    assert {name for name, answer in answers.items() if "Set-Cookie" in answer.headers} == log_ins
    texts = {
        name: answer.html.encode() + repr(answer.headers).encode() * (name not in log_ins)
        for name, answer in answers.items()
        if not name.startswith("POST ")
    }
    used |= {f"cookie {number}": value for number, value in enumerate(cookies)}
    format_ = JsonFormatter().format
    texts["the log"] = "\n".join(map(format_, caplog.records)).encode()
    assert texts["the log"].count(b'"action"') >= 2
    assert {name: held for name, text in texts.items() if (held := found_in(text, used))} == {}
    stored = await database.fetch("SELECT a::text AS row FROM crossdock.actions a")
    texts = {f"action {number}": row["row"].encode() for number, row in enumerate(stored)}
    assert texts
    unwritten = {name: secret for name, secret in used.items() if name != "shared"}  # the note is the operator's own
    assert {name: held for name, text in texts.items() if (held := found_in(text, unwritten))} == {}


async def test_an_action_and_its_record_are_stored_together_or_not_at_all(
    database_url: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "crossdock.console")
    id_ = await subscribe(database, "https://a.example/hook", subscriber="boards")
    path = f"/console/subscriptions/{id_}/disable"
    assert path_of(next(route for route in ROUTES if route.path.endswith("/disable"))).endswith("/disable")
    is_enabled = partial(database.fetchval, "SELECT enabled FROM crossdock.subscribed WHERE id = $1", id_)
    count = partial(database.fetchval, "SELECT count(*) FROM crossdock.actions WHERE action LIKE 'subscriptions.%'")
    async with console(database_url) as client:
        record = actions.record

        async def fail(*args: object, **kwargs: object) -> None:
            await record(*args, **kwargs)  # type: ignore[arg-type]
            raise RuntimeError("killed between the record and the commit")

        monkeypatch.setattr(actions, "record", fail)
        before = audit.ACTIONS.labels("subscriptions.disable", "done")._value.get()
        assert (await client.post(path)).status == 500
        assert (await is_enabled(), await count()) == (True, 0)
        assert audit.ACTIONS.labels("subscriptions.disable", "done")._value.get() == before
        assert not [line for line in caplog.records if line.message == "action" and "disable" in line.action]  # type: ignore[attr-defined]
        monkeypatch.setattr(actions, "record", record)
        assert (await client.post(path, {"reason": "they asked for it"})).status == 303
        assert (await is_enabled(), await count()) == (False, 1)
        assert audit.ACTIONS.labels("subscriptions.disable", "done")._value.get() == before + 1
    await asyncio.sleep(0)
