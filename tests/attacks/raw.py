"""Sends bytes into a socket as no client library does, and reads what comes back."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from schemas import registry
from schemas.config import Config

PATIENCE = 10.0
"""Seconds after which a connection that should have ended counts as hanging."""


SOON = {"header_timeout": 0.4, "body_timeout": 0.4, "write_timeout": 0.4}
"""Settings of [ingress] with which slow requests time out before the test does."""


def hook(config: Config, platform: str = "channelape") -> str:
    """Return path and query of a platform's first event. If the URL has the credential, a post to it is authentic."""
    event = registry.platforms()[platform].events[0]
    name, account = next(iter(config.accounts[platform].items()))
    signed = registry.platforms()[platform].sign(b"", account)
    query = "&".join(f"{key}={value}" for key, value in signed.query.items())
    return f"/hooks/{platform}/{name}/{event.path}" + (f"?{query}" if query else "")


async def ask(port: int, data: bytes | Iterable[bytes], *, every: float = 0.0) -> bytes:
    """Return all that the server sends until it ends the connection. Raises TimeoutError if it does not.

    `data`: sent at once, or in pieces with `every` seconds between them. The client never ends the connection.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE):
            sending = asyncio.create_task(_send(writer, [data] if isinstance(data, bytes) else data, every))
            answer = bytearray()
            with suppress(ConnectionError):
                while part := await reader.read(65536):
                    answer += part
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            return bytes(answer)
    finally:
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, pieces: Iterable[bytes], every: float) -> None:
    with suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if every:
                await asyncio.sleep(every)


def statuses(answer: bytes) -> list[int]:
    """Return the statuses of the answers on a connection, in order."""
    return [int(part.split(b" ", 2)[1]) for part in answer.split(b"HTTP/1.")[1:]]


def one_by_one(data: bytes) -> list[bytes]:
    """Return its bytes, each by itself."""
    return [data[at : at + 1] for at in range(len(data))]
