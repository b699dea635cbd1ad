"""The ingress as one process: a listening socket in front, one AMQP connection behind."""

import asyncio
import logging
import socket
from contextlib import suppress

from aiohttp import web
from aiormq.abc import AbstractConnection

from broker.connection import Link
from broker.publisher import Publisher
from broker.replies import Replies
from ingress.hooks import metrics, routes
from ingress.hooks.accesslog import AccessLog
from ingress.hooks.handler import Handler, Settings
from schemas.config import Config, parse_size

log = logging.getLogger("crossdock.ingress")

KEEPALIVE = 75.0
"""Seconds an idle connection is kept, as is usual behind load balancers."""
LINGER = 1.0
"""Seconds we go on discarding a body that we refused, so that the sender gets to read why."""
BACKLOG = 1024
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class IngressApp:
    """Start, stop, problems, reload: what `deploy.process` runs."""

    def __init__(
        self, config: Config, *, amqp_url: str, port: int | None = None, log_requests: AccessLog | None = None
    ):
        """`port` goes before the configured one; 0 is a free one."""
        self._config = config
        self._port = config.ingress.port if port is None else port
        self._publisher = Publisher(confirm_timeout=config.ingress.confirm_timeout, useless=self._try_elsewhere)
        self._replies = Replies()
        self._log = log_requests or AccessLog()
        self._handler = Handler(_settings(config), self._publisher, self._replies, self._log)
        self._link = Link(amqp_url, name="ingress", on_open=self._on_open, on_lost=self._on_lost)
        self._protocols: web.Server | None = None
        self._listener: asyncio.Server | None = None
        metrics.OUTSTANDING.set_function(lambda: self._publisher.outstanding)
        metrics.PENDING_REPLIES.set_function(lambda: len(self._replies))
        metrics.CONNECTIONS.set_function(lambda: self.connections)

    @property
    def port(self) -> int:
        """The port we listen on, once started."""
        assert self._listener is not None
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """Client connections that are open now."""
        return len(self._protocols.connections) if self._protocols else 0

    async def start(self) -> None:
        """Connects and listens. Until the broker is there, posts are answered 503."""
        self._link.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self._link.opened.wait()
        self._protocols = web.Server(
            self._handler,
            access_log=None,  # the query string is a secret; we write our own line without it
            auto_decompress=False,  # signatures are over what was sent
            keepalive_timeout=KEEPALIVE,
            lingering_time=LINGER,
        )
        self._listener = await asyncio.get_running_loop().create_server(
            self._protocol,
            self._config.ingress.host,
            self._port,
            backlog=BACKLOG,
            reuse_port=hasattr(socket, "SO_REUSEPORT") and self._config.ingress.processes > 1,
        )
        log.info("listening", extra={"host": self._config.ingress.host, "port": self.port})

    async def stop(self) -> None:
        """Takes no more connections, answers what is under way (bounded by drain_timeout), confirms, closes."""
        if self._listener is not None:
            self._listener.close()
        if self._protocols is not None:
            self._protocols.pre_shutdown()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.ingress.drain_timeout):
                    await self._handler.idle.wait()
            await self._protocols.shutdown(1.0)
        await self._publisher.stop()
        await self._link.stop()
        self._log.flush()

    def problems(self) -> list[str]:
        """Empty when a post would be made safe now."""
        return [] if self._link.is_open else [f"no connection to RabbitMQ: {self._link.error}"]

    def reload(self, config: Config) -> None:
        """Accounts, secrets and limits change at once; host, port and processes with the next start."""
        self._config = config
        self._handler.settings = _settings(config)

    def _protocol(self) -> asyncio.BaseProtocol:
        assert self._protocols is not None
        protocol: web.RequestHandler = self._protocols()
        if self.connections >= self._config.ingress.max_connections:
            asyncio.get_running_loop().call_later(0.001, _turn_away, protocol)
        return protocol

    def _try_elsewhere(self, reason: str) -> None:
        self._link.elsewhere(reason)

    async def _on_open(self, link: Link, connection: AbstractConnection) -> None:
        channel = await link.channel(connection, confirms=True)
        await self._replies.on_open(channel)
        self._publisher.use(link.transport, channel, self._replies.received)

    def _on_lost(self) -> None:
        self._publisher.on_lost()
        self._replies.on_lost()


def _turn_away(protocol: web.RequestHandler) -> None:
    """Answers a connection beyond the limit without spending a request on it."""
    if protocol.transport is not None:
        protocol.transport.write(_FULL)
        protocol.force_close()


def _settings(config: Config) -> Settings:
    return Settings(
        routes=routes.build(config),
        max_body=parse_size(config.ingress.max_body),
        body_timeout=config.ingress.body_timeout,
    )
