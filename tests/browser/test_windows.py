"""What needs a window of its own: without JavaScript, in another time zone, or beside many tabs."""

import asyncio
import re
from time import monotonic

import pytest

from tests.browser.addresses import EXAMPLES, PAGES
from tests.browser.conftest import Console

TABS = 12
"""Tabs that are open already. A browser keeps six connections to a server, and a stream would occupy one per tab."""
SLOWEST = 1.0
"""Seconds in which one more tab opens."""
CLOCK = re.compile(r"This page is of .*|updated .*|\b\d+(\.\d)? (s|min|h|d)\b")
"""Texts that change with the seconds between two visits."""


async def test_every_page_can_be_read_without_javascript(full: Console) -> None:
    window = await full.site.window(java_script_enabled=False)
    problems = []
    for path in PAGES:
        if path == "/console/login":
            continue
        address = EXAMPLES[path](full.seeds)[0]
        async with full.site.opened(address, window) as opened:
            text = await opened.page.inner_text("main")
            if len(text) < 40 or await opened.page.locator("main button:not(form button)").count():
                problems.append(f"{address}: {text[:200]!r}")
    await window.close()
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("path", ["/console/events", "/console/deliveries", "/console/documents"])
async def test_a_page_says_the_same_in_every_time_zone(full: Console, path: str) -> None:
    texts = []
    for zone in ("America/Los_Angeles", "Asia/Kolkata"):
        window = await full.site.window(timezone_id=zone)
        async with full.site.opened(EXAMPLES[path](full.seeds)[0], window) as opened:
            texts.append(CLOCK.sub("", await opened.page.inner_text("main")))
        await window.close()
    assert texts[0] == texts[1]


async def test_one_more_tab_opens_beside_many(full: Console) -> None:
    window = await full.site.window()
    pages = [await window.new_page() for _ in range(TABS)]
    await asyncio.gather(*[page.goto(full.site.base + "/console") for page in pages])
    page = await window.new_page()
    start = monotonic()
    await page.goto(full.site.base + "/console", wait_until="domcontentloaded")
    seconds = monotonic() - start
    await window.close()
    assert seconds < SLOWEST


async def test_why_a_subscriber_lacks_an_order_takes_two_pages(full: Console) -> None:
    async with full.site.opened("/console") as opened:
        await opened.page.fill("#q", full.seeds.transfer)
        await opened.page.keyboard.press("Enter")
        await opened.page.wait_for_url("**/console/find**")
        await opened.page.locator("main a", has_text=full.seeds.transfer).first.click()
        await opened.page.wait_for_url("**/console/documents**")
        assert "422" in await opened.page.inner_text("main")
