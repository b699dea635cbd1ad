"""What subscribers and their tools send to an API. Each test names the report that it stands for."""

import codecs
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.destinations import urls
from schemas.dialects import get_dialect
from schemas.outbound import Credentials, Event
from tests.support import ledger
from tests.support.api import OPERATOR, Client, api, config
from tests.support.delivering import receipt, store, worker
from tests.support.pipeline import running, until
from tests.support.receiver import Receiver, receiver
from tests.support.storing import START

URL = "https://a.example/hook"
BASIC = {"webhookType": "new_order", "url": URL}


@pytest_asyncio.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with api(database_url) as opened:
        yield opened


@pytest_asyncio.fixture
async def subscriber() -> AsyncIterator[Receiver]:
    async with receiver() as opened:
        yield opened


async def test_a_query_key_may_be_any_visible_ascii(
    client: Client, pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    """ChannelApe's documented example `@authtoken`: percent-encoded in the URL, and read by the receiver as it was."""
    keys = ["@authtoken", "&a=b#?", "x" * 64, "%40", "+"]
    for n, key in enumerate(keys):
        subscription = await client.subscribe(
            f"{subscriber.url}/{n}", dialect="channelape", query_key=key, secret="s3cret&=#@%"
        )
        assert subscription["query_key"] == key
    for key in ("", "two words", "a\nb", "ä", "\x7f", "x" * 65):
        status, answer, _ = await client.ask(
            "POST", "/v1/subscriptions", {"url": URL, "dialect": "channelape", "query_key": key}
        )
        assert (status, answer["errors"][0]["field"]) == (400, "query_key"), key
    await store(pool, receipt("K"), settings=config())
    async with running(worker(database_url, config())):
        await until(lambda: len(subscriber.got) >= len(keys))
    assert {got.path: got.query for got in subscriber.got} == {
        f"/{n}": {key: "s3cret&=#@%"} for n, key in enumerate(keys)
    }


def test_a_query_key_is_percent_encoded() -> None:
    """ChannelApe's documented example `@authtoken`."""
    event = Event(
        id="1", platform="channelape", account="rothys", type="channelape.ship_confirmation", key="K", version=1,
        received_at=datetime(2026, 11, 1, tzinfo=UTC), raw=b"{}", data=b"{}",
    )  # fmt: skip
    request = get_dialect("channelape").request(event, Credentials(secrets=("s",), query_key="@authtoken"), 0)
    assert urls.parse(URL).resource(request.query) == "/hook?%40authtoken=s"


async def test_a_body_behind_a_byte_order_mark_is_read(client: Client) -> None:
    """sp-dev-docs#1123: .NET clients write one; `Content-Encoding: utf-8` is not a coding (egg#4554)."""
    body = codecs.BOM_UTF8 + msgspec.json.encode({"url": URL, "types": ["channelape.*"]})
    status, answer, _ = await client.ask("POST", "/v1/subscriptions", raw=body, headers={"Content-Encoding": "utf-8"})
    assert status == 201, answer


NUL = "a\0b"
SUBSCRIPTION: dict[str, Any] = {
    "url": f"{URL}{NUL}",
    "types": ["*", NUL],
    "accounts": [NUL],
    "dialect": NUL,
    "secret": NUL,
    "authorization": NUL,
    "query_key": NUL,
}


async def test_no_input_with_u0000_is_an_internal_error(client: Client) -> None:
    """modelcontextprotocol/registry#862: U+0000 in any input; the answer names the field."""
    subscription = await client.subscribe()
    path = f"/v1/subscriptions/{subscription['id']}"
    for (name, value), (method, where) in itertools.product(
        SUBSCRIPTION.items(), (("POST", "/v1/subscriptions"), ("PATCH", path))
    ):
        if method == "PATCH" and name in ("dialect", "secret"):
            continue
        status, answer, _ = await client.ask(method, where, {"url": URL, name: value})
        assert (status, answer["errors"][0]["field"].partition("[")[0]) == (400, name), (method, name, answer)
    replay = {"from": "2026-01-01T00:00:00Z"}
    for name, value in (("types", [NUL]), ("key", NUL)):
        status, answer, _ = await client.ask("POST", f"{path}/replay", {**replay, name: value, "dry_run": True})
        assert (status, answer["errors"][0]["field"].partition("[")[0]) == (400, name), answer
    for name in ("url", "webhookType", "authentication"):
        status, answer, _ = await client.ask("POST", "/basic/webhooks", {**BASIC, name: NUL})
        assert (status, name in answer["message"]) == (400, True), answer
    for name in ("key", "status", "limit", "cursor"):
        for value in (NUL, "\0", "é\0"):
            assert (await client.ask("GET", f"{path}/deliveries", query={name: value}))[0] == 400, name
    for name in ("limit", "cursor"):
        assert (await client.ask("GET", "/v1/subscriptions", query={name: NUL}))[0] == 400, name
    for where in (f"/v1/subscriptions/{NUL}", f"/v1/deliveries/{NUL}", f"/basic/webhooks/{NUL}"):
        assert (await client.ask("GET", where.replace("\0", "%00")))[0] == 404, where
    headers = {"Authorization": "Basic AGI6AA=="}  # \0b:\0
    assert (await client.ask("GET", "/v1/subscriptions", who=headers))[0] == 401


@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00.000001+00:01"]
)
async def test_times_at_the_ends_of_the_calendar_name_their_field(client: Client, value: str) -> None:
    """modelcontextprotocol/registry#862, the same kind: a time that the calendar holds only in its own zone."""
    subscription = await client.subscribe()
    path = f"/v1/subscriptions/{subscription['id']}/replay"
    for body, field in (({"from": value}, "from"), ({"from": "2026-01-01T00:00:00Z", "to": value}, "to")):
        status, answer, _ = await client.ask("POST", path, {**body, "dry_run": True})
        assert (status, answer["errors"][0]["field"]) == (400, field), answer
    for value in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        body = {"from": "0001-01-01T00:00:00Z", "to": value} if value > "1" else {"from": value}
        assert (await client.ask("POST", path, {**body, "dry_run": True}))[0] == 200, value


TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("\0\ud800\udfff\uffff*%\\'"), max_size=20)
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers() | st.floats() | st.datetimes(timezones=st.timezones()).map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)
FIELDS = [
    *SUBSCRIPTION, "schedule", "max_rate", "max_in_flight", "enabled", "from", "to", "key", "dry_run", "webhookType",
    "authentication",
]  # fmt: skip


async def test_no_input_at_all_is_an_internal_error(client: Client) -> None:
    """modelcontextprotocol/registry#862: any value in any field, query or header; what is refused is refused as 400."""
    import asyncio
    import json
    import urllib.parse

    subscription = await client.subscribe()
    path = f"/v1/subscriptions/{subscription['id']}"
    loop = asyncio.get_running_loop()

    async def send(body: dict[str, Any], query: dict[str, str], key: str) -> None:
        raw = json.dumps(body).encode()
        text = urllib.parse.urlencode({n: v.encode("utf-8", "surrogatepass") for n, v in query.items()})
        headers = {"Idempotency-Key": key} if key.isascii() and key.isprintable() else {}
        for method, where in (
            ("POST", "/v1/subscriptions"),
            ("PATCH", path),
            ("POST", f"{path}/replay"),
            ("POST", "/basic/webhooks"),
        ):
            status, answer, _ = await client.ask(method, where, raw=raw, headers=headers, who=OPERATOR)
            assert status in (200, 201, 202, 400, 409, 422), (method, where, body, answer)
        for where in (f"{path}/deliveries", "/v1/subscriptions", "/basic/webhooks"):
            status, answer, _ = await client.ask("GET", f"{where}?{text}")
            assert status in (200, 400), (where, text, answer)

    @given(
        st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4),
        st.dictionaries(st.sampled_from(["limit", "cursor", "status", "key"]), TEXTS, max_size=3),
        TEXTS,
    )
    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def run(body: dict[str, Any], query: dict[str, str], key: str) -> None:
        complete = {"url": URL, "from": "2026-01-01T00:00:00Z", "webhookType": "new_order"}
        chosen = {name: complete[name] for name in complete if len(body) % 2 or name == "url"}
        asyncio.run_coroutine_threadsafe(send({**chosen, **body}, query, key), loop).result()

    await asyncio.to_thread(run)


@pytest.mark.parametrize(
    ("more", "field", "why"),
    [
        ({"types": ["channelape.reciept_confirmation"]}, "types", "channelape.receipt_confirmation"),
        ({"types": ["channelape.receipt_confirmation", "apicbase.order"]}, "types", "apicbase.purchase_order"),
        ({"types": ["Channelape.*"]}, "types", "matches no event type"),
        ({"types": ["channelape"]}, "types", "matches no event type"),
        ({"types": ["channelape.*"], "dialect": "apicbase"}, "types", "it sends apicbase.purchase_order"),
        ({"types": ["ustore.manufacturer_order."]}, "types", "matches no event type"),
        ({"accounts": ["chanelape/rothys"]}, "accounts", "channelape"),
        ({"accounts": ["rothys"]}, "accounts", "write platform/account"),
    ],
)
async def test_a_pattern_that_matches_nothing_is_refused(
    client: Client, more: dict[str, Any], field: str, why: str
) -> None:
    """opensend#126: a typing error in a pattern must not be a subscription to which nothing is ever sent."""
    status, answer, _ = await client.ask("POST", "/v1/subscriptions", {"url": URL, **more}, who=OPERATOR)
    assert (status, answer["errors"][0]["field"]) == (400, field)
    assert why in answer["errors"][0]["detail"]
    subscription = await client.subscribe(who=OPERATOR, dialect=more.get("dialect", "standard"))
    changes = {name: value for name, value in more.items() if name != "dialect"}
    status, answer, _ = await client.ask("PATCH", f"/v1/subscriptions/{subscription['id']}", changes, who=OPERATOR)
    assert (status, answer["errors"][0]["field"]) == (400, field)


