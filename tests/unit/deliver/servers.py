"""Small servers on 127.0.0.1 with responses that tests choose, and names with addresses that tests choose."""

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from schemas.destinations.guard import Guard
from schemas.outbound import Request
from workers.deliver.attempt.resolver import Info, Lookup
from workers.deliver.attempt.sender import Sender

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SUCCESS = range(200, 300)
REQUEST = Request(body=b'{"a": 1}', headers={"Content-Type": "application/json"})


class Raw:
    """The port of a raw server, the number of connections to it, and the requests that it received."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.requests: list[bytes] = []

    def url(self, path: str = "/hook", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"


@asynccontextmanager
async def raw(talk: Talk, *, tls: ssl.SSLContext | None = None, listens: bool = True) -> AsyncIterator[Raw]:
    """Run a server that reads a request, if `listens` is true, calls `talk` and closes the connection."""
    server = Raw()
    talks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            if listens:
                server.requests.append(await reader.readuntil(b"\r\n\r\n"))
            await talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        talks.add(task)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await asyncio.gather(*talks)
        await listening.wait_closed()


def saying(answer: bytes) -> Talk:
    """Return a handler that sends `answer` and closes the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return talk


def http_response(status: str, *headers: str, body: bytes = b"") -> bytes:
    """Return an HTTP/1.1 response with its Content-Length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send no response; end when the client closes the connection."""
    while await reader.read(65536):
        pass


@asynccontextmanager
async def sender(
    *,
    allow_networks: Sequence[str] = ("127.0.0.0/8",),
    allow_http: bool = True,
    timeout: float = 10,
    look_up: Lookup = socket.getaddrinfo,
) -> AsyncIterator[Sender]:
    """Start a sender that may call this machine."""
    client = Sender(Guard(allow_networks, allow_http), timeout, look_up=look_up)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


class Names:
    """Replaces `socket.getaddrinfo`: returns the next of `answers` for each look-up; the last one repeats."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.hosts: list[str] = []
        self._answers = list(answers)

    def __call__(self, host: str, port: int, *_: object) -> list[Info]:
        self.hosts.append(host)
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a server's context with a new self-signed certificate for 127.0.0.1, and the file of the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    issued = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(issued.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(public, private)
    return context, public
