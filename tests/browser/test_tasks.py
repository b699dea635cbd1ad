"""A person's tasks in the fewest clicks, with a browser that runs scripts and with one that does not."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from playwright.async_api import Browser

from ingress.console import links
from ingress.console.routes import ROUTES
from tests.browser.addresses import EXAMPLES, PAGES
from tests.support import console, seeding
from tests.support.browser import Site
from tests.support.many import ended, event, finished, pending
from tests.support.pipeline import until
from tests.support.receiver import subscribe
from tests.support.storing import unreadable
from tests.support.walking import Walk
from workers.store import isolate

FAILED = 30
TYPE = "channelape.receipt_confirmation"
CAUSE = "not JSON: trailing characters (byte 7)"
MOST_CLICKS = 4
SCRIPTS = pytest.mark.parametrize("runs_scripts", [True, False], ids=["scripts", "no scripts"])
BUTTONS = "main form[method=post] button:not([type=button])"
FORMS = f"""() => [...document.querySelectorAll('{BUTTONS}')].map((button, place) => {{
  const action = button.hasAttribute('formaction') ? button.formAction : button.form.action;
  return [place, new URL(action).pathname];
}})"""
"""Places of buttons that send a form, and where they send it."""
FILL = f"""(place) => {{
  const form = document.querySelectorAll('{BUTTONS}')[place].form;
  const box = form.querySelector('input[type=checkbox]');
  if (box) box.checked = true;
  const from = form.querySelector('[name=from]');
  if (from) from.value = '2026-01-01 00:00';
}}"""
"""Ticks a row and enters a period, where the form of a button takes one."""
NEEDS_A_JOB = {"/console/jobs/{id}/stop", "/console/subscriptions/{id}/replays/stop"}
"""Their buttons are there only while something runs."""


@asynccontextmanager
async def walk(chromium: Browser, client: console.Client, *, runs_scripts: bool) -> AsyncIterator[Walk]:
    """Open the first page in a browser of its own, and log in by the form if it runs no scripts."""
    jar = {cookie.key: cookie.value for cookie in client.session.cookie_jar}
    site = Site(chromium, client.base, jar if runs_scripts else {})
    window = await site.window(java_script_enabled=runs_scripts)
    async with site.opened("/console" if runs_scripts else "/console/login", window) as opened:
        walking = Walk(opened, runs_scripts=runs_scripts)
        if not runs_scripts:
            await walking.page.fill("[name=token]", console.TOKENS[console.ACT])
            await walking.button("Log in")
            walking.clicks = 0
        yield walking
    await window.close()


@SCRIPTS
async def test_what_failed_is_sent_again_once_the_receiver_is_back(
    chromium: Browser, database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection, *, runs_scripts: bool
) -> None:
    await event(pool)
    ours = await subscribe(database, "http://127.0.0.1:9/ours", subscriber="other", enabled=False)
    theirs = await subscribe(database, "http://127.0.0.1:9/theirs", subscriber="boards", enabled=False)
    failed = await ended(database, ours, FAILED, type_=TYPE)
    await ended(database, theirs, 7, type_=TYPE)
    async with (
        console.console(database_url) as client,
        walk(chromium, client, runs_scripts=runs_scripts) as person,
    ):
        await person.link("Subscriptions")
        await person.link("other")
        await person.button("Send all failed ones again")
        assert f"Send {FAILED} deliveries again?" in await person.text()
        assert await pending(database) == set(), "the number is shown before anything is done"
        await person.button(f"Send {FAILED} deliveries at once")
        assert "Started" in await person.text()
        assert person.clicks <= MOST_CLICKS
        assert (await finished(database))["done"] == FAILED
        assert await pending(database) == failed


OPEN_JOBS = "SELECT count(*) FROM crossdock.jobs WHERE finished_at IS NULL AND action LIKE 'quarantine.%'"


@SCRIPTS
async def test_messages_of_one_cause_are_replayed(
    chromium: Browser,
    database_url: str,
    amqp_url: str,
    pool: asyncpg.Pool,
    database: asyncpg.Connection,
    *,
    runs_scripts: bool,
) -> None:
    messages = [unreadable(b'{"a":1}x', CAUSE, seconds=n, number=n + 1) for n in range(12)]
    other = unreadable(b"{", "another", seconds=100, number=100)
    await isolate.write_isolating(pool, [*messages, other])
    async with (
        console.console(database_url, amqp_url=amqp_url) as client,
        walk(chromium, client, runs_scripts=runs_scripts) as person,
    ):
        await person.link("Quarantine")
        await person.link(CAUSE)
        await person.button("Replay all that match")
        assert "Replay 12 messages?" in await person.text()
        assert await database.fetchval("SELECT count(*) FROM crossdock.jobs") == 0
        await person.button("Replay 12 messages")
        assert "Started" in await person.text()
        assert person.clicks <= MOST_CLICKS
        assert (await finished(database))["done"] == 12
    left = await database.fetch("SELECT id FROM crossdock.quarantined WHERE replayed_at IS NULL")
    assert [row["id"] for row in left] == [other.message_id]


async def test_no_action_violates_the_policy_of_content(
    chromium: Browser, database_url: str, amqp_url: str, database: asyncpg.Connection
) -> None:
    """Every button that sends a form is pressed, and pressed again where that asks first."""
    seeds = await seeding.seed(database_url, console.config())
    others = await database.fetch("SELECT id FROM crossdock.subscribed WHERE NOT enabled")
    paths = [address for path in PAGES if path != "/console/login" for address in EXAMPLES[path](seeds)]
    paths += [links.subscription(row["id"]) for row in others]
    sent: set[str] = set()
    problems: list[str] = []
    async with (
        console.console(database_url, amqp_url=amqp_url) as client,
        walk(chromium, client, runs_scripts=True) as person,
    ):
        for path in paths:
            while (chosen := await _next(person, client.base + path, sent)) is not None:
                place, action = chosen
                sent.add(_route(action))
                problems += await _press(person, place, action)
                await _put_back(database)
    assert problems == []
    expected = {route.path for route in ROUTES if route.method == "POST" and route.who == "act"}
    assert expected - sent == NEEDS_A_JOB


async def _put_back(database: asyncpg.Connection) -> None:
    """Let all quarantined messages wait again, once the jobs that replay or discard them have ended."""

    async def have_ended() -> bool:
        return not await database.fetchval(OPEN_JOBS)

    await until(have_ended, what="the jobs of the quarantine have ended")
    await database.execute("UPDATE crossdock.quarantined SET replayed_at = NULL, discarded_at = NULL")


async def _next(person: Walk, url: str, sent: set[str]) -> tuple[int, str] | None:
    """Open a page, and fill in its first form that was not sent yet; return the button's place, and where it leads."""
    await person.page.goto(url)
    for place, action in await person.page.evaluate(FORMS):
        if _route(action) not in sent:
            await person.page.evaluate(FILL, place)
            return place, action
    return None


def _route(path: str) -> str:
    return re.sub(r"/(\d+|[0-9a-f-]{36})(?=/|$)", "/{id}", path)


async def _press(person: Walk, place: int, action: str) -> list[str]:
    buttons = person.page.locator(BUTTONS)
    if action.endswith("/raw"):
        async with person.page.expect_download():
            await buttons.nth(place).click()
        return []
    problems = await person.press(buttons.nth(place))
    if await person.page.locator("main form input[name=job]").count():
        problems += await person.press(buttons.first)
    return [f"{action}: {problem}" for problem in problems]
