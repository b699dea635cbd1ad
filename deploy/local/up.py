"""`crossdock up`: runs the whole pipeline on this machine, on real servers, until a signal stops it."""

import asyncio
import fcntl
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from deploy import config as configuration
from deploy import sections
from deploy import state as states
from deploy.local import logins
from deploy.local.children import StartError, free_ports, private_folder, write_private
from deploy.local.declare import declare
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ, folder_problem
from deploy.local.supervisor import Child, Supervisor
from ingress.console import session
from schemas import serverurls
from schemas.config import Config
from schemas.topology import topology
from storage import dsn
from storage.migrate import migrate
from storage.vault import Vault

log = logging.getLogger("crossdock.up")

READY_TIMEOUT = 60.0
"""Seconds within which all processes must be ready."""
CHILDREN_STOP_TIMEOUT = 7.0
"""Seconds for all processes to drain; the servers have the rest of fifteen."""
SERVER_POLL = 0.25
"""Seconds between two checks whether the servers are alive."""

PROCESSES = (
    ("store", ("worker", "store")),
    ("route", ("worker", "route")),
    ("deliver", ("worker", "deliver")),
)
"""Name and command of each worker."""
POLL = ("poll", ("worker", "poll"))
"""The poll worker, which runs only if an account is polled."""

Write = Callable[[str], None]
"""Prints a line for the operator."""


