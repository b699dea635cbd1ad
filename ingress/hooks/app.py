"""The ingress as one process: it listens for webhooks and publishes over one AMQP connection."""

import asyncio
import logging
from contextlib import suppress

from aio_pika.abc import AbstractConnection

from broker import depths, topology
from broker.connection import BrokerConnection
from broker.publisher import Publisher
from broker.replies import Replies
from ingress import connections, sockets
from ingress.hooks import concurrency, metrics, routes
from ingress.hooks.body import BodyBudget
from ingress.hooks.clock import ReceiveClock
from ingress.hooks.handler import Handler, Settings
from ingress.hooks.metrics import AccessLog
from ingress.hooks.request import Broker
from schemas.config import Config, parse_size
from telemetry.background import Background

log = logging.getLogger("crossdock.ingress")

FIRST_CONNECTION_TIMEOUT = 5.0
"""Seconds for which a start waits for the broker before it listens without it."""
BACKLOG = 1024


class IngressApp:
    """The application that `deploy.process` starts, stops, reloads and asks for problems."""

    def __init__(
        self, config: Config, *, amqp_url: str, port: int | None = None, log_requests: AccessLog | None = None
    ):
        """`port` takes precedence over the configured one; 0 chooses a free one."""
        self._config = config
        self._shards = config.store.shards
        self._is_binding_verified = False
        """Whether the store queue is known to receive what we publish."""
        self._port = config.ingress.port if port is None else port
        buffered = parse_size(config.ingress.max_buffered)
        self._publisher = Publisher(
            confirm_timeout=config.ingress.confirm_timeout, on_unhealthy=self._switch_node, max_held_bytes=buffered
        )
        self._replies = Replies()
        self._log = log_requests or AccessLog()
        self._limiters = concurrency.ConcurrencyLimiters(_limits_of_accounts(config))
        budget = BodyBudget(buffered, lambda: self._publisher.held_bytes)
        broker = Broker(self._publisher, self._replies, ReceiveClock())
        self._handler = Handler(self._settings(config), budget, broker, self._log)
        self._link = BrokerConnection(amqp_url, name="ingress", on_open=self._on_open, on_lost=self._on_lost)
        self._server: connections.Server | None = None
        self._listeners: list[asyncio.Server] = []
        self._background = Background()
        self._amqp_url = amqp_url
        metrics.OUTSTANDING.set_function(lambda: self._publisher.outstanding)
        metrics.PENDING_REPLIES.set_function(lambda: len(self._replies))
        metrics.CONNECTIONS.set_function(lambda: self.connections)

    @property
    def port(self) -> int:
        """The port that this listens on, once started."""
        return int(self._listeners[0].sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """Client connections that are open now."""
        return self._server.count if self._server is not None else 0

    async def start(self) -> None:
        """Connect and listen. Until there is a connection to the broker, posts are answered with 503."""
        self._link.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_CONNECTION_TIMEOUT):
                await self._link.opened.wait()
        self._background.start(depths.watch(self._amqp_url, shards=self._shards), name="depths")
        self._server = connections.Server(
            self._handler,
            _limits(self._config),
            metrics.refused_unseen,
            self._handler.try_fast_path,
            access_log=None,  # the query string is a secret; our own line leaves it out
            auto_decompress=False,  # signatures are over what was sent
            keepalive_timeout=self._config.ingress.keepalive,
            lingering_time=connections.LINGER,
        )
        self._listeners = await sockets.listen(
            self._server,
            self._config.ingress.hosts,
            self._port,
            backlog=BACKLOG,
            shared=self._config.ingress.processes > 1,
        )
        log.info("listening", extra={"hosts": self._config.ingress.hosts, "port": self.port})

    async def stop(self) -> None:
        """Accept no more connections, answer what is under way for at most `drain_timeout`, and close."""
        await self._background.stop()
        for listener in self._listeners:
            listener.close()
        if self._server is not None:
            self._server.pre_shutdown()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.process.drain_timeout):
                    await self._handler.idle.wait()
            await self._server.shutdown(1.0)
        await self._publisher.stop()
        await self._link.stop()
        self._log.flush()

    def problems(self) -> list[str]:
        """Return why a post would not be made safe now; empty if it would be."""
        problems = [] if self._link.is_open else [f"no connection to RabbitMQ: {self._link.error}"]
        return [*problems, *self._background.problems(), *self._publisher.problems(), *self._link.problems()]

    def reload(self, config: Config) -> None:
        """Apply a configuration: accounts, secrets and limits at once, the rest with the next start.

        The rest is host, port, keepalive, processes and shards.
        """
        self._config = config
        self._limiters.limits = _limits_of_accounts(config)
        self._handler.budget.limit = self._publisher.max_held_bytes = parse_size(config.ingress.max_buffered)
        self._handler.settings = self._settings(config)
        if self._server is not None:
            self._server.limits = _limits(config)

    def _settings(self, config: Config) -> Settings:
        return Settings(
            routes=routes.build(config, self._limiters, self._shards),
            has_account_limits=_limits_of_accounts(config) != concurrency.Limits(),
            max_body=parse_size(config.ingress.max_body),
            body_timeout=config.ingress.body_timeout,
        )

    def _switch_node(self, reason: str) -> None:
        self._link.switch_node(reason)

    async def _on_open(self, link: BrokerConnection, connection: AbstractConnection) -> None:
        if not self._is_binding_verified:
            await topology.verify_store_binding(connection, self._shards)
            self._is_binding_verified = True
        channel = await link.channel(connection, confirms=True)
        await self._replies.on_open(channel)
        self._publisher.use(link.transport, channel, self._replies.received)

    def _on_lost(self) -> None:
        self._publisher.on_lost()
        # If a message was too large for the broker, the requests that wait for an answer have no part in that.
        self._replies.on_lost(ask_again=self._publisher.was_closed_for_size)


def _limits(config: Config) -> connections.Limits:
    return connections.Limits(
        connections=connections.raise_fd_limit(config.ingress.max_connections),
        header_timeout=config.ingress.header_timeout,
        write_timeout=config.ingress.write_timeout,
    )


def _limits_of_accounts(config: Config) -> concurrency.Limits:
    return concurrency.Limits(account=config.ingress.account_in_flight, shared=config.ingress.shared_in_flight)
