"""Walks through the console in a real browser as a person does: clicks are counted, and every page is watched."""

from playwright.async_api import Locator, Page

from tests.support.browser import Opened


class Walk:
    """A person in one tab. `clicks` are those so far; a page that does what no page may do ends the walk."""

    def __init__(self, opened: Opened, *, runs_scripts: bool = True) -> None:
        self._opened = opened
        self._runs_scripts = runs_scripts
        self.clicks = 0

    @property
    def page(self) -> Page:
        """The page that is shown in the tab."""
        return self._opened.page

    async def click(self, what: Locator) -> None:
        """Click on something that leads to another page, and look at how that page behaves."""
        self.clicks += 1
        async with self.page.expect_navigation(wait_until="load"):
            await what.click()
        await self.check()

    async def link(self, name: str) -> None:
        """Click on the first link of the page's content or menu with this text."""
        await self.click(self.page.get_by_role("link", name=name).first)

    async def button(self, name: str) -> None:
        """Click on the first button whose text begins so."""
        await self.click(self.page.locator("main button", has_text=name).first)

    async def press(self, what: Locator) -> list[str]:
        """Send a form; return what the page that answers does and no page may do. The answer may be an error."""
        self._opened.forget()
        async with self.page.expect_navigation(wait_until="load"):
            await what.click()
        misdeeds = await self._opened.misdeeds()
        return [text for text in misdeeds if "the server responded with a status of" not in text]

    async def text(self) -> str:
        """Return the text of the page's content."""
        return await self.page.inner_text("main")

    async def check(self) -> None:
        """Fail if the page does what no page may do."""
        misdeeds = await self._opened.misdeeds(runs_scripts=self._runs_scripts)
        assert not misdeeds, f"{self.page.url[:200]}: {misdeeds}"
