"""One account floods: the others are answered as before, it gets 429, and it is served again afterwards."""

import asyncio
import json
import time
from collections import Counter

import msgspec

from schemas import registry
from tests.support import pipeline
from tests.support.pipeline import RunningIngress

SHARED = 10


async def post_to(door: RunningIngress, account: str, answered: Counter[int]) -> None:
    """Send an authentic post of ChannelApe, and count its status."""
    raw = registry.example("channelape", "receipt_confirmation")
    settings = door.config.accounts["channelape"][account]
    url = door.url("channelape", "receipt_confirmation", account)
    query = registry.platforms()["channelape"].sign(raw, settings).query
    async with door.session.post(url, data=raw, params=query) as answer:
        body = await answer.read()
        answered[answer.status] += 1
        if answer.status == 429:
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert json.loads(body)["status"] == 429


async def steady(door: RunningIngress, account: str, count: int = 20) -> Counter[int]:
    """Send posts one after the other, and return the counts of their statuses."""
    answered: Counter[int] = Counter()
    for _ in range(count):
        await post_to(door, account, answered)
    return answered


async def test_a_flood_of_one_account_delays_no_other_account(amqp_url: str) -> None:
    accounts = {name: {"keys": [{"name": "token", "secret": f"secret-of-{name}"}]} for name in ("flood", "calm")}
    raw = {"ingress": {"shared_in_flight": SHARED}, "accounts": {"channelape": accounts}}
    async with pipeline.door(amqp_url, pipeline.config(raw)) as door:
        await steady(door, "calm")
        flooded: Counter[int] = Counter()
        over = asyncio.Event()

        async def flood() -> None:
            while not over.is_set():
                await post_to(door, "flood", flooded)

        flooding = [asyncio.create_task(flood()) for _ in range(3 * SHARED)]
        await pipeline.until(lambda: flooded[429] >= 100)
        answered = await steady(door, "calm")
        assert answered == {200: 20}
        over.set()
        await asyncio.gather(*flooding)
        assert set(flooded) == {200, 429}  # it is served all the while, within what there is
        answered = await steady(door, "flood")
        assert answered == {200: 20}


async def test_waiting_requests_delay_their_own_account_only(amqp_url: str) -> None:
    """uStore's posts wait for a missing worker; the post beyond the limit is refused in uStore's own, signed form."""
    settings = pipeline.config({"ingress": {"account_in_flight": 5}})
    ustore = registry.platforms()["ustore"]
    async with pipeline.door(amqp_url, settings) as door:
        held = [asyncio.create_task(door.post("ustore", "manufacturer_allocation")) for _ in range(5)]
        await pipeline.until(lambda: _published(door) == 5)
        status, body, headers = await door.post("ustore", "manufacturer_allocation")
        assert (status, int(headers["Retry-After"])) == (429, 1)
        assert list(json.loads(body)) == ["message"]
        [account] = settings.accounts["ustore"].values()
        assert ustore.sign_answer is not None
        signature = ustore.sign_answer(body, ustore.secrets(account)[0], account)
        assert signature.items() <= dict(headers).items()
        began = time.perf_counter()
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
        assert time.perf_counter() - began < account.answer_timeout / 2
        assert not any(task.done() for task in held), "answered while the others wait"
        assert {status for status, _, _ in await asyncio.gather(*held)} == {503}
        assert (await door.post("ustore", "manufacturer_allocation"))[0] == 503  # let in, and no worker again


def _published(door: RunningIngress) -> int:
    return len(door.app._replies)


async def test_unsigned_requests_take_no_slots_from_accounts(amqp_url: str) -> None:
    settings = pipeline.config({"ingress": {"account_in_flight": 1, "shared_in_flight": 1}})
    async with pipeline.door(amqp_url, settings) as door:
        over = asyncio.Event()
        strangers: Counter[int] = Counter()

        async def stranger() -> None:
            while not over.is_set():
                strangers[(await door.post("channelape", "receipt_confirmation", sign=False))[0]] += 1

        flooding = [asyncio.create_task(stranger()) for _ in range(50)]
        await pipeline.until(lambda: strangers[401] >= 100)
        answered = await steady(door, next(iter(settings.accounts["channelape"])))
        over.set()
        await asyncio.gather(*flooding)
        assert answered == {200: 20}
        assert set(strangers) == {401}


async def test_a_reload_changes_limits_and_keeps_counting_requests_in_progress(amqp_url: str) -> None:
    settings = pipeline.config({"ingress": {"account_in_flight": 1}})
    async with pipeline.door(amqp_url, settings) as door:
        held = asyncio.create_task(door.post("ustore", "manufacturer_allocation"))
        await pipeline.until(lambda: _published(door) == 1)
        assert (await door.post("ustore", "manufacturer_allocation"))[0] == 429
        door.app.reload(settings)  # the same: what is under way still counts
        assert (await door.post("ustore", "manufacturer_allocation"))[0] == 429
        off = msgspec.structs.replace(settings.ingress, account_in_flight=0)
        door.app.reload(msgspec.structs.replace(settings, ingress=off))
        second = asyncio.create_task(door.post("ustore", "manufacturer_allocation"))
        await pipeline.until(lambda: _published(door) == 2)
        await asyncio.gather(held, second)
