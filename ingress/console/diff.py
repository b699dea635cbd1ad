"""What changed between two versions of a document. Pure.

Lists whose elements have an id are compared by it, so that another order is not a change. Of objects without an id,
equal ones belong together wherever they stand. Numbers are compared as they were written.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from typing import Literal

import msgspec

from ingress.console.jsontree import Node, Number, compact, scalar

MAX_BYTES = 1_048_576
"""Largest body that is compared or shown."""
MAX_CHANGES = 200
"""Most changes that are listed."""
LONGEST = 500
"""Characters of a value that are shown."""

Kind = Literal["added", "removed", "changed"]
_MISSING = object()
_NAMES = ("id", "lineid", "lineitemid", "sku", "skunr", "number", "linenumber", "name")
"""Names by which elements are known, the best first; then every other name that ends in `id`."""


class Change(msgspec.Struct, frozen=True):
    """One value that is not the same in both versions."""

    path: str
    """Where it is, such as `lineItems[id 000011].quantity`."""
    kind: Kind
    before: str | None
    after: str | None


class Difference(msgspec.Struct, frozen=True):
    """All changes between two versions."""

    changes: Sequence[Change]
    is_cut: bool
    """Whether there are more than MAX_CHANGES."""


def compare(before: Node, after: Node) -> Difference:
    """Return what changed between two bodies, at most MAX_CHANGES of it."""
    changes = list(islice(Comparison().changes(before, after), MAX_CHANGES + 1))
    return Difference(changes[:MAX_CHANGES], len(changes) > MAX_CHANGES)


class Comparison:
    """A comparison of two trees, which remembers the digests of their parts."""

    def __init__(self) -> None:
        self._digests: dict[int, bytes] = {}

    def changes(self, before: Node, after: Node, path: str = "") -> Iterator[Change]:
        """Yield what changed, in the order of the document."""
        if isinstance(before, dict) and isinstance(after, dict):
            for name in [*before, *(name for name in after if name not in before)]:
                yield from self._member(before.get(name, _MISSING), after.get(name, _MISSING), _joined(path, name))
        elif isinstance(before, list) and isinstance(after, list):
            yield from self._elements(before, after, path)
        elif isinstance(before, dict | list) or isinstance(after, dict | list) or not _same(before, after):
            yield Change(path or "the whole body", "changed", _shown(before), _shown(after))

    def _member(self, before: object, after: object, path: str) -> Iterator[Change]:
        if before is _MISSING:
            yield Change(path, "added", None, _shown(after))  # type: ignore[arg-type]
        elif after is _MISSING:
            yield Change(path, "removed", _shown(before), None)  # type: ignore[arg-type]
        else:
            yield from self.changes(before, after, path)  # type: ignore[arg-type]

    def _elements(self, before: list[Node], after: list[Node], path: str) -> Iterator[Change]:
        name = _key_name(before, after)
        if name is not None:
            yield from self._keyed(before, after, path, name)
            return
        if any(isinstance(element, dict) for element in (*before, *after)):
            before, after = self._unequal(before, after)
        for place, (old, new) in enumerate(zip_longest(before, after, fillvalue=_MISSING), 1):
            yield from self._member(old, new, f"{path}[{place}]")

    def _keyed(self, before: list[Node], after: list[Node], path: str, name: str) -> Iterator[Change]:
        old, new = _by_key(before, name), _by_key(after, name)
        for key in [*old, *(key for key in new if key not in old)]:
            place = f"{path}[{name} {_cut(key[1], 80)}]"
            yield from self._member(old.get(key, _MISSING), new.get(key, _MISSING), place)

    def _unequal(self, before: list[Node], after: list[Node]) -> tuple[list[Node], list[Node]]:
        """Return what is left of two lists without the elements that both have."""
        counts: dict[bytes, int] = defaultdict(int)
        for element in after:
            counts[self._digest(element)] += 1
        left = []
        for element in before:
            if counts[self._digest(element)]:
                counts[self._digest(element)] -= 1
            else:
                left.append(element)
        right = []
        for element in reversed(after):
            if counts[self._digest(element)]:
                counts[self._digest(element)] -= 1
                right.append(element)
        return left, right[::-1]

    def _digest(self, node: Node) -> bytes:
        """Return a digest that is equal for equal trees. Each part is read once, however deep it is."""
        if not isinstance(node, dict | list):
            return hashlib.blake2b(f"{type(node).__name__} {node}".encode("utf-8", "surrogatepass")).digest()
        known = self._digests.get(id(node))
        if known is not None:
            return known
        if isinstance(node, dict):
            parts = sorted(hashlib.blake2b(self._digest(name) + self._digest(node[name])).digest() for name in node)
        else:
            parts = [self._digest(element) for element in node]
            if any(isinstance(element, dict) for element in node):
                parts.sort()  # another order of objects is not a change
        self._digests[id(node)] = digest = hashlib.blake2b(
            type(node).__name__.encode() + b"".join(parts), digest_size=32
        ).digest()
        return digest


def _key_name(before: list[Node], after: list[Node]) -> str | None:
    """Return the name of the member that identifies the elements of both lists, or None."""
    elements = [*before, *after]
    if not elements or not all(isinstance(element, dict) for element in elements):
        return None
    first = elements[0]
    assert isinstance(first, dict)
    ranked = sorted((rank, name) for name in first if (rank := _rank(name)) is not None)
    return next((name for _, name in ranked if _is_unique(before, name) and _is_unique(after, name)), None)


def _rank(name: str) -> int | None:
    plain = name.lstrip("@").replace("_", "").casefold()
    if plain in _NAMES:
        return _NAMES.index(plain)
    return len(_NAMES) if plain.endswith("id") else None


def _is_unique(elements: list[Node], name: str) -> bool:
    values = [element.get(name) for element in elements if isinstance(element, dict)]
    return all(isinstance(value, str) for value in values) and len(_by_key(elements, name)) == len(values)


def _by_key(elements: list[Node], name: str) -> dict[tuple[bool, str], Node]:
    """Return elements by the value that identifies each; the text "11" and the number 11 are not the same."""
    keyed: dict[tuple[bool, str], Node] = {}
    for element in elements:
        assert isinstance(element, dict)
        value = element[name]
        keyed[isinstance(value, Number), str(value)] = element
    return keyed


def _same(before: Node, after: Node) -> bool:
    return type(before) is type(after) and before == after


def _joined(path: str, name: str) -> str:
    plain = name if name.isprintable() else scalar(name)
    return f"{path}.{_cut(plain, 80)}" if path else _cut(plain, 80)


def _shown(node: Node) -> str:
    return _cut(compact(node), LONGEST)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
