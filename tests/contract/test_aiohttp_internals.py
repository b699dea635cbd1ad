"""What `ingress.protocol` depends on of aiohttp's private state; a new minor version of aiohttp has to pass this
first."""

import ast
import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.http import HttpRequestParser

from ingress.protocol import INTERNALS, AppRunner, RequestProtocol

ROOT = Path(__file__).parents[2]
POST = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"


async def handle(request: web.BaseRequest) -> web.Response:
    return web.Response(body=await request.read())


class Transport(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        """Do nothing, because nothing is read."""

    def resume_reading(self) -> None:
        """Do nothing, because nothing is read."""


@pytest.fixture
def connect() -> Callable[[], tuple[RequestProtocol, Transport]]:
    def make() -> tuple[RequestProtocol, Transport]:
        loop = asyncio.get_running_loop()
        protocol, transport = RequestProtocol(web.Server(handle), loop=loop), Transport()
        protocol.connection_made(transport)
        return protocol, transport

    return make


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # every turn of the loop counts here
            await asyncio.sleep(0)


def test_the_installed_version_is_one_that_is_pinned() -> None:
    (pin,) = re.findall(r'"aiohttp>=(\d+\.\d+)\.\d+,<(\d+\.\d+)"', (ROOT / "pyproject.toml").read_text())
    minor = ".".join(aiohttp.__version__.split(".")[:2])
    assert minor == pin[0]
    assert [int(part) for part in pin[1].split(".")] == [int(minor.split(".")[0]), int(minor.split(".")[1]) + 1]


async def test_every_attribute_exists(connect: Callable[[], tuple[RequestProtocol, Transport]]) -> None:
    protocol, _ = connect()
    for name in INTERNALS:
        assert hasattr(protocol, name), name
    assert isinstance(protocol._parser, HttpRequestParser)
    assert callable(protocol._parser.message_consumed)
    assert hasattr(web.AppRunner, "_make_server")


def test_no_other_module_touches_them() -> None:
    """Also not `StreamReader._buffer` and `AppRunner._kwargs`."""
    for file in [*ROOT.glob("ingress/*.py"), *ROOT.glob("ingress/hooks/*.py"), *ROOT.glob("ingress/api/*.py")]:
        if file.name == "protocol.py":
            continue
        attributes = {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
        # The event loop of a protocol is documented in asyncio's own protocols, and a timer needs it.
        assert not attributes & (INTERNALS.keys() - {"_loop"} | {"_buffer", "_kwargs", "_make_server"}), file


async def test_a_protocol_waits_between_requests(connect: Callable[[], tuple[RequestProtocol, Transport]]) -> None:
    protocol, transport = connect()
    assert protocol.is_waiting  # its task has not run yet
    await until(lambda: protocol._waiter is not None)
    assert protocol.is_waiting
    assert protocol.parse(POST) is True
    assert protocol.has_requests
    assert protocol.is_waiting  # it was not woken
    protocol.wake()
    await until(lambda: not protocol.is_waiting)
    assert not protocol.are_bodies_whole()
    protocol.data_received(b"{}")
    await until(lambda: transport.written.endswith(b"{}"))
    await until(lambda: protocol.is_waiting)
    assert protocol.are_bodies_whole()
    assert not protocol.has_requests


@pytest.mark.parametrize(
    ("sent", "whole"),
    [
        (POST + b"{}", b"{}"),
        (b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n", b""),
        (POST + b"{", None),
        ((POST + b"{}") * 2, None),
        (b"nonsense\r\n\r\n", None),
    ],
    ids=["whole", "without a body", "cut", "two", "not HTTP"],
)
async def test_a_complete_request_can_be_taken_before_its_handler_runs(
    connect: Callable[[], tuple[RequestProtocol, Transport]], sent: bytes, whole: bytes | None
) -> None:
    protocol, transport = connect()
    await until(lambda: protocol._waiter is not None)
    assert protocol.parse(sent)
    request = protocol.whole_request()
    assert (None if request is None else request[1]) == whole
    if request is None:
        return
    assert protocol.whole_request() == request  # it is still there
    protocol.drop_request()
    assert not protocol.has_requests
    assert protocol.is_waiting
    # The connection goes on: the library answers the next request.
    protocol.data_received(POST + b"42")
    await until(lambda: transport.written.endswith(b"42"))


async def test_a_request_on_the_fast_path_keeps_the_connection(
    connect: Callable[[], tuple[RequestProtocol, Transport]],
) -> None:
    protocol, transport = connect()
    await until(lambda: protocol._waiter is not None)
    protocol._keepalive = True
    protocol._next_keepalive_close_time = 0.0
    protocol.is_on_fast_path = True
    protocol._process_keepalive()
    assert not transport.is_closed
    assert protocol.keepalive_deadline > asyncio.get_running_loop().time()
    protocol.is_on_fast_path = False
    protocol._next_keepalive_close_time = 0.0
    protocol._process_keepalive()
    assert transport.is_closed


async def test_a_server_reports_that_it_shuts_down(connect: Callable[[], tuple[RequestProtocol, Transport]]) -> None:
    protocol, _ = connect()
    assert not protocol.is_shutting_down
    protocol.close()
    assert protocol.is_shutting_down


async def test_the_runner_makes_our_server() -> None:
    servers: list[web.Server] = []

    def make(handler: object, **settings: object) -> web.Server:
        assert settings.pop("request_factory") is not None
        assert settings["keepalive_timeout"] == 7.0
        servers.append(web.Server(handler))  # type: ignore[arg-type]
        return servers[0]

    runner = AppRunner(web.Application(), make, keepalive_timeout=7.0)
    await runner.setup()
    assert runner.server is servers[0]
    await runner.cleanup()
