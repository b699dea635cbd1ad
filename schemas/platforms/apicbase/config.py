"""The settings of `[accounts.apicbase.<name>]`."""

from functools import cached_property

import msgspec

from schemas import lenient
from schemas.config import Column, Credential, Interval, Seconds, Secret, check_base_url


class Poll(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Polling of an account's orders: the supplier's OAuth 2.0 client credentials, and the interval in seconds."""

    client_id: Credential
    client_secret: Secret
    base_url: str = "https://api.apicbase.com"
    interval: Interval = 60.0

    def __post_init__(self) -> None:
        if not self.client_id:
            raise ValueError("`client_id` is empty")
        check_base_url(self.base_url, "base_url", "https://api.apicbase.com")


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One customer base whose orders are received."""

    secrets: list[Secret] = []
    """Client secrets, each of which is accepted, so that they can be rotated without a gap. Empty if orders are only
    polled: then no webhook is accepted."""
    customers: Column | None = None
    """Known supplier_customer_numbers; None: all are accepted."""
    articles: Column | None = None
    """Known supplier_article_numbers; None: all are accepted."""
    verdict_timeout: Seconds = 5.0
    poll: Poll | None = None

    def __post_init__(self) -> None:
        if not self.secrets and self.poll is None:
            raise ValueError("`secrets` is missing: what the customer's webhooks are signed with; or have it polled")
        for name, known in (("customers", self.customers), ("articles", self.articles)):
            if known is not None and not known:
                raise ValueError(f"`{name}` is empty, so every order would be refused; leave it out to accept all")

    @cached_property
    def known_customers(self) -> frozenset[str] | None:
        return None if self.customers is None else _identifiers(self.customers)

    @cached_property
    def known_articles(self) -> frozenset[str] | None:
        return None if self.articles is None else _identifiers(self.articles)


def _identifiers(listed: list[str]) -> frozenset[str]:
    """Return the identifiers as they are compared with those of orders: without surrounding white space."""
    cleaned = (lenient.identifier(text) for text in listed)
    return frozenset(identifier for identifier in cleaned if identifier is not None)
