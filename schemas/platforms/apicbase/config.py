"""`[accounts.apicbase.<name>]`."""

from functools import cached_property
from typing import Annotated, TypeAlias

import msgspec

from schemas.config import Column, Seconds, Secret

Secrets: TypeAlias = Annotated[list[Secret], msgspec.Meta(min_length=1)]


class Poll(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pull mode: OAuth2 client credentials of the supplier, and how often to ask."""

    client_id: str
    client_secret: Secret
    base_url: str = "https://api.apicbase.com"
    interval: Seconds = 60.0


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One customer base whose orders come to us."""

    secrets: Secrets
    """Client secrets; any that fits is accepted: rotation without a gap."""
    customers: Column | None = None
    """Known supplier_customer_numbers; None: every one is accepted."""
    articles: Column | None = None
    """Known supplier_article_numbers; None: every one is accepted."""
    verdict_timeout: Seconds = 5.0
    poll: Poll | None = None

    def __post_init__(self) -> None:
        for name, known in (("customers", self.customers), ("articles", self.articles)):
            if known is not None and not known:
                raise ValueError(f"`{name}` is empty, so every order would be refused; leave it out to accept all")

    @cached_property
    def known_customers(self) -> frozenset[str] | None:
        return None if self.customers is None else frozenset(self.customers)

    @cached_property
    def known_articles(self) -> frozenset[str] | None:
        return None if self.articles is None else frozenset(self.articles)
