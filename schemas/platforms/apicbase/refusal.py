"""Orders that can't be fulfilled, told to the customer at once.

Apicbase shows the customer an error for any answer that isn't 2xx, most usefully a 4xx, and never sends the order again
by itself. So what we know to be wrong is said while the customer is still looking.
"""

from msgspec import Struct

from schemas import loose
from schemas.platforms.apicbase import identity, wire
from schemas.platforms.apicbase.config import Account

LISTED = 10
"""Article numbers named in one refusal; a customer needs some of them, not a wall of them."""


class Refusal(Struct, frozen=True):
    """Why an order is not accepted."""

    detail: str
    """For the customer: which number isn't known."""

    def __str__(self) -> str:
        return self.detail


def refusal(order: wire.PurchaseOrder | bytes, account: Account) -> Refusal | None:
    """Why `account` doesn't take this order, or None. Raises Unreadable if `order` is bytes that are no order."""
    if isinstance(order, bytes):
        order = identity.decode(identity.EVENT, order)
        loose.key(order.id, "id")  # an order that can't be told from others is no order: 400, not 2xx and quarantine
    reasons = [reason for reason in (_customer(order, account), _articles(order, account)) if reason]
    return Refusal(" ".join(reasons)) if reasons else None


def _customer(order: wire.PurchaseOrder, account: Account) -> str | None:
    if account.known_customers is None:
        return None
    number = loose.text(order.supplier_customer_number)
    if number is None:
        return "The order has no customer number."
    if number in account.known_customers:
        return None
    return f'The customer number "{number}" is not known to the supplier.'


def _articles(order: wire.PurchaseOrder, account: Account) -> str | None:
    if account.known_articles is None:
        return None
    unnumbered: list[str] = []
    unknown: dict[str, None] = {}  # each once, in the order of the lines
    for position, package in enumerate(identity.packages(order), 1):
        number = identity.article(package)
        if number is None:
            unnumbered.append(str(position))
        elif number not in account.known_articles:
            unknown[f'"{number}"'] = None
    said: list[str] = []
    if unknown:
        subject = "article number {} is" if len(unknown) == 1 else "article numbers {} are"
        said.append(f"The {subject.format(_some(list(unknown)))} not known to the supplier.")
    if unnumbered:
        said.append(f"No article number in line {_some(unnumbered)}.")
    return " ".join(said) or None


def _some(words: list[str]) -> str:
    more = len(words) - LISTED
    return ", ".join(words[:LISTED]) + (f" and {more} more" if more > 0 else "")
