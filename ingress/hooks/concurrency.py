"""Limits on the requests that one account may have under way, so that its flood does not delay the others.

They are off until configured. A request counts from when it is known to be the account's until it is answered, so a
sender that cannot sign uses up none of them.
"""

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Maximum numbers of requests under way; 0 means no limit."""

    account: int = 0
    """Of any one account."""
    shared: int = 0
    """Of all accounts together. Once it is reached, only accounts that have less than an equal share are served."""


class ConcurrencyLimiter:
    """One account's requests under way."""

    __slots__ = ("_all", "count")

    def __init__(self, limiters: "ConcurrencyLimiters") -> None:
        self._all = limiters
        self.count = 0

    def acquire(self) -> str | None:
        """Count one more request, which must `release` later; or return why it may not begin, as a metric's label."""
        everyone = self._all
        limits = everyone.limits
        if limits.account and self.count >= limits.account:
            return "account over its limit"
        if limits.shared and everyone.count >= limits.shared:
            accounts = everyone.accounts if self.count else everyone.accounts + 1
            if self.count >= max(1, limits.shared // accounts):
                return "account over its share"
        if not self.count:
            everyone.accounts += 1
        self.count += 1
        everyone.count += 1
        return None

    def release(self) -> None:
        """Stop counting a request that is answered."""
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
        """Accounts that have requests under way."""
        self._by_account: dict[tuple[str, str], ConcurrencyLimiter] = {}

    def of(self, platform: str, account: str) -> ConcurrencyLimiter:
        """Return the account's limiter, which is always the same one."""
        return self._by_account.setdefault((platform, account), ConcurrencyLimiter(self))
