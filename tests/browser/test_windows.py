"""What needs a window of its own: without JavaScript, in another time zone, or beside many tabs."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import NamedTuple

from playwright.async_api import Page

from tests.browser.addresses import EXAMPLES, PAGES
from tests.browser.conftest import Console

TABS = 12
"""Tabs that are open already. A browser keeps six connections to a server, and a stream would occupy one per tab."""
SLOWEST = 1.0
"""Seconds in which one more tab opens."""
ZONES = ("America/Los_Angeles", "Asia/Kolkata")
DATED = ("/console/events", "/console/deliveries", "/console/documents")
CLOCK = re.compile(r"This page is of .*|updated .*|\b\d+(\.\d)? (s|min|h|d)\b")
"""Texts that change with the seconds between two visits."""


class Shown(NamedTuple):
    """What a browser in some time zone shows of a page."""

    source: str
    text: str
    titles: list[str]
    """The titles of all times."""
    rows: int


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


async def test_a_page_is_the_same_in_every_time_zone_and_filters_mean_utc(full: Console) -> None:
    """The reader's own clock is only in the titles of times."""
    shown = {zone: await _shown(full, zone) for zone in ZONES}
    west, east = shown.values()
    for path in DATED:
        assert west[path].source == east[path].source, path
        assert west[path].text == east[path].text, path
        assert "on your clock" not in west[path].text, path
        assert west[path].titles != east[path].titles, path
    assert west["an hour ago"].rows == east["an hour ago"].rows > 0
    assert west["in an hour"].rows == east["in an hour"].rows == 0


async def _shown(full: Console, zone: str) -> dict[str, Shown]:
    window = await full.site.window(timezone_id=zone)
    pages = {path: EXAMPLES[path](full.seeds)[0] for path in DATED}
    shown = {}
    for path, address in pages.items():
        async with full.site.opened(address, window) as opened:
            shown[path] = await _read(opened.page)
    for name, hours in (("an hour ago", -1), ("in an hour", 1)):
        async with full.site.opened("/console/deliveries", window) as opened:
            moment = datetime.now(UTC) + timedelta(hours=hours)
            await opened.page.get_by_label("From (UTC)").fill(f"{moment:%Y-%m-%d %H:%M}")
            async with opened.page.expect_navigation():
                await opened.page.get_by_role("button", name="Filter").click()
            shown[name] = await _read(opened.page)
    await window.close()
    return shown


async def _read(page: Page) -> Shown:
    source = await page.evaluate("fetch(location.href).then((answer) => answer.text())")
    titles = await page.eval_on_selector_all("time[datetime]", "(times) => times.map((time) => time.title)")
    rows = await page.locator("#live tbody tr").count()
    return Shown(CLOCK.sub("", source), CLOCK.sub("", await page.inner_text("main")), titles, rows)


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
        await opened.page.locator("main a[href*='/console/documents']", has_text=full.seeds.transfer).first.click()
        await opened.page.wait_for_url("**/console/documents**")
        assert "422" in await opened.page.inner_text("main")
