"""Addresses of every page of the console, with what is stored in the tests' database."""

from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from ingress.console.routes import ROUTES
from tests.support.seeding import Seeds

Addresses = Callable[[Seeds], Sequence[str]]


def _document(seeds: Seeds) -> str:
    names = {"platform": "channelape", "account": "rothys", "type": "channelape.stock_transfer_order"}
    return "/console/documents?" + urlencode({**names, "key": seeds.transfer})


EXAMPLES: dict[str, Addresses] = {
    "/console/login": lambda seeds: ["/console/login"],
    "/console": lambda seeds: ["/console"],
}
"""By the path of the route: the first address is the page as most people see it."""
PAGES = sorted({route.path for route in ROUTES if route.method == "GET"})
