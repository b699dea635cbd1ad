"""Bulkheads: what one account may have under way, so that its flood is not the others' too. Off until configured.

Counted from when a request is known to be the account's until it is answered: who can't sign uses up nobody's share.
"""

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """0: no limit."""

    account: int = 0
    """Of any one account."""
    shared: int = 0
    """Of all together. Up to this whoever comes is served; beyond it, who has less than an equal share is."""


class ConcurrencyLimiter:
    """One account's requests under way."""

    __slots__ = ("_all", "count")

    def __init__(self, limiters: "ConcurrencyLimiters") -> None:
        self._all = limiters
        self.count = 0

    def enter(self) -> str | None:
        """Takes one more, or says why not: a metric's label. Who was let in must `leave`."""
        found = self._all
        limits = found.limits
        if limits.account and self.count >= limits.account:
            return "account over its limit"
        if limits.shared and found.count >= limits.shared:
            accounts = found.accounts if self.count else found.accounts + 1
            if self.count >= max(1, limits.shared // accounts):
                return "account over its share"
        if not self.count:
            found.accounts += 1
        self.count += 1
        found.count += 1
        return None

    def leave(self) -> None:
        """It is answered."""
        self.count -= 1
        self._all.count -= 1
        if not self.count:
            self._all.accounts -= 1


class ConcurrencyLimiters:
    """All accounts of one process; they outlive a reload, as requests under way do."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.count = 0
        """Requests under way."""
        self.accounts = 0
        """That have any."""
        self._by_account: dict[tuple[str, str], ConcurrencyLimiter] = {}

    def of(self, platform: str, account: str) -> ConcurrencyLimiter:
        """The account's, always the same."""
        return self._by_account.setdefault((platform, account), ConcurrencyLimiter(self))