class Up:
    """One run of `crossdock up` on one state folder."""

    def __init__(self, config_path: Path | None, state: Path, port: int | None, write: Write) -> None:
        self._config_path = configuration.find(config_path)
        self._config = configuration.load(config_path)
        self._secret_variables = configuration.secret_variables(config_path)
        self._state = state.resolve()
        self._port = port
        self._write_line = write
        self._postgres: Postgres | None = None
        self._rabbitmq: RabbitMQ | None = None
        self._supervisor: Supervisor | None = None
        try:
            self._amqp_url = serverurls.checked("AMQP_URL", os.environ.get("AMQP_URL", ""))
            self._database_url = dsn.clean(serverurls.checked("DATABASE_URL", os.environ.get("DATABASE_URL", "")))
        except ValueError as error:
            raise StartError(str(error)) from None
        if not self._amqp_url and (problem := folder_problem(self._state)) is not None:
            raise StartError(f"{problem}; choose another with --state, or set AMQP_URL")
        self._logins: dict[str, str] = {}
        """DATABASE_URL by the kind of process, if the server is ours."""
        self._children: list[Child] = []
        self._new_broker = False
        self._is_ready = False
        self._reloading: asyncio.Task[None] | None = None
        self._reload_again = False
        self._ingress_port = 0
        self._api_port = 0
        self._console_port = 0

    async def run(self) -> None:
        """Run everything until SIGTERM or SIGINT. Raises StartError and ConfigError."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, ended.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        lock = self._lock()
        try:
            starting = loop.create_task(self._start())
            stopping = loop.create_task(ended.wait())
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
            with suppress(asyncio.CancelledError):
                await starting
            await self._watch(stopping)
        finally:
            await self._stop()
            os.close(lock)

    def _lock(self) -> int:
        if self._state.name == states.DEFAULT or not self._state.exists():
            private_folder(self._state)  # an existing folder is not ours: only what we create in it is closed to others
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
        self._write_line(f"state   {self._state}")
        await asyncio.gather(*servers)
        if self._postgres:
            self._database_url = self._postgres.url
        if self._rabbitmq:
            self._amqp_url = self._rabbitmq.url
        await migrate(self._database_url, report=self._write_line)
        if self._postgres:
            self._logins = await logins.create(self._database_url)
        else:
            for note in await logins.notes(self._database_url):
                self._write_line(note)
        expected = topology(self._config.events, shards=self._config.store.shards)
        shards = self._config.store.shards
        for note in await declare(
            self._amqp_url, expected, shards, self._state, self._rabbitmq, is_new=self._new_broker
        ):
            self._write_line(note)
        self._children = self._plan(self._config)
        self._supervisor = Supervisor(self._children, {}, self._state / "logs", self._write_endpoints)
        self._supervisor.start()
        problems = await self._supervisor.ready(READY_TIMEOUT)
        if problems:
            raise StartError(f"not ready: {'; '.join(problems)}; see {self._state / 'logs'}")
        self._is_ready = True
        self._write_endpoints()
        for child in self._children:
            self._write_line(f"{child.name:<10} {child.admin}")
        self._write_line(f"webhooks   {self._ingress_url()}/hooks/…")
        self._write_line(f"API        {self._api_url()}/v1/…")
        self._write_line(f"console    {self._console_url()}/console/login?once={self._login_link()}")
        self._write_line("ready")

    def _plan(self, config: Config) -> list[Child]:
        count = config.ingress.processes
        port = config.ingress.port if self._port is None else self._port
        workers = (*PROCESSES, POLL) if _is_polled(config) else PROCESSES
        ports = free_ports(count + len(workers) + 5)
        self._ingress_port = port or ports[-1]
        # If a port is given, another `up` probably runs on this machine with the usual ones: the others use free ports.
        self._api_port = ports[-2] if self._port is not None or not config.api.port else config.api.port
        self._console_port = ports[-3] if self._port is not None or not config.console.port else config.console.port
        path = self._path
        children = [
            Child(
                "ingress" if n == 0 else f"ingress-{n + 1}",
                ("ingress", *path, "--port", str(self._ingress_port), *(("--one-of-many",) if count > 1 else ())),
                ports[n],
                env=self._environment("ingress"),
            )
            for n in range(count)
        ]
        children += [self._worker(name, args, ports[count + n]) for n, (name, args) in enumerate(workers)]
        api = ("api", *path, "--port", str(self._api_port))
        children.append(Child("api", api, ports[count + len(workers)], env=self._environment("api")))
        console = ("console", *path, "--port", str(self._console_port))
        environment = self._environment("console")
        children.append(Child("console", console, ports[count + len(workers) + 1], env=environment))
        return children

    def _worker(self, name: str, args: tuple[str, ...], port: int) -> Child:
        return Child(name, (*args, *self._path), port, env=self._environment(name))

    @property
    def _path(self) -> tuple[str, ...]:
        return ("--config", str(self._config_path)) if self._config_path else ()

    def _environment(self, process: str) -> dict[str, str]:
        """Return the environment of a kind of process, without the secrets of the others."""
        variables = {
            **os.environ,
            "AMQP_URL": self._amqp_url,
            "DATABASE_URL": self._logins.get(process, self._database_url),
            "CROSSDOCK_STATE": str(self._state),
            "CROSSDOCK_ENCRYPTION_KEY": self._encryption_key(),
            "CROSSDOCK_CONSOLE_TOKEN": os.environ.get("CROSSDOCK_CONSOLE_TOKEN") or self._kept(states.TOKEN_FILE),
        }
        return sections.environment(process, variables, self._secret_variables)

    def _encryption_key(self) -> str:
        return os.environ.get("CROSSDOCK_ENCRYPTION_KEY") or self._kept(states.KEY_FILE)

    def _kept(self, name: str) -> str:
        """Return a random text that is kept in the state folder."""
        file = self._state / name
        if not file.exists():
            write_private(file, Vault.generate().encode())
        return file.read_text().strip()

    def _login_link(self) -> str:
        """Return what the link to the console ends in: it logs in the first operator who may act, once."""
        may_log_in = session.operators(self._config, "local")
        names = sorted(may_log_in, key=lambda name: may_log_in[name].role != "act")
        return session.make_link(Vault.from_text(self._encryption_key()), names[0])

    def _ingress_url(self) -> str:
        return _url(self._config.ingress.hosts[0], self._ingress_port)

    def _api_url(self) -> str:
        return _url(self._config.api.host, self._api_port)

    def _console_url(self) -> str:
        return _url(self._config.console.host, self._console_port)

    def _servers(self) -> "dict[str, Postgres | RabbitMQ]":
        """The servers that this `up` has started, by name."""
        servers = {"postgres": self._postgres, "rabbitmq": self._rabbitmq}
        return {name: server for name, server in servers.items() if server is not None}

    def _write_endpoints(self) -> None:
        """Replace endpoints.json as a whole: a reader sees the old file or the new one."""
        if not self._is_ready:
            return  # a process was restarted during the start, and the file means that all of them are ready
        assert self._supervisor is not None
        endpoints = states.Endpoints(
            ingress=self._ingress_url(),
            api=self._api_url(),
            console=self._console_url(),
            amqp=self._amqp_url,
            postgres=self._database_url,
            admin={child.name: child.admin for child in self._children},
            pids=self._supervisor.pids | {name: server.pid for name, server in self._servers().items()},
        )
        fresh = self._state / "endpoints.json.new"
        write_private(fresh, msgspec.json.format(msgspec.json.encode(endpoints)))
        fresh.replace(self._state / "endpoints.json")

    async def _watch(self, stopping: "asyncio.Task[bool]") -> None:
        """Restart servers that die, on their data, until `stopping` is done."""
        while not stopping.done():
            await asyncio.wait((stopping,), timeout=SERVER_POLL)
            for name, server in self._servers().items():
                if not server.alive and not stopping.done():
                    log.warning("server ended, starting it again", extra={"server": name})
                    await server.restart()
                    self._write_endpoints()

    def _reload(self) -> None:
        """Pass SIGHUP on; start or stop the poll worker as the new configuration requires."""
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
            is_polled = _is_polled(configuration.load(self._config_path))
            self._secret_variables = configuration.secret_variables(self._config_path)
        except configuration.ConfigError as error:
            log.error("reload refused, the old configuration stays", extra={"error": str(error)})
            return
        name, args = POLL
        runs = [child for child in self._children if child.name == name]
        if is_polled and not runs:
            child = self._worker(name, args, free_ports(1)[0])
            self._children.append(child)
            supervisor.add(child)
        elif runs and not is_polled:
            self._children.remove(runs[0])
            await supervisor.remove(name, CHILDREN_STOP_TIMEOUT)

    async def _stop(self) -> None:
        if self._reloading is not None:
            await asyncio.gather(self._reloading, return_exceptions=True)
        if self._supervisor is not None:
            await self._supervisor.stop(CHILDREN_STOP_TIMEOUT)
        await asyncio.gather(*(server.stop() for server in self._servers().values()), return_exceptions=True)
        (self._state / "endpoints.json").unlink(missing_ok=True)


def _is_polled(config: Config) -> bool:
    return any(getattr(account, "poll", None) for accounts in config.accounts.values() for account in accounts.values())


def _url(host: str, port: int) -> str:
    """Return the base URL at which this machine reaches a server on a host and port ("::" includes IPv4)."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"


def run_up(config_path: Path | None, state: Path, port: int | None, write: Write) -> None:
    """Run everything until a signal stops it. Raises StartError and ConfigError."""
    asyncio.run(Up(config_path, state, port, write).run())
