"""Patterns of types and accounts that select nothing are refused, or named, before a webhook is missed."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from deploy.cli import check
from schemas.consumers import Consumer
from schemas.selection import account_problem, can_select, consumer_problem, routing_key_problem, type_problem
from storage.subscriptions import Subscription
from tests.support.api import OPERATOR, Client, api
from tests.support.shell import Shell

URL = "https://a.example/hook"


@pytest_asyncio.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with api(database_url) as running:
        yield running


@pytest.mark.parametrize(
    "pattern", ["*", "channelape/*", "channelape/rothys", "*/rothys", "chan*", "*rothys", "*ape/ro*s", "ecomnow/a-b_9"]
)
def test_patterns_that_an_account_can_have(pattern: str) -> None:
    assert account_problem(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "rothys", "channelape/", "channelape", "chanelape/*", "channelape/ro thys", "channelape/rothys.2"),
        *("* rothys", "channelape/é", "channelape/rothys/2", "/rothys", "*/*/x", f"channelape/{'x' * 65}"),
        *("Channelape/rothys", "x*y/z"),
    ],
)
def test_patterns_that_no_account_can_have(pattern: str) -> None:
    assert account_problem(pattern) is not None


def test_types_and_accounts_must_go_together() -> None:
    sent = ["channelape.receipt_confirmation", "ecomnow.new_order", "ustore.manufacturer_order"]
    assert can_select(["*"], ["ecomnow/shop"], sent)
    assert not can_select(["ecomnow.*"], ["channelape/*"], sent)
    assert can_select(["ecomnow.*", "channelape.*"], ["channelape/*"], sent)
    assert can_select(["ustore.manufacturer_order.2"], ["ustore/*"], sent)
    assert not can_select(["ustore.manufacturer_order.2"], ["ecomnow/*"], sent)
    assert not can_select(["*"], ["apicbase/*"], sent)


def test_a_routing_key_is_not_a_type() -> None:
    assert routing_key_problem("ustore.manufacturer_order.2") is None
    assert routing_key_problem("ustore.manufacturer_order.printshop*2") is None
    assert routing_key_problem("channelape.*") is None
    problem = routing_key_problem("ustore.manufacturer_order.printshop.2")
    assert problem is not None
    assert "write 'ustore.manufacturer_order.2', and 'ustore/printshop' in accounts" in problem


def test_no_pattern_takes_long() -> None:
    began = time.perf_counter()
    assert account_problem("*a" * 127) is not None
    assert type_problem("*a" * 127) is not None
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(
    ("changes", "field", "detail"),
    [
        ({"types": ["ustore.manufacturer_order.printshop.2"]}, "types", "is a routing key"),
        ({"accounts": ["channelape/ro thys"]}, "accounts", "matches no account"),
        ({"accounts": ["channelape/rothys.2"]}, "accounts", "matches no account"),
        ({"accounts": [" "]}, "accounts", "matches no account"),
        ({"types": [" "]}, "types", "matches no"),
        ({"types": ["ecomnow.*"], "accounts": ["channelape/*"]}, "accounts", "no account there has any of these types"),
        ({"dialect": "ecomnow", "accounts": ["channelape/*"]}, "accounts", "no account there has any of these types"),
    ],
)
async def test_a_subscription_that_can_get_nothing_is_refused(
    client: Client, changes: dict[str, Any], field: str, detail: str
) -> None:
    status, body, _ = await client.ask("POST", "/v1/subscriptions", {"url": URL} | changes, who=OPERATOR)
    assert status == 400
    assert body["errors"][0]["field"] == field
    assert detail in body["errors"][0]["detail"]


async def test_changing_a_subscription_so_that_it_matches_nothing_is_refused(client: Client) -> None:
    created = await client.subscribe(URL, types=["ecomnow.*"], accounts=["ecomnow/*"], who=OPERATOR)
    path = f"/v1/subscriptions/{created['id']}"
    for changes in (
        {"accounts": ["channelape/*"]},
        {"types": ["channelape.*"]},
        {"types": ["ustore.manufacturer_order.printshop.2"], "accounts": ["*"]},
    ):
        status, _, _ = await client.ask("PATCH", path, changes, who=OPERATOR)
        assert status == 400, changes
    status, body, _ = await client.ask(
        "PATCH", path, {"types": ["channelape.* "], "accounts": [" channelape/*"]}, who=OPERATOR
    )
    assert (status, body["types"], body["accounts"]) == (200, ["channelape.*"], ["channelape/*"])
    status, _, _ = await client.ask("PATCH", path, {"max_in_flight": 3}, who=OPERATOR)
    assert status == 200


async def test_blanks_at_the_ends_are_not_part_of_a_pattern(client: Client) -> None:
    created = await client.subscribe(
        URL,
        types=["ustore.manufacturer_order.2 ", "channelape.*\n"],
        accounts=[" channelape/rothys", "ustore/*\t"],
        who=OPERATOR,
    )
    assert created["types"] == ["ustore.manufacturer_order.2", "channelape.*"]
    assert created["accounts"] == ["channelape/rothys", "ustore/*"]


@pytest.mark.parametrize("account", ["ro thys", "rothys!", "chanelape/rothys", "channelape/ro thys", "a/b/c", "é"])
def test_a_consumer_of_an_account_that_can_not_be_is_refused(account: str) -> None:
    problem = consumer_problem(Consumer(name="a", types=["*"], accounts=["ecomnow/*", account]))
    assert problem is not None
    assert "matches no account" in problem


@pytest.mark.parametrize(
    ("types", "accounts", "problem"),
    [
        (["channelape.*", "ecomnow.*"], ["channelape/rothys"], "type 'ecomnow.*' has none of these accounts"),
        (["channelape.*"], ["channelape/*", "ecomnow/shop"], "account 'ecomnow/shop' has none of these types"),
        (["channelape.*", "ecomnow.*"], ["channelape/rothys", "ecomnow/*"], None),
        (["channelape.*", "ecomnow.*"], ["rothys"], None),
        (["*"], ["*"], None),
        (["*"], ["channelape/*", "*/shop"], None),
    ],
)
def test_every_type_of_a_consumer_has_an_account(types: list[str], accounts: list[str], problem: str | None) -> None:
    actual = consumer_problem(Consumer(name="a", types=types, accounts=accounts))
    assert (actual or "").partition(":")[0] == (problem or "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("consume", "--type", "channelape.reciept*"), "matches no event type; known types: apicbase.purchase_order"),
        (("consume", "--type", "ustore.manufacturer_order.printshop.2"), "matches no event type"),
        (("consume", "--account", "chanelape/rothys"), "matches no account"),
        (("consume", "--account", "ro thys"), "matches no account"),
        (("quarantine", "list", "--account", "channelape/*"), "write rothys or channelape/rothys"),
        (("consumers", "add", "x", "--accounts", "chanelape/rothys"), "matches no account"),
        (("consumers", "add", "x", "--types", "ecomnow.*", "--types", "channelape.*", "--accounts", "ecomnow/a"),
         "type 'channelape.*' has none of these accounts"),
    ],
)  # fmt: skip
async def test_commands_refuse_selections_that_can_match_nothing(
    shell: Shell, amqp_url: str, database_url: str, arguments: tuple[str, ...], complaint: str
) -> None:
    code, _, err = await shell(*arguments)
    assert code != 0
    assert complaint in " ".join(err.split())


@pytest.mark.parametrize(
    "arguments",
    [("consume", "--account"), ("quarantine", "list", "--account"), ("consumers", "add", "x", "--accounts")],
)
@pytest.mark.parametrize("account", ["rothy", "channelape/Rothys"])
async def test_commands_warn_of_an_account_that_is_not_configured(
    shell: Shell, amqp_url: str, pool: asyncpg.Pool, arguments: tuple[str, ...], account: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It may have been removed, and its events are still stored; so this is not an error."""
    assert (await shell("topology", "apply"))[0] == 0
    (tmp_path / "crossdock.toml").write_text(
        '[accounts.channelape.rothys]\nkeys = [{ name = "token", secret = { env = "NOT_SET_HERE" } }]\n'
    )
    monkeypatch.setenv("CROSSDOCK_CONFIG", str(tmp_path / "crossdock.toml"))
    code, _, err = await shell(*arguments, account)
    assert code == 0, err
    assert f"no account {account!r} is configured here; there are channelape/rothys" in " ".join(err.split())
    if arguments[0] != "consumers":
        _, _, err = await shell(*arguments, "rothys")
        assert "is configured here" not in err


@pytest.mark.parametrize(
    ("types", "accounts", "dialect", "problem"),
    [
        (["*"], ["*"], "standard", None),
        (["ustore.manufacturer_order.2"], ["ustore/*"], "standard", None),
        (["ustore.manufacturer_order.printshop.2"], ["*"], "standard", "is a routing key"),
        (["ecomnow.*"], ["channelape/*"], "standard", "it gets nothing"),
        (["*"], ["channelape/*"], "apicbase", "it gets nothing"),
    ],
)
def test_check_names_stored_subscriptions_that_can_get_nothing(
    types: list[str], accounts: list[str], dialect: str, problem: str | None
) -> None:
    subscription = Subscription(
        id=uuid4(), subscriber="", url=URL, types=types, accounts=accounts, dialect=dialect, max_in_flight=1, sealed=b""
    )
    assert (problem or "None") in str(check.selection_problem(subscription))
