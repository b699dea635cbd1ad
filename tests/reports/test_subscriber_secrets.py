"""A subscriber's own secret, as it was copied: what cannot be seen in it is refused in every dialect."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from schemas.dialects import dialects
from tests.support.api import Client, api

URL = "https://a.example/hook"
SPOILT = [
    "s3cret\n",
    "s3\r\ncret",
    "s3\tcret",
    "\u200bs3cret",
    "s3cret\u00a0",
    " s3cret",
    "s3cret ",
    "s3\x7fcret",
    "\x1f",
]


@pytest_asyncio.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with api(database_url) as running:
        yield running


@pytest.mark.parametrize("name", [name for name, dialect in dialects().items() if dialect.make_secret is not None])
async def test_invisible_characters_in_secrets_are_refused(client: Client, name: str) -> None:
    for secret in SPOILT:
        body = {"url": URL, "dialect": name, "secret": secret}
        status, answer, _ = await client.ask("POST", "/v1/subscriptions", body)
        assert (status, answer["errors"][0]["field"]) == (400, "secret"), secret
        assert "s3cret" not in str(answer)


@pytest.mark.parametrize("name", ["channelape", "apicbase"])
@pytest.mark.parametrize("secret", ["KBc+fU/5==", "two words", "s3cret&=#@%", "Zoë", '"quoted"', "x"])
async def test_visible_characters_in_secrets_are_accepted(client: Client, name: str, secret: str) -> None:
    created = await client.subscribe(URL, dialect=name, secret=secret)
    assert created["secret"] == secret
