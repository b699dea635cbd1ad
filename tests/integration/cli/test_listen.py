"""`crossdock listen` and `consume --filter`: events as a developer sees them arrive."""

import asyncio
import re
import signal
from asyncio.subprocess import Process

from aiohttp import web
from standardwebhooks.webhooks import Webhook

from deploy.local.children import free_ports
from tests.support.announcing import announce_all
from tests.support.pipeline import until
from tests.support.receiver import receiver
from tests.support.shell import Shell


async def read_line(process: Process) -> str:
    """Return the next line that a command prints."""
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode()


async def read_error(process: Process, text: str) -> str:
    """Return the next line of its errors with this text."""
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while text not in (line := (await process.stderr.readline()).decode()):
            assert line, f"it ended without {text!r}"
        return line


async def stop(process: Process) -> None:
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        assert await process.wait() == 0


async def test_events_are_shown_from_now_on(shell: Shell, amqp_url: str) -> None:
    await announce_all(amqp_url, ["old"])
    process = await shell.start("listen", "--account", "rothys", "--filter", '{"data": {"n": {"$lt": 2}}}')
    await read_error(process, "listening")
    await announce_all(amqp_url, ["other"], platform="ecomnow", account="shop")
    await announce_all(amqp_url, ["new\x1b[31m"])
    line = await read_line(process)
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}  channelape\.x  new\\x1b\[31m  channelape/rothys\n", line), line
    await stop(process)


async def test_events_are_posted_to_a_server_under_development(shell: Shell, amqp_url: str) -> None:
    (port,) = free_ports(1)
    process = await shell.start("listen", "--forward", f"http://127.0.0.1:{port}/hook")
    secret = (await read_error(process, "signed with")).split()[-1]
    await read_error(process, "listening")
    await announce_all(amqp_url, ["first"])
    await read_error(process, "waiting for http://127.0.0.1")
    got: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        Webhook(secret).verify(body, {name.lower(): value for name, value in request.headers.items()})
        got.append(request)
        return web.Response(status=200 if len(got) < 2 else 500)

    app = web.Application()
    app.router.add_post("/hook", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    assert re.search(r"  first  channelape/rothys  200  \d+ ms\n", await read_line(process))
    await announce_all(amqp_url, ["second"])
    assert re.search(r"  second  channelape/rothys  500  \d+ ms\n", await read_line(process))
    await stop(process)
    await runner.cleanup()


async def test_a_dialect_that_has_no_such_event_says_so(shell: Shell, amqp_url: str) -> None:
    async with receiver() as destination:
        process = await shell.start("listen", "--forward", f"{destination.url}/hook", "--dialect", "ecomnow")
        await read_error(process, "listening")
        await announce_all(amqp_url, ["first"])
        assert "not posted: dialect ecomnow has no such event" in await read_line(process)
        await stop(process)
        assert destination.got == []


async def test_wrong_options_are_explained(shell: Shell) -> None:
    for options, text in (
        (("--forward", "ftp://a/"), "write http://"),
        (("--forward", "http://a/", "--dialect", "soap"), "unknown dialect"),
        (("--filter", '{"a": {"$foo": 1}}'), "a.$foo: is not an operator"),
        (("--type", "nothing.at.all"), "nothing.at.all"),
    ):
        result = await shell("listen", *options)
        assert (result.code, text in result.err) == (2, True), result.err


async def test_consume_prints_only_what_matches(shell: Shell, amqp_url: str) -> None:
    await announce_all(amqp_url, ["a", "b"])

    async def is_complete() -> bool:
        return len((await shell("consume")).lines) == 2

    await until(is_complete, what="both events")
    result = await shell("consume", "--filter", '{"subject": "b", "data": {"n": 1}}')
    assert [event["id"] for event in result.lines] == ["b"]
