"""The reasons why an order is refused at once, while the customer is still looking.

Apicbase shows the customer an error for any answer that isn't 2xx, most usefully for a 4xx, and never sends the order
again by itself.
"""

from msgspec import Struct

from schemas import lenient
from schemas.platforms.apicbase import identity, wire
from schemas.platforms.apicbase.config import Account

LISTED = 10
"""Maximum article numbers named in one refusal; a customer needs some of them, not a wall of them."""


class Refusal(Struct, frozen=True):
    """Why an order is not accepted."""

    detail: str
    """A text for the customer: what is missing, and which number is unknown."""

    def __str__(self) -> str:
        return self.detail


def refusal(order: wire.PurchaseOrder | bytes, account: Account) -> Refusal | None:
    """Return why `account` refuses an order; None if it accepts it.

    Raises UnreadableError if `order` is bytes that are not an order.
    """
    if isinstance(order, bytes):
        order = identity.decode(identity.EVENT, order)
        lenient.key(order.id, "id")  # an order without identity is answered 400, not 2xx and quarantined
    packages = identity.packages(order)
    reasons = (_customer(order, account), _lines(packages), _quantities(packages), _articles(packages, account))
    given = [reason for reason in reasons if reason]
    return Refusal(" ".join(given)) if given else None


def _customer(order: wire.PurchaseOrder, account: Account) -> str | None:
    if account.known_customers is None:
        return None
    number = lenient.identifier(order.supplier_customer_number)
    if number is None:
        return "The order has no customer number."
    if number in account.known_customers:
        return None
    return f'The customer number "{number}" is not known to the supplier.'


def _lines(packages: list[wire.Package]) -> str | None:
    return None if packages else "The order has no lines, so there is nothing to deliver."


def _quantities(packages: list[wire.Package]) -> str | None:
    """Return what is wrong with the quantities: each line needs a number that is not negative."""
    missing: list[str] = []
    wrong: list[str] = []
    negative: list[str] = []
    for position, package in enumerate(packages, 1):
        quantity = lenient.number(package.quantity_ordered)
        if quantity is None:
            sent = lenient.unreadable(quantity=(package.quantity_ordered, quantity))
            if sent is None:
                missing.append(str(position))
            else:
                wrong.append(f'{position} ("{sent["quantity"]}")')
        elif quantity < 0:
            negative.append(f"{position} ({lenient.name(package.quantity_ordered)})")
    reasons: list[str] = []
    if missing:
        reasons.append(f"No quantity in line {_some(missing)}.")
    if wrong:
        reasons.append(f"The quantity is not a number in line {_some(wrong)}.")
    if negative:
        reasons.append(f"The quantity is negative in line {_some(negative)}.")
    return " ".join(reasons) or None


def _articles(packages: list[wire.Package], account: Account) -> str | None:
    unnumbered: list[str] = []
    unknown: dict[str, None] = {}  # each once, in the order of the lines
    for position, package in enumerate(packages, 1):
        number = identity.article(package)
        if number is None:
            unnumbered.append(str(position))
        elif account.known_articles is not None and number not in account.known_articles:
            unknown[f'"{number}"'] = None
    reasons: list[str] = []
    if unknown:
        subject = "article number {} is" if len(unknown) == 1 else "article numbers {} are"
        reasons.append(f"The {subject.format(_some(list(unknown)))} not known to the supplier.")
    if unnumbered:
        reasons.append(f"No article number in line {_some(unnumbered)}.")
    return " ".join(reasons) or None


def _some(words: list[str]) -> str:
    more = len(words) - LISTED
    return ", ".join(words[:LISTED]) + (f" and {more} more" if more > 0 else "")
