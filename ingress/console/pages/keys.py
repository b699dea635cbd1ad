"""The page that lists the keys."""

from collections.abc import Sequence

import msgspec
from aiohttp import web

from ingress.console.render import SECTIONS
from ingress.console.route import page
from ingress.console.visit import Page, Visit


class KeysView(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that `console.js` listens to."""

    keys: Sequence[tuple[str, str]]
    """Keys, one after the other, and what they do."""


async def show(visit: Visit) -> Page | web.StreamResponse:
    """Show what each key does."""
    sections = [(f"g {section.key}", f"Go to {section.name}") for section in SECTIONS]
    keys = [
        ("/", "Go to the search box"),
        ("?", "This page"),
        ("j", "Next row of a list"),
        ("k", "Previous row of a list"),
        ("Enter", "Open the row"),
        ("Escape", "Leave the row or the field, so that the list is refreshed again"),
        *sections,
    ]
    return Page(template="keys.html", view=KeysView(keys=keys), title="Keys")


ROUTES = (page("/console/keys", show),)
