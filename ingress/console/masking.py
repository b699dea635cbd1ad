"""Hides what names, locates or reaches a person in a body. Pure.

Every platform names the members of its bodies that are personal (`Platform.personal_fields`). A few names are personal
on every platform, and so is every text that looks like an e-mail address.
"""

import re
from collections.abc import Iterable

from ingress.console.jsontree import DOTS, Hidden, Node, compact
from schemas import registry

COMMON = (
    *("email", "emailAddress", "phone", "phoneNumber", "telephone", "mobile", "fax"),
    *("firstName", "lastName", "fullName", "customerName", "contactName", "recipientName"),
    *("address", "address1", "address2", "street", "shippingAddress", "billingAddress", "deliveryAddress"),
)
"""Names of members that are personal on every platform."""
REMEMBERED = 60
"""Number of hidden values that are hidden in other texts as well, the longest."""
SHORTEST = 5
"""Characters of a hidden value that is hidden in other texts as well; shorter ones are parts of other words."""
_WORD = re.compile(r"[^\s<>\"]+")
_AT = re.compile(r"[^@](?:@|&#64;)[^@.]")
_BRACKETS = re.compile(r"\([^()]*\)")
_SIGNS = str.maketrans("", "", "@_- ")


class Mask:
    """Hides the personal values of one platform's bodies, and remembers them."""

    def __init__(self, platform: str) -> None:
        known = registry.platforms().get(platform)
        names: Iterable[str] = (*COMMON, *(known.personal_fields if known is not None else ()))
        self._names = frozenset(map(_plain, names))
        self._texts: set[str] = set()

    def tree(self, node: Node) -> Node:
        """Return a tree in which personal values are hidden, and whatever contains one of them."""
        masked = self._without_fields(node)
        return self._without_texts(masked, self._pattern()) if self._texts else masked

    def _without_fields(self, node: Node) -> Node:
        if isinstance(node, list):
            return [self._without_fields(value) for value in node]
        if isinstance(node, dict):
            is_personal = self._is_field(node)
            return {
                name: self._hidden(value)
                if _plain(name) in self._names or (is_personal and _plain(name) == "value")
                else self._without_fields(value)
                for name, value in node.items()
            }
        return self._hidden(node) if isinstance(node, str) and _without_emails(node) != node else node

    def _without_texts(self, node: Node, pattern: re.Pattern[str]) -> Node:
        """Return a tree without the texts that contain a personal value, such as the title of a card with a name."""
        if isinstance(node, list):
            return [self._without_texts(value, pattern) for value in node]
        if isinstance(node, dict):
            return {name: self._without_texts(value, pattern) for name, value in node.items()}
        return Hidden(compact(node)) if isinstance(node, str) and pattern.search(node) else node

    def text(self, text: str) -> str:
        """Return a text without the values that were hidden, such as the reason of a rule that names a postal code."""
        if self._texts:
            text = self._pattern().sub(DOTS, text)
        return _without_emails(text)

    def reason(self, text: str) -> str:
        """Return the reason of an allocation without the places that it names, which are in brackets."""
        return self.text(_BRACKETS.sub(f"({DOTS})", text))

    def _pattern(self) -> re.Pattern[str]:
        texts = sorted(self._texts, key=len, reverse=True)[:REMEMBERED]
        return re.compile("|".join(map(re.escape, texts)))

    def _is_field(self, node: dict[str, Node]) -> bool:
        """Return whether an object is a field of a list of fields, `{"name": "email", "value": …}`, and personal."""
        return any(
            isinstance(value, str) and _plain(name) == "name" and _plain(value) in self._names
            for name, value in node.items()
        )

    def _hidden(self, node: Node) -> Node:
        """Return a tree all of whose values are hidden; its structure is not."""
        if isinstance(node, list):
            return [self._hidden(value) for value in node]
        if isinstance(node, dict):
            return {name: self._hidden(value) for name, value in node.items()}
        if node is None or node == "":
            return node
        if isinstance(node, str) and len(node.strip()) >= SHORTEST:
            self._texts.add(node.strip())
        return Hidden(compact(node))


def _plain(name: str) -> str:
    return name.translate(_SIGNS).casefold()


def _without_emails(text: str) -> str:
    """Hide every word that looks like an e-mail address, in a time that is proportional to the length of the text."""
    return _WORD.sub(_unless_email, text) if "@" in text or "&#64;" in text else text


def _unless_email(match: re.Match[str]) -> str:
    word = match[0]
    at = _AT.search(word)
    return DOTS if at is not None and "." in word[at.end() : -1] else word
