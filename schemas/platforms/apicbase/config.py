"""`[accounts.apicbase.<name>]`."""

import math
from functools import cached_property
from urllib.parse import urlsplit

import msgspec

from schemas import lenient
from schemas.config import Column, Credential, Seconds, Secret


class Poll(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pull mode: OAuth2 client credentials of the supplier, and how often to ask."""

    client_id: Credential
    client_secret: Secret
    base_url: str = "https://api.apicbase.com"
    interval: Seconds = 60.0

    def __post_init__(self) -> None:
        if not self.client_id:
            raise ValueError("`client_id` is empty")
        if not math.isfinite(self.interval):
            raise ValueError("`interval` is not a number of seconds")
        _check(self.base_url)


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One customer base whose orders come to us."""

    secrets: list[Secret] = []
    """Client secrets; any that fits is accepted: rotation without a gap. None where orders are only fetched: then no
    webhook is taken."""
    customers: Column | None = None
    """Known supplier_customer_numbers; None: every one is accepted."""
    articles: Column | None = None
    """Known supplier_article_numbers; None: every one is accepted."""
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
    """As they are compared with what orders say: without blanks at their ends."""
    return frozenset(found for one in listed if (found := lenient.identifier(one)) is not None)


def _check(url: str) -> None:
    """Raises ValueError that doesn't repeat the URL: what it shouldn't hold may be a password."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that don't close
        fits = False
    if not fits or any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError("`base_url` is not an absolute http or https URL; write it like https://api.apicbase.com")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError("`base_url` has only scheme, host, port and path; the credentials are settings of their own")
