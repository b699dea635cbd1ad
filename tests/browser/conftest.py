"""One Chromium and one console for all tests of a process, on a database that is filled once."""

import asyncio
import fcntl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext

from ingress.console.app import ConsoleApp
from tests.support import browser, console, hostile, seeding
from tests.support.browser import Site
from tests.support.receiver import VAULT
from tests.support.seeding import Seeds
from tests.support.tools import MissingToolError


@pytest_asyncio.fixture(autouse=True)
async def _alone(testrun_uid: str) -> AsyncIterator[None]:
    """Let one process at a time use Chromium: several at once leave the other tests too little of two cores."""
    with (Path(tempfile.gettempdir()) / f"crossdock-browser-{testrun_uid}").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield


@pytest_asyncio.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    try:
        async with browser.chromium() as launched:
            yield launched
    except MissingToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe."""
    try:
        return browser.axe()
    except MissingToolError as error:
        pytest.skip(str(error))


class Console(msgspec.Struct, frozen=True):
    """A running console on a database that is full of things, also of hostile ones."""

    site: Site
    seeds: Seeds
    hostile: Seeds
    anonymous: BrowserContext
    """A window in which nobody has logged in."""

    def window(self, path: str) -> BrowserContext | None:
        """Return the window in which a page is shown: the form to log in is shown to nobody else."""
        return self.anonymous if path == "/console/login" else None


@pytest_asyncio.fixture(scope="session")
async def full(chromium: Browser, databases: Any) -> AsyncIterator[Console]:
    database_url = await databases.take()
    settings = console.config()
    settings = msgspec.structs.replace(
        settings, console=msgspec.structs.replace(settings.console, environment=hostile.ENVIRONMENT)
    )
    seeds = await seeding.seed(database_url, settings)
    bad = await hostile.seed(database_url, settings)
    app = ConsoleApp(settings, database_url=database_url, vault=VAULT)
    await app.start()
    try:
        base = f"http://127.0.0.1:{app.port}"
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            await console.Client(session, base).log_in(console.ACT)
            cookies = {cookie.key: cookie.value for cookie in session.cookie_jar}
        anonymous = await Site(chromium, base, {}).window()
        yield Console(Site(chromium, base, cookies), seeds, bad, anonymous)
    finally:
        await app.stop()
        databases.give_back(database_url)
