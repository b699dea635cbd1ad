"""Addresses of every page of the console, with what is stored in the tests' database."""

from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from ingress.console import links
from ingress.console.routes import ROUTES
from tests.support.seeding import Seeds

Addresses = Callable[[Seeds], Sequence[str]]


def _document(seeds: Seeds) -> str:
    names = {"platform": "channelape", "account": "rothys", "type": "channelape.stock_transfer_order"}
    return "/console/documents?" + urlencode({**names, "key": seeds.transfer})


def _find(seeds: Seeds) -> list[str]:
    texts = (seeds.transfer, seeds.sku, "there is nothing like this")
    return [f"/console/find?{urlencode({'q': text})}" for text in texts]


def _list(path: str, *queries: str) -> Addresses:
    """Return a list as it is, and filtered."""
    return lambda seeds: [path, *[f"{path}?{query}" for query in queries]]


EXAMPLES: dict[str, Addresses] = {
    "/console/login": _list("/console/login"),
    "/console": _list("/console"),
    "/console/keys": _list("/console/keys"),
    "/console/find": _find,
    "/console/documents": lambda seeds: [_document(seeds)],
    "/console/documents/{id}": lambda seeds: [f"/console/documents/{number}" for number in seeds.documents.values()],
    "/console/transfers": _list("/console/transfers", "only=late", "account=none"),
    "/console/transfers/{key}": lambda seeds: [links.transfer("rothys", seeds.transfer)],
    "/console/events": _list("/console/events", "account=channelape%2Frothys", "type=none"),
    "/console/quarantine": _list("/console/quarantine", "reason=none"),
    "/console/quarantine/{id}": lambda seeds: [links.quarantined(seeds.quarantined)],
    "/console/deliveries": _list("/console/deliveries", "status=failed", "status=pending", "key=none"),
    "/console/deliveries/{id}": lambda seeds: [links.delivery(seeds.delivery), links.delivery(seeds.pending)],
    "/console/subscriptions": _list("/console/subscriptions"),
    "/console/subscriptions/{id}": lambda seeds: [links.subscription(seeds.subscription)],
    "/console/actions": _list("/console/actions", "operator=none"),
}
"""By the path of the route: the first address is the page as most people see it."""
PAGES = sorted({route.path.replace(":[^/]+", "") for route in ROUTES if route.method == "GET"})
