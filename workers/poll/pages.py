"""Pages of an API as text: which bytes each of their results has, also where one of them is not valid JSON. Pure.

One order that strict JSON refuses must not keep the others of its page from being read.
"""

import json
import re
from typing import Any

import msgspec


class PageContent(msgspec.Struct, frozen=True):
    """The content of one page."""

    results: list[msgspec.Raw]
    """Each result in UTF-8, as it stands on the page; one that is not valid JSON as well."""
    next: str | None = None


class _Page(msgspec.Struct, frozen=True):
    """A page as it is sent: an empty one may have null as results, and the last one may have false as `next`."""

    results: list[msgspec.Raw] | None
    next: str | bool | None = None


EFFORT = 20
"""Maximum characters that are read to find the end of results that are not valid JSON, in lengths of the page."""

_result_decoder = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)
"""Accepts `NaN`, control characters in strings, lone surrogates, and integers of any length."""
_page_decoder = json.JSONDecoder(strict=False)
_RESULTS = re.compile(r'"results"\s*+:\s*+\[')
_BLANKS = re.compile(r"[ \t\r\n]*+")
_BETWEEN = re.compile(r",[ \t\r\n]*+(?=\{)")
_MEMBERS = frozenset({"order_number", "ordered_on", "status", "packages"})
"""Members of a result: each has at least one of them besides its `id`. A page and objects inside a result have none."""


def split(body: bytes) -> PageContent:
    """Return the results of a page in UTF-8. Raises ValueError if it is not a page, or is cut off."""
    try:
        sent = msgspec.json.decode(body, type=_Page)
        return PageContent(sent.results or [], _following(sent.next))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    page = body.decode(errors="surrogateescape")
    start = _RESULTS.search(page)
    if start is None:
        members = _object(page)
        if members.get("results", ...) is not None:
            raise ValueError("no results")
        return PageContent([], _following(members.get("next")))
    members = _object(page[: start.end() - 1] + "null}")
    results, end = _elements(page, start.end())
    members |= _object('{"results": null' + page[end:])
    following = _following(members.get("next"))
    return PageContent([msgspec.Raw(result.encode(errors="surrogateescape")) for result in results], following)


def _following(sent: object) -> str | None:
    """Return the URL of the next page; None for null, false and an empty text. Raises ValueError for anything else."""
    if sent is None or sent is False:
        return None
    if not isinstance(sent, str):
        raise ValueError("`next` is not text")
    return sent.strip() or None


def _object(literal: str) -> dict[str, Any]:
    value = _page_decoder.decode(literal)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _elements(page: str, position: int) -> tuple[list[str], int]:
    """Return the results from `position` on, and the position behind the end of their list."""
    results: list[str] = []
    search = _Search(page)
    position = _skip(page, position)
    while page[position : position + 1] != "]" or results:
        _, end = search.value(position)
        if end is None:
            end = search.end_of_broken(position)
        result = page[position:end].rstrip(" \t\r\n")
        if result.strip(" \t\r\n,"):  # nothing is between two commas, or between the last one and the bracket
            results.append(result)
        end = _skip(page, end)
        if page[end : end + 1] == "]":
            return results, end + 1
        position = _skip(page, end + 1)
    return results, position + 1


def _skip(page: str, position: int) -> int:
    blanks = _BLANKS.match(page, position)
    return position if blanks is None else blanks.end()


class _Search:
    """The search for the results of one page, whose effort is bounded."""

    def __init__(self, page: str) -> None:
        self._page = page
        self._left = EFFORT * len(page)
        """Number of characters that may still be read."""

    def value(self, position: int) -> tuple[Any, int | None]:
        """Return the value at `position`, and where it ends; None if no comma and no end of a list follows it.

        Raises ValueError if the page ends behind the value: then it is cut off there.
        """
        try:
            value, end = _result_decoder.raw_decode(self._page, position)
        except json.JSONDecodeError as error:
            self._left -= max(0, error.pos - position)
            return None, None
        except RecursionError:
            return None, None
        self._left -= end - position
        after = _skip(self._page, end)
        if after == len(self._page):
            raise ValueError("the list of results does not end")
        return value, end if self._page[after : after + 1] in (",", "]") else None

    def end_of_broken(self, position: int) -> int:
        """Return where the result at `position` ends, which is not valid JSON.

        It ends before the next result, or else before the bracket behind which the rest of the page is valid. Raises
        ValueError if there is neither.
        """
        for between in _BETWEEN.finditer(self._page, position):
            value, end = self.value(between.end())
            if end is not None and "id" in value and not _MEMBERS.isdisjoint(value):
                return between.start()
            if self._left < 0:
                raise ValueError("the results are too broken to be told apart")
        end = len(self._page)
        while self._left >= 0 and (end := self._page.rfind("]", position, end)) >= 0:
            self._left -= len(self._page) - end
            try:
                members = _object('{"results": null' + self._page[end + 1 :])
            except (ValueError, RecursionError):
                continue
            if "id" not in members and _MEMBERS.isdisjoint(members):
                return end
        raise ValueError("the list of results does not end")
