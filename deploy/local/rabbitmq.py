"""A private RabbitMQ node, started from the installed server: own name, ports, cookie, data folder and epmd.

The package's real script is run rather than its wrapper, which would change the user; so the node runs as the user of
this process, root or not. It has its own epmd on its own port: no other is touched, and none is left running.
"""

import asyncio
import base64
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import msgspec
import orjson
from aio_pika.exceptions import AMQPError

from broker.connection import connect
from deploy.local.children import (
    StartError,
    end,
    end_stale,
    exited,
    free_ports,
    private_folder,
    spawn,
    tail,
    write_private,
)

SCRIPTS = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
)
"""Paths of the script that the wrappers of Debian, Ubuntu and Homebrew call."""
USER = "crossdock"
START_TIMEOUT = 90.0
REFUSED = {
    "'": "an apostrophe",
    '"': "a quotation mark",
    "`": "a backtick",
    "$": "a dollar sign",
    "\\": "a backslash",
    "\n": "a line break",
    "#": "a number sign",
    "[": "a bracket",
    "]": "a bracket",
    "{": "a brace",
    "}": "a brace",
}
"""Characters of a path that RabbitMQ does not read as themselves, and their names.

To measure the free space it passes the path to a shell, in quotes; in its configuration file, # begins a comment; and
it looks for the segments of streams by a pattern of names, so that it does not find them when it starts again.
"""
STOP_TIMEOUT = 9.0
SCHEDULERS = max(1, (os.cpu_count() or 1) // 2)
HEAPS = "+MHsbct 2048 +hmbs 262144"
"""Process heaps of up to 2 MB share memory segments: from 0.5 MB on, the default, each heap has its own segment, which
is mapped and unmapped whenever the heap grows or is collected. A process also collects its garbage only when it refers
to 2 MB of binaries (2 ** 18 words), and not to 0.4 MB, which is some 200 messages; newer versions set this for quorum
queues themselves (rabbitmq/ra#444). Both together save more than a quarter of what RabbitMQ 3.10 on Erlang/OTP 25 does
for an event."""
ERLANG = f"+sbwt none +sbwtdcpu none +sbwtdio none +S {SCHEDULERS}:{SCHEDULERS} {HEAPS}"
"""Schedulers that wait without spinning, so that an idle node uses almost no CPU; half as many as there are cores,
because the cores are shared with PostgreSQL, our processes and their clients."""


def script() -> str:
    """Return the server's start script (`rabbitmqctl` is beside it): CROSSDOCK_RABBITMQ_SERVER or the installed one.

    Raises StartError if RabbitMQ is not installed.
    """
    for candidate in (os.environ.get("CROSSDOCK_RABBITMQ_SERVER"), *SCRIPTS, shutil.which("rabbitmq-server")):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise StartError("RabbitMQ is not installed: run `make setup`, or set AMQP_URL to a broker of yours")


def folder_problem(folder: Path) -> str | None:
    """Return why a node can't run in a folder with this path, or None."""
    path = str(folder.resolve())
    for character, name in REFUSED.items():
        if character in path:
            return f"RabbitMQ can't run in a folder with {name} in its path: {path!r}"
    if any("\ud800" <= character <= "\udfff" for character in path):
        return f"RabbitMQ can't run in a folder whose path is not UTF-8: {path!r}"
    return None


def epmd() -> str:
    """Return the path of Erlang's port mapper. Raises StartError."""
    path = shutil.which("epmd") or next(map(str, Path("/usr/lib/erlang").glob("erts-*/bin/epmd")), None)
    if path is None:
        raise StartError("Erlang's epmd is not on PATH: reinstall RabbitMQ, or set AMQP_URL to a broker of yours")
    return path


def start_epmd(port: int, env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a private port mapper. Raises StartError."""
    return spawn([epmd(), "-port", str(port), "-address", "127.0.0.1"], env=env, log=log, death=signal.SIGKILL)


def node_name(folder: Path) -> str:
    """Return the node's name, which depends on the folder only, because its data belongs to the name."""
    return f"crossdock-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}@localhost"


class Cluster(msgspec.Struct, frozen=True):
    """The settings that the nodes of one cluster share; they find each other when they first start."""

    nodes: tuple[str, ...]
    home: Path
    """Existing folder for the cookie."""
    mapper_port: int
    """Port of an epmd that outlives every node."""


class RabbitMQ:
    """One node in one folder; its data survives a restart."""

    def __init__(
        self,
        folder: Path,
        *,
        management: bool = False,
        cluster: Cluster | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`management`: enable the HTTP API (the tests create virtual hosts with it), at `management_url`.

        Like `url`, that URL includes the login. `settings`: more lines of the node's configuration file.
        """
        self._folder = folder.resolve()
        self._management = management
        self._cluster = cluster
        self._settings = dict(settings)
        self._log = self._folder / "rabbitmq.log"
        self._server: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node = node_name(folder)
        self._ports: list[int] = []
        self.url = ""
        self.management_url = ""

    @property
    def pid(self) -> int:
        """PID of the Erlang virtual machine while it runs, else 0."""
        with suppress(OSError, ValueError):
            return int((self._folder / "node.pid").read_text())
        return self._server.pid if self._server else 0

    @property
    def username(self) -> str:
        """User name of the login in `url` and `management_url`."""
        return USER

    @property
    def logs(self) -> Path:
        """Folder of the node's own logs."""
        return self._folder / "log"

    @property
    def alive(self) -> bool:
        return self._server is not None and self._server.poll() is None

    async def start(self) -> None:
        """Start, and return when it accepts connections. Raises StartError."""
        command = script()
        private_folder(self._folder)
        for name in ("data", "log", "home"):
            (self._folder / name).mkdir(exist_ok=True)
        self._end_leftover()
        password = self._password()
        self._ports = self._ports or free_ports(4)
        amqp, _, mapper_port, web = self._ports
        self._configure(amqp, web, password)
        if self._cluster is None:
            self._epmd = start_epmd(mapper_port, self._environment(), self._log)
        self._server = spawn([command], env=self._environment(), log=self._log, death=signal.SIGTERM)
        self.url = f"amqp://{USER}:{password}@127.0.0.1:{amqp}/"
        self.management_url = f"http://{USER}:{password}@127.0.0.1:{web}" if self._management else ""
        await self._ready(amqp)
        if self._had_guest.exists():
            await self.control("delete_user", "guest")
            self._had_guest.unlink()

    async def control(self, *words: str) -> None:
        """Run `rabbitmqctl WORDS` on this node. Raises StartError with its output."""
        tool = Path(script()).with_name("rabbitmqctl")
        command = spawn([str(tool), "-n", self._node, *words], env=self._environment(), log=self._log)
        if not await exited(command, START_TIMEOUT) or command.returncode:
            await end(command, signal.SIGTERM, 1)
            raise StartError(f"rabbitmqctl {words[0]} failed, see {self._log}: {tail(self._log)}")

    async def restart(self) -> None:
        """Restart it after it died, with the same data on the same ports. Raises StartError."""
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """Stop cleanly, then kill what is left of it, and end its epmd."""
        if self._server is not None:
            pid = self.pid
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)
            await end(self._server, signal.SIGTERM, STOP_TIMEOUT)
        if self._epmd is not None:
            await end(self._epmd, signal.SIGTERM, 2)

    def _environment(self) -> dict[str, str]:
        _, distribution, mapper_port, _ = self._ports
        cluster = self._cluster
        return {
            "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
            "LANG": "C.UTF-8",
            "HOME": str(self._home),
            "ERL_EPMD_PORT": str(cluster.mapper_port if cluster else mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "none"),
            "RABBITMQ_PID_FILE": str(self._folder / "node.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{ERLANG} -kernel inet_dist_use_interface {{127,0,0,1}}",
        }

    @property
    def _home(self) -> Path:
        return self._cluster.home if self._cluster else self._folder / "home"

    @property
    def _had_guest(self) -> Path:
        """File that marks data of an earlier release, where the login was guest, until that user is deleted."""
        return self._folder / "had-guest"

    def _password(self) -> str:
        """Return the password of our user, generated at the first start. The nodes of a cluster share it."""
        file = self._home / "password"
        if not file.exists():
            if any((self._folder / "data").iterdir()):
                self._had_guest.touch()
            fresh = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
            write_private(fresh, secrets.token_hex(16).encode())
            with suppress(FileExistsError):  # another node of the cluster was faster
                os.link(fresh, file)
            fresh.unlink()
        return file.read_text()

    def _definitions(self, password: str) -> bytes:
        """Return the definitions that the node loads at each start: our user, with the hash of its password."""
        salt = secrets.token_bytes(4)
        digest = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
        user = {"name": USER, "password_hash": digest, "hashing_algorithm": "rabbit_password_hashing_sha256"}
        rights = {"user": USER, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        users = [{**user, "tags": "administrator"}]
        return orjson.dumps({"vhosts": [{"name": "/"}], "users": users, "permissions": [rights]})

    def _configure(self, amqp: int, web: int, password: str) -> None:
        definitions = self._folder / "definitions.json"
        write_private(definitions, self._definitions(password))
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{amqp}",
            f"load_definitions = {definitions}",
            "log.file.level = warning",
            "log.console = false",
            "disk_free_limit.absolute = 50MB",
            "vm_memory_high_watermark.relative = 0.4",
        ]
        if self._management:
            lines += ["management.tcp.ip = 127.0.0.1", f"management.tcp.port = {web}"]
        if self._cluster:
            # A node in the minority side of a partition pauses instead of continuing by itself.
            lines += ["cluster_partition_handling = pause_minority"]
            lines += ["cluster_formation.peer_discovery_backend = classic_config"]
            lines += [f"cluster_formation.classic_config.nodes.{n} = {x}" for n, x in enumerate(self._cluster.nodes, 1)]
        lines += [f"{name} = {value}" for name, value in self._settings.items()]
        (self._folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        plugins = "[rabbitmq_management]." if self._management else "[]."
        (self._folder / "enabled_plugins").write_text(f"{plugins}\n")

    def _end_leftover(self) -> None:
        with suppress(OSError, ValueError):
            end_stale(int((self._folder / "node.pid").read_text()), self._node, signal.SIGTERM, STOP_TIMEOUT)
        (self._folder / "node.pid").unlink(missing_ok=True)

    async def _ready(self, port: int) -> None:
        assert self._server is not None
        until = time.monotonic() + START_TIMEOUT
        while True:
            if self._server.poll() is not None:
                hint = "" if str(self._folder).isascii() else "3.10 needs a folder whose path is Latin-1; "
                raise StartError(f"RabbitMQ did not start, {hint}see {self._log}: {tail(self._log)}")
            try:
                async with asyncio.timeout(5):
                    # A bare connection comes first, because the library logs each failed attempt at length.
                    _, probe = await asyncio.open_connection("127.0.0.1", port)
                    probe.close()
                    connection = await connect(self.url)
                    await connection.close()
                return
            except (OSError, TimeoutError, AMQPError):
                if time.monotonic() > until:
                    raise StartError(f"RabbitMQ was not ready in {START_TIMEOUT:.0f} s, see {self._log}") from None
                await asyncio.sleep(0.1)
