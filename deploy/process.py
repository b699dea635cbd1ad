"""Runs one process: configuration, logs, admin server, signals, and the component that does the work."""

import asyncio
import errno
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import uvloop
from prometheus_client import Gauge

from deploy import config as configuration
from deploy.admin import Admin
from ingress.sockets import HostError
from schemas.config import Config, Telemetry
from telemetry import background, logs

if TYPE_CHECKING:
    from telemetry import otlp

log = logging.getLogger("crossdock.process")

CLOSE_TIMEOUT = 8.0
"""Seconds beyond `[process] drain_timeout` to store the results and to close connections."""

INFO = Gauge("crossdock_process_info", "Always 1; which process this is", ("process", "version"))
READY = Gauge("crossdock_ready", "1 when it can do its work now, as /readyz says")


class Component(Protocol):
    """The work of a process: the ingress, the API or a worker."""

    async def start(self) -> None:
        """Start, and return when it runs; its connections may not be established yet."""
        ...

    async def stop(self) -> None:
        """Accept nothing new, finish the work in progress within `[process] drain_timeout`, and close."""
        ...

    def problems(self) -> list[str]:
        """Return why it cannot do its work now; empty if it can."""
        ...

    def reload(self, config: Config) -> None:
        """Use a new, validated configuration from the next message on."""
        ...


class MissingSettingError(Exception):
    """A required environment variable is not set, or is empty."""


def amqp_url() -> str:
    """Return AMQP_URL. Raises MissingSettingError."""
    return _required("AMQP_URL", "amqp://user:password@host:5672/vhost")


def database_url() -> str:
    """Return DATABASE_URL. Raises MissingSettingError."""
    return _required("DATABASE_URL", "postgresql://user:password@host:5432/crossdock")


def encryption_key() -> str:
    """Return CROSSDOCK_ENCRYPTION_KEY. Raises MissingSettingError."""
    return _required("CROSSDOCK_ENCRYPTION_KEY", "the output of `openssl rand -base64 32`")


def console_token() -> str | None:
    """Return CROSSDOCK_CONSOLE_TOKEN: the token of an operator named `local`, if no operator is configured."""
    return os.environ.get("CROSSDOCK_CONSOLE_TOKEN", "").strip() or None


def _required(name: str, example: str) -> str:
    value = os.environ.get(name)
    if value is None or not value.strip():
        state = "not set" if value is None else "empty"
        raise MissingSettingError(
            f"{name} is {state}: set it to something like {example}, or run everything with `crossdock up`"
        )
    return value


def run(
    name: str,
    build: Callable[[Config], Component],
    *,
    config_path: Path | None = None,
    admin_host: str | None = None,
    admin_port: int | None = None,
) -> int:
    """Run a component until SIGTERM or SIGINT, then drain it, and return the exit code.

    `name`: the kind of process, for its metrics and for the secrets that it reads. Raises ConfigError and
    MissingSettingError.
    """
    config = configuration.load(config_path, process=name)
    formatter = logs.setup(config.log.level, configuration.secrets_of(config))
    component = build(config)
    tracer = _tracer(config.telemetry, name)
    INFO.labels(name, version("crossdock")).set(1)
    READY.set_function(lambda: not component.problems())
    # Imported objects live as long as the process, so the collector need not examine them. Our objects rarely form
    # cycles, so it may run seldom. With its defaults it takes up to a tenth of a busy process.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    host = admin_host or config.admin.host
    port = config.admin.port if admin_port is None else admin_port
    try:
        admin = Admin(host, port, component.problems)
        bound = config.process.drain_timeout + CLOSE_TIMEOUT
        load = partial(configuration.load, config_path, process=name)
        uvloop.run(_run(component, load, formatter, admin, bound, tracer))
    except OSError as error:
        print(f"crossdock: {listen_problem(error)}", file=sys.stderr)  # noqa: T201
        return 1
    return 1 if background.failed else 0


def listen_problem(error: OSError) -> str:
    """Return why a process can't listen, and which setting to correct."""
    where = f" on {error.filename}" if error.filename else ""
    text = f"can't listen{where}: {error.strerror or error}"
    if isinstance(error, HostError):
        return f"{text}; correct `host`"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{text}; this machine does not have that address: correct `host`"
    return f"{text}; choose another port"


def _tracer(settings: Telemetry, name: str) -> "otlp.Tracer | None":
    """Turn tracing on if it is configured. Raises telemetry.otlp.NotInstalledError."""
    if settings.otlp_endpoint is None:
        return None
    from telemetry import otlp, traces

    tracer = traces.tracer = otlp.Tracer(settings, name)
    return tracer


async def _run(
    component: Component,
    load: Callable[[], Config],
    formatter: logs.JsonFormatter,
    admin: Admin,
    stop_timeout: float,
    tracer: "otlp.Tracer | None",
) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def reload() -> None:
        try:
            config = load()
            component.reload(config)
        except ValueError as error:
            log.error("reload refused, the old configuration stays", extra={"error": str(error)})
            return
        formatter.secrets = configuration.secrets_of(config)
        logging.getLogger("crossdock").setLevel(config.log.level.upper())
        log.info("reloaded")

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ended.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    await admin.start()
    try:
        await component.start()
        log.info("started", extra={"admin": admin.url, "pid": os.getpid()})
        await ended.wait()
        log.info("draining")
    finally:
        await _stop(component, stop_timeout)
        if tracer is not None:
            await tracer.stop()
        await admin.stop()
        log.info("stopped")


async def _stop(component: Component, timeout: float) -> None:
    """Stop the component; if it takes too long, end the process, which has acknowledged nothing that isn't done."""
    stopping = asyncio.get_running_loop().create_task(component.stop(), name="stop")
    done, _ = await asyncio.wait((stopping,), timeout=timeout)
    if not done:
        log.error("the component did not stop in time, ending the process", extra={"seconds": timeout})
        logging.shutdown()
        os._exit(1)  # a task that hangs may also hang when it is cancelled
    stopping.result()
