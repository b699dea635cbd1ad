"""Who sees which secret, how long an old one signs, and what happens to what an old encryption key sealed."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from standardwebhooks.webhooks import Webhook

from ingress import outbound
from ingress.api.app import ApiApp
from storage import sealed, subscriptions
from storage.vault import Vault
from tests.support.api import BOARDS, OPERATOR, OTHER, Client, api, config
from tests.support.delivering import receipt, store, worker
from tests.support.pipeline import running, until
from tests.support.receiver import KEY, VAULT, Receiver, receiver

BASIC = {"authentication": "Basic XxxXxxXX", "webhookType": "new_order", "url": "https://vendor.example/in"}


@pytest_asyncio.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with api(database_url) as running:
        yield running


@pytest_asyncio.fixture
async def destination() -> AsyncIterator[Receiver]:
    async with receiver() as destination:
        yield destination


async def test_only_its_owner_reads_an_authentication_back(client: Client, pool: asyncpg.Pool) -> None:
    created = (await client.ask("POST", "/basic/webhooks", BASIC))[1]
    path = f"/basic/webhooks/{created['webhookId']}"
    hidden = {name: value for name, value in created.items() if name != "authentication"}
    assert (await client.ask("GET", path))[1] == created
    assert (await client.ask("GET", "/basic/webhooks"))[1] == [created]
    assert (await client.ask("GET", path, who=OPERATOR))[:2] == (200, hidden)
    assert (await client.ask("GET", "/basic/webhooks", who=OPERATOR))[:2] == (200, [hidden])
    assert (await client.ask("PUT", path, {"url": "https://vendor.example/2"}, who=OPERATOR))[:2] == (
        200,
        {**hidden, "url": "https://vendor.example/2"},
    )
    assert (await client.ask("GET", "/basic/webhooks", who=OTHER))[:2] == (200, [])
    # What the operator registered itself is its own.
    own = (await client.ask("POST", "/basic/webhooks", BASIC, who=OPERATOR))[1]
    assert own["authentication"] == BASIC["authentication"]


async def test_a_list_of_webhooks_links_to_its_next_page(client: Client) -> None:
    created = [(await client.ask("POST", "/basic/webhooks", BASIC))[1]["webhookId"] for _ in range(5)]
    status, page, headers = await client.ask("GET", "/basic/webhooks")
    assert (status, [webhook["webhookId"] for webhook in page], "Link" in headers) == (200, created, False)
    seen: list[str] = []
    path: str | None = "/basic/webhooks?limit=2"
    while path is not None:
        _, page, headers = await client.ask("GET", path)
        seen += [webhook["webhookId"] for webhook in page]
        link = headers.get("Link", "")
        path = link.partition("<")[2].partition(">")[0] or None
        assert ('rel="next"' in link) == (path is not None)
    assert seen == created
    for bad in ("limit=0", "limit=x", "cursor=nonsense"):
        assert (await client.ask("GET", f"/basic/webhooks?{bad}"))[0] == 400


async def test_a_subscription_that_no_key_decrypts_hides_no_other_and_can_be_repaired(
    client: Client, pool: asyncpg.Pool
) -> None:
    stranger = Vault.from_text(Vault.generate())
    lost, fine = (
        (await client.ask("POST", "/basic/webhooks", BASIC))[1],
        (await client.ask("POST", "/basic/webhooks", BASIC))[1],
    )
    standard = await client.subscribe()
    for id_ in (lost["webhookId"], standard["id"]):
        await pool.execute(
            "UPDATE crossdock.subscribed SET sealed = $2 WHERE id = $1::uuid", id_, stranger.encrypt(b"{}", b"")
        )
    status, listed, _ = await client.ask("GET", "/basic/webhooks")
    assert (status, listed[1]) == (200, fine)
    assert (listed[0]["webhookId"], listed[0]["authentication"]) == (lost["webhookId"], None)
    assert "cannot be read" in listed[0]["message"]
    status, page, _ = await client.ask("GET", "/v1/subscriptions")
    assert status == 200
    assert [subscription["has_authorization"] for subscription in page["data"]] == [None, True, None]
    assert (await client.ask("PUT", f"/basic/webhooks/{lost['webhookId']}", BASIC))[:2] == (200, lost)
    path = f"/v1/subscriptions/{fine['webhookId']}"
    await pool.execute(
        "UPDATE crossdock.subscribed SET sealed = $2 WHERE id = $1::uuid",
        fine["webhookId"],
        stranger.encrypt(b"{}", b""),
    )
    status, answer, _ = await client.ask("PATCH", path, {"authorization": "Basic anew"})
    assert (status, answer["has_authorization"]) == (200, True)
    path = f"/v1/subscriptions/{standard['id']}"
    assert (await client.ask("POST", f"{path}/rotate-secret"))[0] == 200
    assert (await client.ask("GET", path))[1]["has_authorization"] is False


async def test_every_secret_of_the_last_day_signs(
    client: Client, pool: asyncpg.Pool, database_url: str, destination: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = await client.subscribe(destination.url)
    path = f"/v1/subscriptions/{created['id']}"
    rotated = [(await client.ask("POST", f"{path}/rotate-secret"))[1]["secret"] for _ in range(3)]
    secrets = [created["secret"], *rotated]
    await store(pool, receipt("K"), settings=config())
    async with running(worker(database_url, config())):
        await until(lambda: destination.got)
    for secret in secrets:
        assert Webhook(secret).verify(destination.got[0].body, destination.got[0].headers)["subject"] == "K"
    # A day later the old ones are gone, and each kept its own time: a rotation prolongs none.
    row = await pool.fetchrow("SELECT id, sealed FROM crossdock.subscribed")
    assert row is not None
    stored = sealed.unseal(VAULT, row["id"], row["sealed"])
    until_ = [time.until for time in stored.secrets]
    assert until_[0] is None
    assert until_[1:] == sorted((time for time in until_[1:] if time is not None), reverse=True)
    later = max(time for time in until_ if time is not None) + 1
    assert sealed.credentials(stored, None, later).secrets == (secrets[-1],)
    # As many as fit into a header, and no more.
    monkeypatch.setattr(outbound, "MOST_SECRETS", 4)
    status, answer, _ = await client.ask("POST", f"{path}/rotate-secret")
    assert (status, "4 secrets" in answer["detail"]) == (409, True)


async def test_an_old_encryption_key_may_be_removed_once_check_reports_no_use(
    client: Client, pool: asyncpg.Pool, database_url: str
) -> None:
    """Filed answers are sealed anew as subscriptions are; until then they count. No 503 for one that no key opens."""
    key = {"Idempotency-Key": "once"}
    body = {"url": "https://a.example/"}
    first = (await client.ask("POST", "/v1/subscriptions", body, headers=key))[1]
    for n in range(3):
        assert (await client.ask("POST", "/v1/subscriptions", body, headers={"Idempotency-Key": f"{n}"}))[0] == 201
    fresh = Vault.generate()
    both, alone = Vault.from_text(f"{fresh},{KEY}"), Vault.from_text(fresh)
    async with pool.acquire() as connection:
        assert await subscriptions.count_answers_with_old_key(connection, both) == 4

    async def again(vault: Vault) -> tuple[int, str | None]:
        app = ApiApp(config(), database_url=database_url, vault=vault)
        await app.start()
        try:
            other = Client(client.session, f"http://127.0.0.1:{app.port}", app)
            status, answer, _ = await other.ask("POST", "/v1/subscriptions", body, headers=key)
            return status, answer.get("id") or answer.get("detail")
        finally:
            await app.stop()

    status, detail = await again(alone)  # taken out too early
    assert status == 409
    assert "use a new key" in (detail or "")
    async with pool.acquire() as connection:
        assert await subscriptions.reseal(connection, both) == 8
        assert await subscriptions.count_answers_with_old_key(connection, both) == 0
        assert await subscriptions.reseal(connection, both) == 0
    assert await again(alone) == (201, first["id"])


async def test_a_deleted_subscription_keeps_no_secret(client: Client, pool: asyncpg.Pool) -> None:
    created = await client.subscribe()
    assert (await client.ask("DELETE", f"/v1/subscriptions/{created['id']}"))[0] == 204
    assert await pool.fetchval("SELECT sealed FROM crossdock.subscribed") == b""


async def test_ecomnows_clients_may_send_json_with_any_content_type(client: Client) -> None:
    raw = msgspec.json.encode(BASIC)
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8"):
        status, created, _ = await client.ask(
            "POST", "/basic/webhooks", raw=raw, headers={"Content-Type": content_type}
        )
        assert (status, created["url"]) == (200, BASIC["url"]), content_type
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    status, answer, _ = await client.ask("POST", "/basic/webhooks", raw=b"url=x&webhookType=new_order", headers=headers)
    assert (status, list(answer)) == (400, ["message"])


async def test_put_keeps_omitted_fields(client: Client) -> None:
    created = (await client.ask("POST", "/basic/webhooks", BASIC))[1]
    path = f"/basic/webhooks/{created['webhookId']}"
    moved = {**created, "url": "https://vendor.example/moved"}
    assert (await client.ask("PUT", path, {"url": moved["url"]}))[:2] == (200, moved)
    assert (await client.ask("PUT", path, {}))[:2] == (200, moved)
    other = {**moved, "webhookType": "order_cancellation"}
    assert (await client.ask("PUT", path, {"webhookType": "order_cancellation"}))[:2] == (200, other)
    assert (await client.ask("PUT", path, {"authentication": None}))[:2] == (200, {**other, "authentication": None})
    for bad in ({"url": "nowhere"}, {"webhookType": "both"}, {"authentication": "a\nb"}):
        assert (await client.ask("PUT", path, bad))[0] == 400, bad
    answers = await asyncio.gather(*(client.ask("GET", path, who=who) for who in (BOARDS, OTHER)))
    assert [status for status, _, _ in answers] == [200, 404]
