"""Runs a console, and visits it as a browser without JavaScript does."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import NamedTuple

import aiohttp
import msgspec

from ingress.console.app import ConsoleApp
from schemas.config import Config, Operator
from tests.support import api
from tests.support.receiver import VAULT

ACT, READ = "anna", "ben"
"""Names of two operators, who are named after their roles' first letters."""
TOKENS = {ACT: "annas-token-for-tests", READ: "bens-token-for-tests"}


def config(**delivery: object) -> Config:
    """Return a configuration with two operators and two subscribers."""
    base = api.config(**delivery)
    operators = {ACT: Operator(token=TOKENS[ACT], role="act"), READ: Operator(token=TOKENS[READ], role="read")}
    return msgspec.structs.replace(
        base,
        api=msgspec.structs.replace(base.api, operator_token=None),
        console=msgspec.structs.replace(base.console, port=0),
        operators=operators,
    )


class Answer(NamedTuple):
    """What the console answered."""

    status: int
    html: str
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """The text of the page, as a person reads it: without tags, with single blanks."""
        parser = _Text()
        parser.feed(self.html)
        return " ".join("".join(parser.parts).split())


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.parts.append(" ")


class Client:
    """Visits the console with the cookies of one browser."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def get(self, path: str, *, headers: Mapping[str, str] = {}) -> Answer:
        """Return a page, without following redirects."""
        async with self.session.get(self.base + path, headers=headers, allow_redirects=False) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)

    async def post(
        self,
        path: str,
        form: Sequence[tuple[str, str]] | Mapping[str, str] = (),
        *,
        headers: Mapping[str, str] = {"Sec-Fetch-Site": "same-origin"},
    ) -> Answer:
        """Send a form as a page of the console does, without following redirects."""
        fields = list(form.items()) if isinstance(form, Mapping) else list(form)
        data = aiohttp.FormData(fields)
        async with self.session.post(self.base + path, data=data, headers=headers, allow_redirects=False) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)

    async def log_in(self, name: str) -> None:
        """Log in as an operator."""
        await self.log_in_with(TOKENS[name])

    async def log_in_with(self, token: str) -> None:
        """Log in with a token."""
        answer = await self.post("/console/login", {"token": token})
        assert answer.status == 303, answer.text


class OwnClient(Client):
    """Visits a console that runs in the test's own process."""

    def __init__(self, session: aiohttp.ClientSession, app: ConsoleApp) -> None:
        super().__init__(session, f"http://127.0.0.1:{app.port}")
        self.app = app


@asynccontextmanager
async def console(
    database_url: str, settings: Config | None = None, *, who: str | None = ACT, amqp_url: str | None = None
) -> AsyncIterator[OwnClient]:
    """Run a console on a free port, and log in as `who`."""
    app = ConsoleApp(settings or config(), database_url=database_url, vault=VAULT, amqp_url=amqp_url)
    await app.start()
    try:
        # The console listens on an address, for which aiohttp keeps no cookies by default.
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            client = OwnClient(session, app)
            if who is not None:
                await client.log_in(who)
            yield client
    finally:
        await app.stop()
