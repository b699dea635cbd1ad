"""A page that refreshes itself does not change under its reader. The tests turn the page's clock, and do not wait."""

from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import UUID

import asyncpg
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.support import console
from tests.support.browser import Site
from tests.support.many import ended, event
from tests.support.receiver import subscribe

TYPE = "channelape.receipt_confirmation"
LIST = "/console/deliveries"
STEP_MS = 6_000
"""What the clock is put forward by; after each step, a page that nothing holds asks."""
HELD_STEPS = 5
SCROLLED = 300
LIVE = "document.getElementById('live').innerHTML"
HOLDS = {
    "a field has the focus": (LIST, "document.getElementById('q').focus()", "document.activeElement.blur()"),
    "text is selected": (
        LIST,
        "getSelection().selectAllChildren(document.querySelector('#live tbody tr'))",
        "getSelection().removeAllRanges()",
    ),
    "a row is ticked": (
        LIST,
        "document.querySelector('#live input[type=checkbox]').checked = true",
        "document.querySelector('#live input[type=checkbox]').checked = false",
    ),
    "something is unfolded": (
        "/console/documents/{document}",
        "document.querySelector('#live details:not([data-open])').open = true",
        "document.querySelector('#live details:not([data-open])').open = false",
    ),
    "a dialog is shown": (
        LIST,
        "document.body.append(document.createElement('dialog')); document.querySelector('dialog').showModal()",
        "document.querySelector('dialog').remove(); document.activeElement.blur()",
    ),
    "the tab is hidden": (
        LIST,
        "Object.defineProperty(document, 'hidden', { value: true, configurable: true })",
        "delete document.hidden",
    ),
}
"""The page, what its reader does, and how that ends."""


class Reading(NamedTuple):
    """A console with a list that is longer than a window, and a browser in which somebody has logged in."""

    site: Site
    database: asyncpg.Connection
    subscription: UUID
    document: int

    async def change(self) -> None:
        """Add a row that belongs at the top of the list."""
        await ended(self.database, self.subscription, 1, type_=TYPE)


@pytest_asyncio.fixture
async def reading(
    chromium: Browser, database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> AsyncIterator[Reading]:
    await event(pool)
    subscription = await subscribe(database, "http://127.0.0.1:9/x", subscriber="other", enabled=False)
    await ended(database, subscription, 40, type_=TYPE)
    document = await database.fetchval("SELECT id FROM crossdock.documents")
    async with console.console(database_url) as client:
        jar = {cookie.key: cookie.value for cookie in client.session.cookie_jar}
        yield Reading(Site(chromium, client.base, jar), database, subscription, document)


async def test_a_page_does_not_change_under_a_reader(reading: Reading) -> None:
    window = await reading.site.window()
    for what, (path, begin, end) in HOLDS.items():
        page = await window.new_page()
        await page.clock.install()
        await page.goto(reading.site.base + path.format(document=reading.document))
        requested = _requested(page)
        await page.evaluate(begin)
        before = await page.evaluate(LIVE)
        await reading.change()
        for _ in range(HELD_STEPS):
            await page.clock.fast_forward(STEP_MS)
        assert [url for url in requested if "/static/" not in url] == [], f"asks although {what}"
        assert await page.evaluate(LIVE) == before, f"changes although {what}"
        await page.evaluate(end)
        await _refresh(page)
        await page.close()
    await window.close()


async def test_a_refresh_does_not_scroll_the_page(reading: Reading) -> None:
    window = await reading.site.window()
    page = await window.new_page()
    await page.clock.install()
    await page.goto(reading.site.base + LIST)
    for _ in range(2):
        await page.evaluate(f"scrollTo(0, {SCROLLED})")
        before = await page.evaluate(LIVE)
        await reading.change()
        await _refresh(page)
        await page.wait_for_function(f"(before) => {LIVE} !== before", arg=before, polling=20)
        assert await page.evaluate("scrollY") == SCROLLED
    await window.close()


async def _refresh(page: Page) -> None:
    async with page.expect_response(lambda response: response.request.headers.get("hx-request") == "true"):
        await page.clock.fast_forward(STEP_MS)


def _requested(page: Page) -> list[str]:
    """Return a list to which the URL of every request is added from now on."""
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    return urls