async def test_patterns_that_match_something_are_taken(client: Client) -> None:
    """opensend#126. Manufacturers and accounts are not looked up: they may be configured tomorrow."""
    for types in (
        ["*"],
        ["*.new_order"],
        ["ustore.*"],
        ["ustore.manufacturer_order.17"],
        ["*confirmation", "ecomnow.*"],
    ):
        await client.subscribe(types=types, who=OPERATOR)
    for accounts in (["channelape/tomorrow"], ["*"], ["*/rothys"], ["channel*"], ["ecomnow/*", "apicbase/x"]):
        await client.subscribe(accounts=accounts, who=OPERATOR)
    subscription = await client.subscribe(types=["channelape.*"])
    status, answer, _ = await client.ask(
        "POST",
        f"/v1/subscriptions/{subscription['id']}/replay",
        {"from": "2026-01-01T00:00:00Z", "types": ["channelape.reciept"], "dry_run": True},
    )
    assert (status, answer["errors"][0]["field"]) == (400, "types")


@pytest.mark.parametrize("how", ["patch", "worker", "hand"])
async def test_events_missed_while_disabled_can_be_replayed(client: Client, pool: asyncpg.Pool, how: str) -> None:
    """outpost#611: since when it is disabled, and the replay of exactly that time, whoever disabled it."""
    from storage.sql import query

    subscription = await client.subscribe()
    path = f"/v1/subscriptions/{subscription['id']}"
    assert (subscription["disabled_at"], subscription["missed"]) == (None, None)
    if how == "patch":
        assert (await client.ask("PATCH", path, {"enabled": False}))[0] == 200
    elif how == "worker":
        await pool.execute("UPDATE crossdock.subscribed SET enabled = false, disabled_reason = 'it answered 410'")
        assert "enabled = false" in query("outbox", "disable")
    else:
        await pool.execute("UPDATE crossdock.subscribed SET enabled = false")
    _, shown, _ = await client.ask("GET", path)
    since = shown["disabled_at"]
    assert shown["missed"] == {"from": since, "to": None}
    assert await pool.fetchval("SELECT disabled_at FROM crossdock.subscriptions") == datetime.fromisoformat(since)
    # Other changes and leases don't move it.
    assert (await client.ask("PATCH", path, {"max_in_flight": 3, "enabled": False}))[1]["disabled_at"] == since
    # Stored as received now, while it is disabled: before that, nothing.
    late = (datetime.now(UTC) - datetime(2026, 11, 10, 12, tzinfo=UTC)).total_seconds()
    await store(pool, receipt("before", seconds=0), receipt("during", seconds=late), settings=config())
    assert await pool.fetchval("SELECT count(*) FROM crossdock.outbox") == 0
    status, shown, _ = await client.ask("PATCH", path, {"enabled": True})
    assert (status, shown["disabled_at"], shown["missed"]["from"]) == (200, None, since)
    assert shown["missed"]["to"] > since
    status, replay, _ = await client.ask("POST", f"{path}/replay", shown["missed"])
    assert (status, replay["count"]) == (202, 1)
    disabled = await client.subscribe(enabled=False)
    assert disabled["missed"] == {"from": disabled["disabled_at"], "to": None}
    assert abs(datetime.fromisoformat(disabled["disabled_at"]).timestamp() - datetime.now(UTC).timestamp()) < 60


async def test_a_subscription_that_is_enabled_in_vain_has_missed_the_whole_time(
    client: Client, pool: asyncpg.Pool
) -> None:
    """Its server still answers 410: what it missed begins when it was disabled first, until something is delivered."""
    disable = "UPDATE crossdock.subscribed SET enabled = false, disabled_reason = 'answered 410 Gone'"
    subscription = await client.subscribe()
    path = f"/v1/subscriptions/{subscription['id']}"
    await pool.execute(disable)
    since = (await client.ask("GET", path))[1]["disabled_at"]
    assert (await client.ask("PATCH", path, {"enabled": True}))[1]["disabled_at"] is None
    await pool.execute(disable)
    shown = (await client.ask("GET", path))[1]
    assert (shown["disabled_at"], shown["missed"]) == (since, {"from": since, "to": None})
    await client.ask("PATCH", path, {"enabled": True})
    minutes = (datetime.now(UTC) - START).total_seconds() / 60
    async with pool.acquire() as connection:
        document = await ledger.document(connection, "R-1")
        id_ = UUID(subscription["id"])
        await ledger.deliver(connection, id_, document, status="delivered", minutes=minutes, took=1)
    await pool.execute(disable)
    assert (await client.ask("GET", path))[1]["disabled_at"] > since
