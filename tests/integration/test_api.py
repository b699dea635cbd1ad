"""The API, over HTTP and on a real database: registered, shown once, seen by its owner alone, steered."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance
from standardwebhooks.webhooks import Webhook

from tests.support.api import BOARDS, OPERATOR, OTHER, Client, api, config
from tests.support.delivering import receipt, store
from tests.support.pipeline import running, until
from tests.support.receiver import VAULT, Receiver, receiver, statuses
from workers.deliver.worker import DeliverWorker


@pytest_asyncio.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with api(database_url) as running:
        yield running


@pytest_asyncio.fixture
async def destination() -> AsyncIterator[Receiver]:
    async with receiver() as destination:
        yield destination


def worker(database_url: str) -> DeliverWorker:
    return DeliverWorker(config(), database_url=database_url, vault=VAULT)


async def test_registered_shown_changed_and_deleted(client: Client) -> None:
    status, created, headers = await client.ask(
        "POST",
        "/v1/subscriptions",
        {"url": "https://boards.example/in?x=1", "types": ["channelape.*"], "max_rate": 5.5, "schedule": [0, 60]},
    )
    assert (status, headers["Cache-Control"], headers["Location"]) == (
        201,
        "no-store",
        f"/v1/subscriptions/{created['id']}",
    )
    assert created["secret"].startswith("whsec_")
    assert created["accounts"] == ["channelape/rothys", "ecomnow/*", "apicbase/*"]
    assert (created["dialect"], created["max_in_flight"], created["enabled"], created["disabled_reason"]) == (
        "standard",
        10,
        True,
        None,
    )
    path = headers["Location"]
    shown = {name: value for name, value in created.items() if name != "secret"}
    assert (await client.ask("GET", path))[:2] == (200, shown)
    status, changed, _ = await client.ask(
        "PATCH", path, {"url": "https://boards.example/new", "enabled": False, "max_rate": None}
    )
    assert (status, changed["url"], changed["enabled"], changed["max_rate"], changed["schedule"]) == (
        200,
        "https://boards.example/new",
        False,
        None,
        [0, 60],
    )
    assert (await client.ask("DELETE", path))[0] == 204
    assert (await client.ask("GET", path))[0] == 404
    assert (await client.ask("DELETE", path))[0] == 404


@pytest.mark.parametrize(
    ("body", "field", "why"),
    [
        ({}, "url", "required"),
        ({"url": "https://a.example/", "colour": 1}, "colour", "no such field"),
        ({"url": "http://10.0.0.1/"}, "url", "not a public one"),
        ({"url": "ftp://a.example/"}, "url", "must begin with https://"),
        ({"url": 5}, "url", "Expected `str`"),
        ({"url": "https://a.example/", "types": []}, "types", "length >= 1"),
        ({"url": "https://a.example/", "dialect": "soap"}, "dialect", "known: apicbase"),
        ({"url": "https://a.example/", "accounts": ["ustore/printshop"]}, "accounts", "not among yours"),
        ({"url": "https://a.example/", "accounts": ["*"]}, "accounts", "not among yours"),
        ({"url": "https://a.example/", "max_in_flight": 0}, "max_in_flight", ">= 1"),
        ({"url": "https://a.example/", "max_rate": 0}, "max_rate", "> 0"),
        ({"url": "https://a.example/", "schedule": [-1]}, "schedule[0]", ">= 0"),
        ({"url": "https://a.example/", "secret": "short"}, "secret", "whsec_"),
        ({"url": "https://a.example/", "authorization": "Basic x"}, "authorization", "sends none"),
        ({"url": "https://a.example/", "query_key": "k"}, "query_key", "uses none"),
        ({"url": "https://a.example/", "dialect": "ecomnow", "secret": "x"}, "secret", "uses none"),
        ({"url": "https://a.example/", "dialect": "ecomnow", "authorization": "a\nb"}, "authorization", "printable"),
    ],
)
async def test_errors_name_the_field(client: Client, body: dict[str, Any], field: str, why: str) -> None:
    status, answer, headers = await client.ask("POST", "/v1/subscriptions", body)
    assert (status, headers["Content-Type"]) == (400, "application/problem+json")
    assert [(error["field"], why in error["detail"]) for error in answer["errors"]] == [(field, True)], answer


async def test_bodies_that_are_not_json_too_large_or_of_another_type_are_refused(client: Client) -> None:
    for raw in (b"", b"{", b"[]", b"\xff", b"[" * 60_000):
        assert (await client.ask("POST", "/v1/subscriptions", raw=raw, headers={"Content-Type": "application/json"}))[
            0
        ] == 400, raw[:10]
    assert (await client.ask("POST", "/v1/subscriptions", raw=b"x" * 65_537))[0] == 413
    assert (await client.ask("POST", "/v1/subscriptions", raw=b"a=b", headers={"Content-Type": "text/plain"}))[0] == 415
    status, answer, headers = await client.ask("PUT", "/v1/subscriptions", {})
    assert (status, set(headers["Allow"].split(",")), answer["status"]) == (405, {"GET", "HEAD", "POST"}, 405)
    assert (await client.ask("GET", "/v1/nothing"))[0] == 404


async def test_objects_of_other_subscribers_are_not_found(client: Client, pool: asyncpg.Pool) -> None:
    mine = await client.subscribe()
    await store(pool, receipt("K"), settings=config())
    delivery = await pool.fetchval("SELECT id FROM crossdock.deliveries")
    path_of_delivery, sub = f"/v1/deliveries/{delivery}", f"/v1/subscriptions/{mine['id']}"
    replay = {"from": "2020-01-01T00:00:00Z"}
    requests: list[tuple[str, str, Any]] = [
        ("GET", sub, None),
        ("PATCH", sub, {}),
        ("DELETE", sub, None),
        ("POST", f"{sub}/rotate-secret", None),
        ("POST", f"{sub}/test", None),
        ("POST", f"{sub}/replay", replay),
        ("GET", f"{sub}/deliveries", None),
        ("GET", path_of_delivery, None),
        ("POST", f"{path_of_delivery}/retry", None),
        ("POST", f"{path_of_delivery}/cancel", None),
    ]
    for method, path, body in requests:
        assert (await client.ask(method, path, body, who=OTHER))[0] == 404, path
        assert (await client.ask(method, path.replace(path.split("/")[3], str(uuid4())), body))[0] == 404, path
        assert (await client.ask(method, path.replace(path.split("/")[3], "x"), body))[0] == 404, path
    assert (await client.ask("GET", "/v1/subscriptions", who=OTHER))[1]["data"] == []
    assert [row["id"] for row in (await client.ask("GET", "/v1/subscriptions", who=OPERATOR))[1]["data"]] == [
        mine["id"]
    ]
    for method, path, _ in requests[7:8] + requests[:1]:
        assert (await client.ask(method, path, who=OPERATOR))[0] == 200


async def test_log_in(client: Client) -> None:
    basic = "Basic " + base64.b64encode(b"boards:b0ards-password").decode()
    for who in (BOARDS, {"Authorization": basic}, OPERATOR):
        assert (await client.ask("GET", "/v1/subscriptions", who=who))[0] == 200
    for who in (
        {},
        {"Username": "boards"},
        {"Username": "boards", "Password": "other"},
        {"Username": "other", "Password": "b0ards-password"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer nothing"},
    ):
        status, answer, headers = await client.ask("GET", "/v1/subscriptions", who=who)
        assert (status, answer["status"]) == (401, 401)
        assert headers["WWW-Authenticate"].startswith("Basic")


async def test_guessing_is_slowed_down_and_right_credentials_still_work(client: Client) -> None:
    wrong = {"Username": "boards", "Password": "guess"}
    statuses = [(await client.ask("GET", "/v1/subscriptions", who=wrong))[0] for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    for who in (BOARDS, OTHER, OPERATOR):
        assert (await client.ask("GET", "/v1/subscriptions", who=who))[0] == 200


async def test_pages_go_on_without_gap_or_repeat(client: Client) -> None:
    created = [(await client.subscribe(f"https://a.example/{n}"))["id"] for n in range(25)]
    seen: list[str] = []
    query: dict[str, str] = {"limit": "10"}
    for size in (10, 10, 5):
        _, page, _ = await client.ask("GET", "/v1/subscriptions", query=query)
        assert len(page["data"]) == size
        seen += [row["id"] for row in page["data"]]
        query = {"limit": "10", "cursor": page["next"] or ""}
    assert page["next"] is None
    assert seen == created
    for bad in ({"cursor": "nonsense"}, {"cursor": "e30"}, {"limit": "0"}, {"limit": "x"}, {"limit": "501"}):
        assert (await client.ask("GET", "/v1/subscriptions", query=bad))[0] == 400


async def test_the_same_key_gets_the_same_answer(client: Client, pool: asyncpg.Pool) -> None:
    key = {"Idempotency-Key": "once-1"}
    body = {"url": "https://a.example/"}
    answers = await asyncio.gather(*(client.ask("POST", "/v1/subscriptions", body, headers=key) for _ in range(8)))
    assert {status for status, _, _ in answers} == {201}
    assert len({json.dumps(answer, sort_keys=True) for _, answer, _ in answers}) == 1
    assert answers[0][1]["secret"].startswith("whsec_")
    assert sorted("Idempotency-Replayed" in headers for _, _, headers in answers) == [False] + [True] * 7
    assert await pool.fetchval("SELECT count(*) FROM crossdock.subscriptions") == 1
    assert (await client.ask("POST", "/v1/subscriptions", {"url": "https://b.example/"}, headers=key))[0] == 422
    assert (await client.ask("POST", "/v1/subscriptions", body, headers=key, who=OTHER))[1]["id"] != answers[0][1]["id"]
    refused = {"Idempotency-Key": "once-2"}
    assert (await client.ask("POST", "/v1/subscriptions", {}, headers=refused))[0] == 400
    assert (await client.ask("POST", "/v1/subscriptions", body, headers=refused))[0] == 201


async def test_secrets_are_shown_once_and_lie_encrypted(
    client: Client, pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    created = await client.subscribe(dialect="channelape", secret="a-secret-of-mine")
    ecomnow = await client.subscribe(dialect="ecomnow", authorization="Basic aHVzaA==", types=["ecomnow.*"])
    assert (created["secret"], created["query_key"], ecomnow["has_authorization"]) == (
        "a-secret-of-mine",
        "token",
        True,
    )
    seen = [
        await client.ask("GET", "/v1/subscriptions"),
        await client.ask("GET", f"/v1/subscriptions/{created['id']}"),
        await client.ask("PATCH", f"/v1/subscriptions/{ecomnow['id']}", {"types": ["ecomnow.new_order"]}),
    ]
    rows = await pool.fetch("SELECT s::text FROM crossdock.subscribed s")
    text = f"{seen} {rows} {caplog.text}"
    assert "a-secret-of-mine" not in text
    assert "aHVzaA" not in text
    assert seen[2][1]["has_authorization"] is True
    status, rotated, _ = await client.ask("POST", f"/v1/subscriptions/{created['id']}/rotate-secret")
    assert status == 200
    assert rotated["secret"] != "a-secret-of-mine"


async def test_both_secrets_sign_after_a_rotation(
    client: Client, pool: asyncpg.Pool, database_url: str, destination: Receiver
) -> None:
    created = await client.subscribe(destination.url)
    _, rotated, _ = await client.ask("POST", f"/v1/subscriptions/{created['id']}/rotate-secret")
    await store(pool, receipt("K"), settings=config())
    async with running(worker(database_url)):
        await until(lambda: destination.got)
    for secret in (created["secret"], rotated["secret"]):
        assert Webhook(secret).verify(destination.got[0].body, destination.got[0].headers)["subject"] == "K"


async def test_deliveries_can_be_tested_replayed_retried_and_cancelled(
    client: Client, pool: asyncpg.Pool, database_url: str, destination: Receiver
) -> None:
    created = await client.subscribe(destination.url, types=["channelape.*"], enabled=False)
    path = f"/v1/subscriptions/{created['id']}"
    assert (await client.ask("POST", f"{path}/test"))[0] == 409
    await client.ask("PATCH", path, {"enabled": True})
    assert (await client.ask("POST", f"{path}/test"))[0] == 409  # nothing stored
    await client.ask("PATCH", path, {"enabled": False})
    await store(
        pool, *(receipt(f"K{n}", seconds=n) for n in range(30)), receipt("other", account="x"), settings=config()
    )
    await client.ask("PATCH", path, {"enabled": True})
    since = {"from": "2026-11-10T12:00:10Z", "to": "2026-11-10T12:00:20Z"}
    assert (await client.ask("POST", f"{path}/replay", {**since, "dry_run": True}))[:2] == (200, {"count": 10})
    assert (await client.ask("POST", f"{path}/replay", {**since, "key": "K12", "dry_run": True}))[1] == {"count": 1}
    assert (await client.ask("POST", f"{path}/replay", {**since, "types": ["apicbase.*"]}))[0] == 400
    assert (await client.ask("POST", f"{path}/replay", {"from": "2026-11-10T12:00:10"}))[0] == 400
    status, replay, _ = await client.ask("POST", f"{path}/replay", since)
    assert (status, replay["count"]) == (202, 10)
    status, test, _ = await client.ask("POST", f"{path}/test")
    assert status == 202
    async with running(worker(database_url)):
        await until(lambda: _delivered(pool, 11))
    subjects = sorted(json.loads(got.body)["subject"] for got in destination.got)
    assert subjects == sorted([f"K{n}" for n in range(10, 20)] + ["K29"])
    status, shown, _ = await client.ask("GET", f"/v1/deliveries/{test['delivery_id']}")
    assert (status, shown["status"], shown["attempts"], len(shown["history"])) == (200, "delivered", 1, 1)
    assert shown["history"][0]["outcome"] == "delivered"
    status, again, _ = await client.ask("POST", f"/v1/deliveries/{test['delivery_id']}/retry")
    assert (status, again["status"], again["attempts"]) == (200, "pending", 1)
    status, ended, _ = await client.ask("POST", f"/v1/deliveries/{test['delivery_id']}/cancel")
    assert (status, ended["status"]) == (200, "cancelled")
    _, page, _ = await client.ask("GET", f"{path}/deliveries", query={"status": "delivered", "limit": "4"})
    assert len(page["data"]) == 4
    _, rest, _ = await client.ask("GET", f"{path}/deliveries", query={"status": "delivered", "cursor": page["next"]})
    assert len({row["id"] for row in page["data"] + rest["data"]}) == 10
    assert (await client.ask("GET", f"{path}/deliveries", query={"status": "lost"}))[0] == 400
    assert (await client.ask("DELETE", path))[0] == 204


async def _delivered(pool: asyncpg.Pool, count: int) -> bool:
    return (await statuses(pool)) == {"delivered": count}


async def test_disabling_pauses_waiting_deliveries_at_once_and_enabling_resumes_them(
    client: Client, pool: asyncpg.Pool, database_url: str, destination: Receiver
) -> None:
    created = await client.subscribe(destination.url, max_rate=20, max_in_flight=1)
    path = f"/v1/subscriptions/{created['id']}"
    await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(60)), settings=config())
    async with running(worker(database_url)):
        await until(lambda: len(destination.got) >= 25)
        assert (await client.ask("PATCH", path, {"enabled": False}))[0] == 200
        await until(lambda: _is_let_go(pool))
        held = await pool.fetchval("SELECT count(*) FROM crossdock.outbox")
        assert held > 20
        assert (await client.ask("PATCH", path, {"enabled": True, "max_rate": None}))[0] == 200
        await until(lambda: _delivered(pool, 60), seconds=3)


async def _is_let_go(pool: asyncpg.Pool) -> bool:
    """Whether the worker has given the subscription back: after its last attempt, and with nothing under way."""
    return bool(await pool.fetchval("SELECT leased_by IS NULL FROM crossdock.subscribed"))


async def test_ecomnows_registration_as_documented(client: Client, pool: asyncpg.Pool) -> None:
    body = {"authentication": "Basic XxxXxxXX", "webhookType": "new_order", "url": "https://vendor.example/in"}
    status, created, _ = await client.ask("POST", "/basic/webhooks", body)
    assert status == 200
    assert created == {**body, "webhookId": created["webhookId"], "method": "POST", "vendorId": "boards"}
    path = f"/basic/webhooks/{created['webhookId']}"
    assert (await client.ask("GET", path))[:2] == (200, created)
    assert (await client.ask("GET", f"{path}/"))[0] == 200
    row = await pool.fetchrow("SELECT * FROM crossdock.subscriptions")
    assert row is not None
    assert (row["types"], row["dialect"]) == (["ecomnow.new_order", "apicbase.purchase_order"], "ecomnow")
    changed = {**body, "webhookType": "order_cancellation", "url": "https://vendor.example/out"}
    status, answer, _ = await client.ask("PUT", path, changed)
    assert (status, answer) == (200, {**created, **changed})
    for wrong in ({}, {**body, "url": "nowhere"}, {**body, "webhookType": "both"}, {**body, "webhookType": None}):
        status, answer, _ = await client.ask("POST", "/basic/webhooks", wrong)
        assert (status, list(answer)) == (400, ["message"])
    for who, expected in ((OTHER, 404), ({}, 401)):
        status, answer, _ = await client.ask("GET", path, who=who)
        assert (status, list(answer)) == (expected, ["message"])
    assert (await client.ask("DELETE", path))[:2] == (200, {"webhookId": created["webhookId"]})
    assert (await client.ask("GET", path))[0] == 404


@pytest.mark.busy_thread
async def test_the_openapi_document_describes_every_route(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """schemathesis: every operation with generated input; nothing undocumented, no 5xx, every answer of its schema."""
    monkeypatch.setattr("ingress.logins.FAILURES", 1_000_000)  # it tries wrong credentials again and again
    monkeypatch.setattr("ingress.logins.NAME_FAILURES", 1_000_000)
    async with client.session.get(f"{client.base}/v1/openapi.json") as answer:
        document = await answer.json()
    assert document["openapi"] == "3.1.0"
    await client.subscribe()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=client.base)
    failures = await asyncio.to_thread(_exercise, schema)
    assert failures == []


def _exercise(schema: Any) -> list[str]:
    """Problems, by operation. In a thread: it is another client, that blocks."""
    from hypothesis import HealthCheck, Phase, given, settings

    problems: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=15,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def run(case: Any) -> None:
            response = case.call(headers=BOARDS)
            # Whether a URL may be called or a secret is well made is more than a schema can say.
            case.validate_response(response, excluded_checks=[positive_data_acceptance])
            assert response.status_code < 500

        try:
            run()
        except Exception as error:
            problems.append(f"{operation.label}: {error}"[:2000])
    return problems
