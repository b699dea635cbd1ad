"""The ingress's fast path and its ordinary path: the same answers, log lines and counts, and nothing left waiting."""

import contextlib

import aiohttp
import msgspec
import orjson
import pytest
from prometheus_client import REGISTRY

from broker.commands import connected
from broker.declare import unbind
from ingress.hooks import app, outcomes
from schemas import registry
from schemas import topology as declared
from schemas.config import Config
from tests.support import pipeline

HEADERS: list[dict[str, str]] = [{}, {"Content-Encoding": "identity"}]
"""Headers of a request that takes the fast path, and of one that takes the ordinary path."""
PATHS = ["fast path", "ordinary path"]
HOOKS = [(name, event.name) for name, platform in registry.platforms().items() for event in platform.events]


@pytest.mark.parametrize(("platform", "event"), HOOKS)
@pytest.mark.parametrize("case", ["", "unsigned", "over the limit", "no worker", "no broker"])
async def test_both_paths_answer_log_and_count_alike(
    amqp_url: str, platform: str, event: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header that only the ordinary path reads changes neither answer, nor log line, nor counts."""
    if case == "no broker":
        monkeypatch.setattr(app, "FIRST_CONNECTION_TIMEOUT", 0.2)
    answers, lines, counts = [], [], []
    hook = registry.event(platform, event)
    settings = pipeline.config()
    if hook.reply:
        accounts = settings.accounts[platform]
        short_timeout = {hook.reply.timeout_setting: 0.2 if case == "no worker" else 5.0}
        impatient = {name: msgspec.structs.replace(account, **short_timeout) for name, account in accounts.items()}
        settings = msgspec.structs.replace(settings, accounts={**settings.accounts, platform: impatient})
    sign = case != "unsigned"
    async with contextlib.AsyncExitStack() as stack:
        door = await stack.enter_async_context(
            pipeline.door("amqp://guest:guest@127.0.0.1:1/" if case == "no broker" else amqp_url, settings)
        )
        if case == "":
            await stack.enter_async_context(pipeline.running(pipeline.route(amqp_url, settings)))
        if case == "over the limit":
            door.app.reload(limited(settings))
            limiter = door.app._limiters.of(platform, next(iter(settings.accounts[platform])))
            assert limiter.acquire() is None
        for headers in HEADERS:
            before = read_counters()
            status, answer, answered = await door.post(platform, event, headers=headers, sign=sign)
            name = answered.get("X-Crossdock-Id", "-")
            kept = {key: value for key, value in answered.items() if key not in ("Date", "Server")}
            answers.append((status, answer.replace(name.encode(), b""), {**kept, "X-Crossdock-Id": ""}))
            await pipeline.until(lambda: door.lines)
            line = orjson.loads(door.lines.pop())
            assert line.pop("id", "-") == name
            lines.append({key: value for key, value in line.items() if key not in ("time", "ms")})
            counts.append({key: value - before.get(key, 0) for key, value in read_counters().items()})
    assert answers[0] == answers[1]
    assert lines[0] == lines[1]
    assert counts[0] == counts[1]
    waits = hook.reply is not None and hook.reply.on_timeout != "accept"
    expected = {
        "": 200,
        "unsigned": registry.platforms()[platform].unauthorized,
        "over the limit": 429,
        "no worker": 503 if waits else 200,
        "no broker": 503,
    }
    assert answers[0][0] == expected[case]


def limited(settings: Config) -> Config:
    """An account may have one request under way."""
    return msgspec.structs.replace(settings, ingress=msgspec.structs.replace(settings.ingress, account_in_flight=1))


def read_counters() -> dict[tuple[str, ...], float]:
    """All counters of the ingress, and how often its histograms were fed."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in REGISTRY.collect()
        if metric.name in ("crossdock_requests", "crossdock_refused", "crossdock_request_body_bytes")
        or metric.name in ("crossdock_request_seconds", "crossdock_confirm_seconds")
        for sample in metric.samples
        if sample.name.endswith(("_total", "_count"))
    }


@pytest.mark.parametrize("headers", HEADERS, ids=PATHS)
async def test_an_exception_while_confirms_are_read_leaves_no_request_waiting(
    amqp_url: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The confirms of other requests are read all the same, over the same connection."""
    async with pipeline.door(amqp_url) as door:
        before = door.app._link.transport
        with monkeypatch.context() as patch:
            patch.setattr(outcomes, "accepted", None)
            if headers:
                status, _, _ = await door.post("channelape", "receipt_confirmation", headers=headers)
                assert status == 503
            else:
                with pytest.raises(aiohttp.ServerDisconnectedError):
                    await door.post("channelape", "receipt_confirmation")
        assert door.app._handler.idle.is_set()
        assert (await door.post("channelape", "receipt_confirmation", headers=headers))[0] == 200
        assert door.app._link.transport is before


@pytest.mark.parametrize("headers", HEADERS, ids=PATHS)
async def test_an_exception_before_a_slot_was_acquired_releases_none(amqp_url: str, headers: dict[str, str]) -> None:
    async with pipeline.door(amqp_url, limited(pipeline.config())) as door:
        hook = registry.event("channelape", "receipt_confirmation").path
        account = next(iter(door.config.accounts["channelape"]))
        route = door.app._handler.settings.routes.by_path[f"/hooks/channelape/{account}/{hook}"]
        route.platform = msgspec.structs.replace(route.platform, verify=lambda *_: 1 / 0)
        assert (await door.post("channelape", "receipt_confirmation", headers=headers))[0] == 503
        assert door.app._limiters.count == door.app._limiters.accounts == 0
        assert door.app._handler.idle.is_set()


@pytest.mark.parametrize(("platform", "event"), HOOKS)
@pytest.mark.parametrize("headers", HEADERS, ids=PATHS)
async def test_a_message_that_matches_no_queue_is_refused_once(
    amqp_url: str, platform: str, event: str, headers: dict[str, str]
) -> None:
    """RabbitMQ returns such a message, and then confirms it."""
    settings = limited(pipeline.config())
    async with pipeline.door(amqp_url, settings) as door:
        async with connected(amqp_url) as connection:
            channel = await connection.channel()
            for binding in declared.topology().bindings:
                if binding.exchange in (declared.INBOUND, declared.UNROUTED):
                    await unbind(channel, binding)
        for route in door.app._handler.settings.routes.by_path.values():
            if route.reply_timeout is not None:
                route.reply_timeout = 0.3  # a customer waits for a verdict until then
        for _ in range(3):
            status, _, answered = await door.post(platform, event, headers=headers)
            assert (status, answered["Retry-After"]) == (503, "5")
        assert door.app._handler.idle.is_set()
        assert door.app._limiters.count == 0
        assert len(door.app._replies) == 0
        await pipeline.until(lambda: len(b"".join(door.lines).splitlines()) == 3)
