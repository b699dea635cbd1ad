"""Certificates, handshakes, and servers that do not use TLS."""

import asyncio
import ssl
from pathlib import Path

import pytest

from tests.unit.deliver.servers import REQUEST, SUCCESS, Names, certificate, hanging, raw, saying, sender
from workers.deliver.attempt import connector

OK = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
PLAIN = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The context of a server whose certificate, for 127.0.0.1, is trusted during the test."""
    server, public = certificate(tmp_path)
    monkeypatch.setattr(connector, "tls", lambda: ssl.create_default_context(cafile=public))
    return server


async def test_an_untrusted_certificate_is_a_tls_error(tmp_path: Path) -> None:
    tls, _ = certificate(tmp_path)
    async with raw(OK, tls=tls) as server, sender() as client:
        answer = await client.send(server.url("/?token=s3cret", "https"), REQUEST, success=SUCCESS)
        assert (answer.outcome, answer.status_code) == ("tls", None)
        assert answer.error == "the certificate is not accepted: self-signed certificate"
        assert not server.requests


async def test_a_trusted_certificate_is_accepted_and_the_connection_kept(trusted: ssl.SSLContext) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readexactly(len(REQUEST.body))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await reader.readuntil(b"\r\n\r\n")

    async with raw(talk, tls=trusted) as server, sender(allow_http=False) as client:
        for _ in range(2):
            answer = await client.send(server.url(scheme="https"), REQUEST, success=SUCCESS)
            assert (answer.outcome, answer.response) == ("delivered", b"ok")
        assert server.connections == 1
        await client.close()


async def test_a_certificate_for_another_name_is_a_tls_error(trusted: ssl.SSLContext) -> None:
    async with raw(OK, tls=trusted) as server, sender(look_up=Names(["127.0.0.1"])) as client:
        answer = await client.send(f"https://other.example:{server.port}/", REQUEST, success=SUCCESS)
        assert answer.outcome == "tls"
        assert "not valid for 'other.example'" in (answer.error or "")


async def test_an_old_protocol_is_a_tls_error(trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    monkeypatch.setattr(connector, "tls", lambda: context)
    trusted.maximum_version = ssl.TLSVersion.TLSv1_2
    async with raw(OK, tls=trusted) as server, sender() as client:
        answer = await client.send(server.url(scheme="https"), REQUEST, success=SUCCESS)
        assert answer.outcome == "tls"


async def test_a_server_that_requires_a_client_certificate_is_a_tls_error(trusted: ssl.SSLContext) -> None:
    trusted.verify_mode = ssl.CERT_REQUIRED
    trusted.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 would tell only after the handshake
    async with raw(OK, tls=trusted) as server, sender() as client:
        answer = await client.send(server.url(scheme="https"), REQUEST, success=SUCCESS)
        assert answer.outcome == "tls"


@pytest.mark.parametrize("greeting", [PLAIN, b"SSH-2.0-OpenSSH_9.2\r\n", b"220 mail.example ESMTP\r\n"])
async def test_plain_text_where_tls_was_expected_is_a_tls_error(greeting: bytes) -> None:
    async with raw(saying(greeting), listens=False) as server, sender() as client:
        answer = await client.send(server.url(scheme="https"), REQUEST, success=SUCCESS)
        assert (answer.outcome, answer.error) == ("tls", "the server does not speak TLS at this port")


async def test_a_handshake_that_hangs_is_a_timeout() -> None:
    async with raw(hanging, listens=False) as server, sender(timeout=0.3) as client:
        answer = await client.send(server.url(scheme="https"), REQUEST, success=SUCCESS)
        assert answer.outcome == "timeout"


async def test_a_handshake_that_breaks_off_is_a_tls_error() -> None:
    async with raw(saying(b""), listens=False) as server, sender() as client:
        answer = await client.send(server.url(scheme="https"), REQUEST, success=SUCCESS)
        assert (answer.outcome, answer.status_code) == ("tls", None)
