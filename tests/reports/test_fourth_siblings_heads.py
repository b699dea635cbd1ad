"""Siblings of reported requests: heads that are larger than is read, and blanks after the size of a chunk."""

import asyncio
import json

import pytest

from tests.reports.test_door import BODY, config, path, request
from tests.support import pipeline


async def answered(port: int, data: bytes) -> tuple[int, bytes]:
    """Return the status and the body of the answer, after which the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        body = await reader.readexactly(int(length.partition(b":")[2]))
        return int(head.split()[1]), body
    finally:
        writer.close()


async def test_a_head_that_is_too_large_is_answered_with_its_limit(amqp_url: str) -> None:
    """A token of 12 kB, or 150 headers, was "not a request that can be read", with a status of 400."""
    long = "x" * 8200
    many = "".join(f"X-H{number}: 1\r\n" for number in range(150))
    async with pipeline.door(amqp_url, config()) as door:
        port = door.app.port
        for target, headers in (
            (path(door), f"X-Token: {long}\r\n"),
            (path(door), f"{long}: x\r\n"),
            (path(door) + f"&x={long}", ""),
            (path(door), many),
        ):
            status, body = await answered(port, request(target, headers))
            problem = json.loads(body)
            assert (status, problem["status"]) == (431, 431)
            assert "8,190 bytes" in problem["detail"]
            assert "128 header lines" in problem["detail"]
            assert "xxx" not in body.decode()
        headers = f"X-Token: {'x' * 8000}\r\n" + "".join(f"X-H{number}: 1\r\n" for number in range(100))
        assert (await answered(port, request(path(door), headers)))[0] == 200
        assert (await answered(port, b"GET / HTTP/1.1\r\nX Y: 1\r\n\r\n"))[0] == 400


@pytest.mark.parametrize(
    ("size", "status"), [("{:x}", 200), ("000{:X}", 200), ("{:x};name=value", 200), ("{:x} ", 400)]
)
async def test_blanks_after_the_size_of_a_chunk_are_refused(amqp_url: str, size: str, status: int) -> None:
    """RFC 9112 allows blanks after it to be read, and the parser refuses them (README, Limits)."""
    async with pipeline.door(amqp_url, config()) as door:
        head = f"POST {path(door)} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        chunks = size.format(len(BODY)).encode() + b"\r\n" + BODY + b"\r\n0\r\n\r\n"
        assert (await answered(door.app.port, head + chunks))[0] == status
