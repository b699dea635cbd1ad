"""Runs Chromium, and opens pages of the console in it. What a page does that it should not is collected meanwhile."""

import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, async_playwright

from tests.support import node
from tests.support.tools import MissingToolError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE, NARROW = 1280, 360
"""Widths of a window in pixels; the narrow one is a telephone's."""
HEIGHT = 900
TIMEOUT_MS = 30_000.0
"""Maximum time of one step of a page; generous, for shared machines."""
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
"""WCAG 2.2, levels A and AA, by axe's tags."""
LISTEN = """
window.violations = [];
addEventListener('securitypolicyviolation', (event) =>
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""
"""Collects what the policy of the page's content forbids, from the page's first moment on."""

Scheme = Literal["light", "dark"]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run Chromium. Raises MissingToolError."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise MissingToolError(f"no `{NAMES[0]}` on PATH: `.ci/run` installs it")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


def axe() -> str:
    """Return the source of axe. Raises MissingToolError."""
    return (Path(node.packages()) / "node_modules/axe-core/axe.min.js").read_text()


class Opened:
    """A page in a tab of its own, and what it has done so far."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self._base = base
        self.requests: list[Request] = []
        self.dialogs: list[str] = []
        self._messages: list[str] = []
        page.on("request", lambda request: self.requests.append(request))
        page.on("console", self._note)
        page.on("pageerror", lambda error: self._messages.append(f"uncaught {error}"))
        page.on("dialog", self._dismiss)

    async def go(self, path: str) -> None:
        """Open a page of the console, and wait until all that it needs is loaded."""
        answer = await self.page.goto(self._base + path, wait_until="load")
        assert answer is not None
        assert answer.status == 200, f"{path} is answered with {answer.status}"

    def forget(self) -> None:
        """Forget what was done so far."""
        self.requests.clear()
        self.dialogs.clear()
        self._messages.clear()

    async def misdeeds(self, *, runs_scripts: bool = True) -> list[str]:
        """Return what the page did that no page may do: forbidden content, errors, foreign requests, dialogs.

        Without scripts nothing listens for violations, but Chromium still logs each as an error.
        """
        foreign = [request.url[:200] for request in self.requests if not request.url.startswith(self._base)]
        violations = await self.page.evaluate("window.violations") if runs_scripts else []
        return [
            *[f"violates its content security policy: {text}" for text in violations],
            *[f"logs an error: {text}" for text in self._messages],
            *[f"asks a third party: {url}" for url in foreign],
            *[f"shows a dialog: {text}" for text in self.dialogs],
        ]

    async def sizes(self) -> tuple[int, int]:
        """Return the bytes of the page and those of all its assets, as they were sent."""
        page = assets = 0
        for request in self.requests:
            size = (await request.sizes())["responseBodySize"]
            if "/static/" in request.url:
                assets += size
            else:
                page += size
        return page, assets

    async def audit(self, source: str, *, only: Sequence[str] = ()) -> list[str]:
        """Return what keeps people from using the page, according to axe, whose `source` is as from `axe()`.

        `only`: the names of rules; all of WCAG 2.2 A and AA without it.
        """
        rules: Mapping[str, Any] = {"target-size": {"enabled": True}}
        run = {"type": "rule", "values": list(only)} if only else {"type": "tag", "values": RULES}
        options: dict[str, Any] = {"runOnly": run, "resultTypes": ["violations"]}
        if not only:
            options["rules"] = rules
        if not await self.page.evaluate("() => 'axe' in window"):
            await self.page.evaluate(source + "\n;undefined")
        result = await self.page.evaluate(f"() => axe.run(document, {json.dumps(options)})")
        return [
            f"axe {violation['id']}: {node['html'][:160]} ({' '.join(node['failureSummary'].split())[:240]})"
            for violation in result["violations"]
            for node in violation["nodes"][:3]
        ]

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._messages.append(message.text[:300])

    async def _dismiss(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        await dialog.dismiss()


class Site:
    """A console, and windows of a browser in which an operator has logged in."""

    def __init__(self, browser: Browser, base: str, cookies: Mapping[str, str]) -> None:
        self.base = base
        self._browser = browser
        self._cookies = cookies
        """Cookies by their names."""
        self._usual: BrowserContext | None = None

    async def window(self, **more: Any) -> BrowserContext:
        """Return a browser of its own with the operator's cookies. `more`: as for Playwright's `new_context`."""
        size = {"width": WIDE, "height": HEIGHT}
        context = await self._browser.new_context(**{"viewport": size, **more})
        context.set_default_timeout(TIMEOUT_MS)
        await context.add_cookies([{"name": n, "value": v, "url": self.base} for n, v in self._cookies.items()])
        await context.add_init_script(LISTEN)
        return context

    @asynccontextmanager
    async def opened(self, path: str, window: BrowserContext | None = None) -> AsyncIterator[Opened]:
        """Open a page in a tab of its own, in the window that most tests share or in another one."""
        if window is None:
            window = self._usual = self._usual or await self.window()
        page = await window.new_page()
        try:
            opened = Opened(page, self.base)
            await opened.go(path)
            yield opened
        finally:
            await page.close()
