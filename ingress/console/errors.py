"""What ends a request with a page that says what is wrong, and what to do."""

from collections.abc import Mapping

import msgspec

NOT_VALID = "This request is not valid"


class PageError(Exception):
    """A request that ends with an error page."""

    def __init__(
        self, status: int, title: str, advice: str, *, headers: Mapping[str, str] | None = None, reloads: bool = False
    ) -> None:
        """`title`: what is wrong, as a sentence without a full stop. `advice`: what the operator can do.

        `reloads`: whether the browser loads the page again every few seconds.
        """
        super().__init__(title)
        self.status = status
        self.title = title
        self.advice = advice
        self.headers = dict(headers or {})
        self.reloads = reloads

    @property
    def sentence(self) -> str:
        """What is wrong, for a form that shows it beside what was entered."""
        return self.advice if self.title == NOT_VALID else f"{self.title}. {self.advice}"


class ErrorView(msgspec.Struct, frozen=True):
    """What is wrong, and what to do."""

    status: int
    title: str
    advice: str
    reloads: bool = False


class ForbiddenError(PageError):
    """An operator may not do this; it is recorded as refused."""

    def __init__(self, advice: str) -> None:
        super().__init__(403, "You may look, but not change anything", advice)


def not_found(what: str) -> PageError:
    """Return a 404 for a thing that does not exist, such as `delivery 0190…`."""
    return PageError(
        404,
        f"There is no {what}",
        "It never existed, or it is older than [storage] retention_days. Look for another number in the search box.",
    )


def invalid(advice: str) -> PageError:
    """Return a 400 for a request that no form of ours sends, or for a value that was typed wrongly."""
    return PageError(400, NOT_VALID, advice)
