"""Takes the pictures of the console in docs/images: `python -m tests.browser.pictures`, on servers of its own."""

import asyncio
import tempfile
from pathlib import Path

import aiohttp
import msgspec

from deploy.local.postgres import Postgres
from ingress.console.app import ConsoleApp
from storage import migrate
from tests.browser.addresses import EXAMPLES
from tests.support import browser, console, seeding
from tests.support.browser import Site
from tests.support.receiver import VAULT

FOLDER = Path(__file__).parents[2] / "docs/images"
SHOWN = {
    "now": "/console",
    "transfers": "/console/transfers",
    "document": "/console/documents",
    "deliveries": "/console/deliveries",
}
"""Routes by the names of their pictures."""
SIZE = {"width": 1280, "height": 660}


async def main() -> None:
    """Take every picture in light and in dark."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(Path(folder) / "postgres", durable=False)
        await server.start()
        try:
            await migrate.migrate(server.url)
            await _take(server.url)
        finally:
            await server.stop()


async def _take(database_url: str) -> None:
    settings = console.config()
    settings = msgspec.structs.replace(
        settings, console=msgspec.structs.replace(settings.console, environment="staging")
    )
    seeds = await seeding.seed(database_url, settings)
    app = ConsoleApp(settings, database_url=database_url, vault=VAULT)
    await app.start()
    base = f"http://127.0.0.1:{app.port}"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session, browser.chromium() as run:
        await console.Client(session, base).log_in(console.ACT)
        site = Site(run, base, {cookie.key: cookie.value for cookie in session.cookie_jar})
        for scheme in ("light", "dark"):
            window = await site.window(color_scheme=scheme, viewport=SIZE)
            for name, path in SHOWN.items():
                async with site.opened(EXAMPLES[path](seeds)[0], window) as opened:
                    await opened.page.screenshot(path=FOLDER / f"console-{name}-{scheme}.png")
            await window.close()
    await app.stop()


if __name__ == "__main__":
    asyncio.run(main())
