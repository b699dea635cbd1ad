"""`crossdock up`: the whole pipeline on this machine, on real servers, until it is told to stop."""

import asyncio
import base64
import fcntl
import logging
import os
import secrets
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from broker import retention, topology
from broker.management import Management, ManagementError
from deploy import config as configuration
from deploy.local.children import StartError, free_ports, private_folder
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.supervisor import Child, Supervisor
from schemas import serverurls
from schemas.config import Config
from schemas.topology import EVENTS_LOG, LOG_POLICY
from schemas.topology import topology as wanted
from storage import dsn
from storage.migrate import migrate

log = logging.getLogger("crossdock.up")

READY_TIMEOUT = 60.0
CHILDREN_STOP = 7.0
"""Seconds for all our processes to drain; the servers have the rest of fifteen."""
SERVER_POLL = 0.25

PROCESSES = (
    ("store", ("worker", "store")),
    ("route", ("worker", "route")),
    ("deliver", ("worker", "deliver")),
)
"""The workers: name and command. A new kind is one more line."""
POLL = ("poll", ("worker", "poll"))
"""Only where an account is polled."""

DEFAULT_STATE = ".crossdock"
SHARDS = "shards"
"""File of the state folder: the number of shards that the bindings were made for."""

Say = Callable[[str], None]


def state_folder(given: Path | None) -> Path:
    """`--state`, else CROSSDOCK_STATE, else ./.crossdock."""
    return given or Path(os.environ.get("CROSSDOCK_STATE") or DEFAULT_STATE)


def read_endpoints(state: Path) -> dict[str, Any]:
    """What a running `up` wrote; empty when there is none."""
    try:
        found: dict[str, Any] = orjson.loads((state / "endpoints.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found


class Up:
    """One run on one state folder."""

    def __init__(self, config_path: Path | None, state: Path, port: int | None, say: Say) -> None:
        self._config_path = configuration.find(config_path)
        self._config = configuration.load(config_path)
        self._wanted = wanted(self._config.events, shards=self._config.store.shards)
        self._state = state.resolve()
        self._port = port
        self._say = say
        self._postgres: Postgres | None = None
        self._rabbitmq: RabbitMQ | None = None
        self._supervisor: Supervisor | None = None
        try:
            self._amqp_url = serverurls.checked("AMQP_URL", os.environ.get("AMQP_URL", ""))
            self._database_url = dsn.clean(serverurls.checked("DATABASE_URL", os.environ.get("DATABASE_URL", "")))
        except ValueError as error:
            raise StartError(str(error)) from None
        self._children: list[Child] = []
        self._new_broker = False
        self._is_ready = False
        self._reloading: asyncio.Task[None] | None = None
        self._reload_again = False
        self._ingress_port = 0
        self._api_port = 0

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises StartError and ConfigError."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, ended.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        lock = self._lock()
        try:
            starting = loop.create_task(self._start())
            told = loop.create_task(ended.wait())
            await asyncio.wait((starting, told), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
            with suppress(asyncio.CancelledError):
                await starting
            await self._watch(told)
        finally:
            await self._stop()
            os.close(lock)

    def _lock(self) -> int:
        if self._state.name == DEFAULT_STATE or not self._state.exists():
            private_folder(self._state)  # a folder that was there before is somebody's: what we make in it is closed
        handle = os.open(self._state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise StartError(f"{self._state} is in use by a running `crossdock up`: stop it, or give --state") from None
        return handle

    async def _start(self) -> None:
        servers: list[Awaitable[None]] = []
        if not self._database_url:
            self._postgres = Postgres(self._state / "postgres")
            servers.append(self._postgres.start())
        if not self._amqp_url:
            self._new_broker = not (self._state / "rabbitmq").exists()
            self._rabbitmq = RabbitMQ(self._state / "rabbitmq")
            servers.append(self._rabbitmq.start())
        self._say(f"state   {self._state}")
        await asyncio.gather(*servers)
        if self._postgres:
            self._database_url = self._postgres.url
        if self._rabbitmq:
            self._amqp_url = self._rabbitmq.url
        await migrate(self._database_url)
        await self._declare()
        self._children = self._plan(self._config)
        self._supervisor = Supervisor(self._children, self._environment(), self._state / "logs", self._write)
        self._supervisor.start()
        problems = await self._supervisor.ready(READY_TIMEOUT)
        if problems:
            raise StartError(f"not ready: {'; '.join(problems)}; see {self._state / 'logs'}")
        self._is_ready = True
        self._write()
        for child in self._children:
            self._say(f"{child.name:<10} {child.admin}")
        self._say(f"webhooks   {self._ingress_url()}/hooks/…")
        self._say(f"API        {self._api_url()}/v1/…")
        self._say("ready")

    async def _declare(self) -> None:
        """Exchanges, queues and bindings; no ingress of ours runs yet. Raises TopologyError and StartError."""
        applied = await topology.apply(self._amqp_url, self._wanted, alone=self._rabbitmq is not None)
        for note in applied.notes:
            self._say(note)
        differences = applied.of(EVENTS_LOG)
        if self._rabbitmq is not None:
            await self._keep_log(self._rabbitmq, bool(differences))
        else:
            given = os.environ.get("RABBITMQ_MANAGEMENT_URL")
            try:
                management = Management(given) if given else None
                if how := await retention.apply(self._amqp_url, self._wanted, differences, management):
                    self._say(how)
            except ManagementError as error:
                self._say(f"the retention of {EVENTS_LOG} is not set: {error}")
        # A look for bindings that another number of shards needed is an error in the broker's log: only after a change.
        file, count = self._state / SHARDS, str(self._config.store.shards)
        before = file.read_text() if file.exists() else ""
        if before != count and not self._new_broker:
            for left_over in await topology.prune(self._amqp_url, self._wanted):
                self._say(left_over)
        if before != count:
            file.write_text(count)

    async def _keep_log(self, server: RabbitMQ, differs: bool) -> None:
        """Give the log of our own node the configured retention by a policy, where it was declared with another one.

        A policy that the node loads at its start does not reach a stream, so `rabbitmqctl` sets it, once.
        """
        file = self._state / LOG_POLICY
        policy = retention.policy(self._wanted)
        definition = orjson.dumps(policy["definition"]).decode() if differs else ""
        if (file.read_text() if file.exists() else "") == definition:
            return
        if definition:
            options = ("--priority", str(policy["priority"]), "--apply-to", policy["apply-to"])
            await server.control("set_policy", *options, LOG_POLICY, policy["pattern"], definition)
        else:
            await server.control("clear_policy", LOG_POLICY)
        file.write_text(definition)

    def _plan(self, config: Config) -> list[Child]:
        count = config.ingress.processes
        port = config.ingress.port if self._port is None else self._port
        workers = (*PROCESSES, POLL) if _is_polled(config) else PROCESSES
        ports = free_ports(count + len(workers) + 3)
        self._ingress_port = port or ports[-1]
        # With a port of one's own for the ingress there may be another `up`: the API then takes a free one.
        self._api_port = ports[-2] if self._port is not None or not config.api.port else config.api.port
        path = self._path
        children = [
            Child(
                "ingress" if n == 0 else f"ingress-{n + 1}",
                ("ingress", *path, "--port", str(self._ingress_port), *(("--one-of-many",) if count > 1 else ())),
                ports[n],
            )
            for n in range(count)
        ]
        children += [Child(name, (*args, *path), ports[count + n]) for n, (name, args) in enumerate(workers)]
        children.append(Child("api", ("api", *path, "--port", str(self._api_port)), ports[count + len(workers)]))
        return children

    @property
    def _path(self) -> tuple[str, ...]:
        return ("--config", str(self._config_path)) if self._config_path else ()

    def _environment(self) -> dict[str, str]:
        key = os.environ.get("CROSSDOCK_ENCRYPTION_KEY") or self._encryption_key()
        return {
            **os.environ,
            "AMQP_URL": self._amqp_url,
            "DATABASE_URL": self._database_url,
            "CROSSDOCK_STATE": str(self._state),
            "CROSSDOCK_ENCRYPTION_KEY": key,
        }

    def _encryption_key(self) -> str:
        file = self._state / "encryption.key"
        if not file.exists():
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(handle, base64.b64encode(secrets.token_bytes(32)))
            os.close(handle)
        return file.read_text().strip()

    def _ingress_url(self) -> str:
        return _url(self._config.ingress.hosts[0], self._ingress_port)

    def _api_url(self) -> str:
        return _url(self._config.api.host, self._api_port)

    def _write(self) -> None:
        """endpoints.json, replaced whole: a reader sees the old one or the new one."""
        if not self._is_ready:
            return  # a process was restarted during the start: whoever waits for the file waits for all of them
        assert self._supervisor is not None
        pids = dict(self._supervisor.pids)
        for name, server in (("postgres", self._postgres), ("rabbitmq", self._rabbitmq)):
            if server is not None:
                pids[name] = server.pid
        found = {
            "ingress": self._ingress_url(),
            "api": self._api_url(),
            "amqp": self._amqp_url,
            "postgres": self._database_url,
            "admin": {child.name: child.admin for child in self._children},
            "pids": pids,
        }
        fresh = self._state / "endpoints.json.new"
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(handle, orjson.dumps(found, option=orjson.OPT_INDENT_2))
        os.close(handle)
        fresh.replace(self._state / "endpoints.json")

    async def _watch(self, told: "asyncio.Task[bool]") -> None:
        """Until told to stop. A server of ours that died is started again on its data."""
        while not told.done():
            await asyncio.wait((told,), timeout=SERVER_POLL)
            for name, server in (("postgres", self._postgres), ("rabbitmq", self._rabbitmq)):
                if server is not None and not server.alive and not told.done():
                    log.warning("server ended, starting it again", extra={"server": name})
                    await server.restart()
                    self._write()

    def _reload(self) -> None:
        """Pass SIGHUP on; start or stop the poll worker where the configuration now asks for it."""
        if self._supervisor is None:
            return
        self._supervisor.signal(signal.SIGHUP)
        self._reload_again = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._follow_polled(self._supervisor))

    async def _follow_polled(self, supervisor: Supervisor) -> None:
        while self._reload_again:
            self._reload_again = False
            await self._start_or_stop_polling(supervisor)

    async def _start_or_stop_polling(self, supervisor: Supervisor) -> None:
        try:
            wanted_now = _is_polled(configuration.load(self._config_path))
        except configuration.ConfigError as error:
            log.error("reload refused, the old configuration stays", extra={"error": str(error)})
            return
        name, args = POLL
        runs = [child for child in self._children if child.name == name]
        if wanted_now and not runs:
            child = Child(name, (*args, *self._path), free_ports(1)[0])
            self._children.append(child)
            supervisor.add(child)
        elif runs and not wanted_now:
            self._children.remove(runs[0])
            await supervisor.remove(name, CHILDREN_STOP)

    async def _stop(self) -> None:
        if self._reloading is not None:
            await asyncio.gather(self._reloading, return_exceptions=True)
        if self._supervisor is not None:
            await self._supervisor.stop(CHILDREN_STOP)
        servers = [server.stop() for server in (self._postgres, self._rabbitmq) if server is not None]
        await asyncio.gather(*servers, return_exceptions=True)
        (self._state / "endpoints.json").unlink(missing_ok=True)


def _is_polled(config: Config) -> bool:
    return any(getattr(one, "poll", None) for accounts in config.accounts.values() for one in accounts.values())


def _url(host: str, port: int) -> str:
    """The base URL by which this machine reaches what listens there ("::" listens on IPv4 too)."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"


def run_up(config_path: Path | None, state: Path | None, port: int | None, say: Say) -> None:
    """Blocks until stopped. Raises StartError and ConfigError, one line each."""
    asyncio.run(Up(config_path, state_folder(state), port, say).run())
