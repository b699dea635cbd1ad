"""Filters against a plain reading of docs/filters.md, on random filters and events."""

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from schemas import filters
from workers.store.filtering import Selection

PAIRS = 10_000
_encode = msgspec.json.Encoder(decimal_format="number").encode
NAMES = ("a", "b", "c")
TEXTS = ("", "a", "b", "ab", "1")
SCALARS = (None, True, False, -1, 0, 1, 2, Decimal("1.0"), Decimal("0.5"), *TEXTS)
ORDERED = (-1, 0, 1, Decimal("0.5"), Decimal("1.0"), "a", "b")


class Maker:
    """Makes random filters and events, the same for each seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def some(self, make: Callable[[], Any], least: int, most: int) -> list[Any]:
        return [make() for _ in range(self._random.randint(least, most))]

    def name(self) -> str:
        return self._random.choice(NAMES)

    def scalar(self) -> Any:
        return self._random.choice(SCALARS)

    def value(self, depth: int = 0) -> Any:
        kind = self._random.random()
        if depth > 2 or kind < 0.4:
            return self.scalar()
        if kind < 0.7:
            return self.some(lambda: self.value(depth + 1), 0, 3)
        return {self.name(): self.value(depth + 1) for _ in range(self._random.randint(0, 3))}

    def event(self) -> dict[str, Any]:
        return {name: self.value() for name in NAMES if self._random.random() < 0.8}

    def operator(self) -> tuple[str, Any]:
        name = self._random.choice(filters.OPERATORS[:11])
        if name in ("$eq", "$neq"):
            return name, self.value(1)
        if name in ("$in", "$nin"):
            constants: Any = self.some(self.scalar, 1, 3)
            return name, self._random.choice((self._random.choice(TEXTS), constants))
        if name == "$exist":
            return name, self._random.random() < 0.5
        if name in ("$startsWith", "$endsWith"):
            texts = self.some(lambda: self._random.choice(TEXTS), 1, 2)
            return name, self._random.choice((texts, texts[0]))
        return name, self._random.choice(ORDERED)

    def entry(self, depth: int) -> tuple[str, Any]:
        kind = self._random.random()
        if kind < 0.35:
            return self.operator()
        if kind < 0.5 and depth < 4:
            return self._random.choice(("$or", "$and")), self.some(lambda: self.part(depth + 1), 1, 3)
        if kind < 0.6 and depth < 4:
            return "$not", self.part(depth + 1)
        return self.name(), self.part(depth + 1)

    def part(self, depth: int) -> Any:
        kind = self._random.random()
        if depth > 3 or kind < 0.35:
            return self.scalar()
        if kind < 0.45:
            return self.some(lambda: self.part(depth + 1), 1, 2)
        return self.filter(depth + 1)

    def filter(self, depth: int = 0) -> dict[str, Any]:
        return dict(self.some(lambda: self.entry(depth), 1, 2))


ABSENT = object()


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(equal(*pair) for pair in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return set(left) == set(right) and all(equal(left[name], right[name]) for name in left)
    return type(left).__name__.replace("Decimal", "int") == type(right).__name__.replace("Decimal", "int") and bool(
        left == right
    )


def elements(value: Any) -> list[Any]:
    """The value itself, or all that an array holds at any depth."""
    if not isinstance(value, list):
        return [value]
    return [inner for element in value for inner in elements(element)]


def ordered(name: str, value: Any, constant: Any) -> bool:
    if isinstance(value, bool) or value is None or isinstance(value, dict):
        return False
    if isinstance(value, str) is not isinstance(constant, str):
        return False
    return bool(
        {"$gt": value > constant, "$gte": value >= constant, "$lt": value < constant, "$lte": value <= constant}[name]
    )


def operator_holds(name: str, constant: Any, value: Any) -> bool:
    """Whether an operator that is about single elements holds for one of them."""
    if value is ABSENT:
        return False
    if name == "$eq":
        return equal(value, constant)
    if name == "$in":
        return any(equal(value, element) for element in constant)
    if name in ("$startsWith", "$endsWith"):
        affixes = constant if isinstance(constant, list) else [constant]
        at = str.startswith if name == "$startsWith" else str.endswith
        return isinstance(value, str) and any(at(value, affix) for affix in affixes)
    return ordered(name, value, constant)


def whole_holds(name: str, constant: Any, value: Any) -> bool | None:
    """Whether an operator about the whole value holds; None for an operator that is about single elements."""
    if name == "$exist":
        return (value is not ABSENT) is constant
    if name == "$not":
        return not part_holds(constant, value)
    if name == "$neq":
        return value is not ABSENT and not part_holds({"$eq": constant}, value)
    if name == "$nin":
        return value is not ABSENT and not part_holds({"$in": constant}, value)
    if name == "$eq" and isinstance(constant, list | dict):
        return value is not ABSENT and (
            equal(value, constant) or (isinstance(value, list) and any(equal(element, constant) for element in value))
        )
    if name == "$in" and isinstance(constant, str):
        if isinstance(value, list):
            return constant in [element for element in value if isinstance(element, str)]
        return isinstance(value, str) and constant in value
    return None


def entry_holds(name: str, constant: Any, value: Any) -> bool:
    """Whether an entry of an object holds for a value other than an array."""
    if name == "$or":
        return any(part_holds(part, value) for part in constant)
    if name == "$and":
        return all(part_holds(part, value) for part in constant)
    if name.startswith("$"):
        return operator_holds(name, constant, value)
    field = value.get(name, ABSENT) if isinstance(value, dict) else ABSENT
    return part_holds(constant, field)


def part_holds(part: Any, value: Any) -> bool:
    """Whether a part of a filter holds for a value."""
    if isinstance(part, list):
        return isinstance(value, list) and all(any(part_holds(inner, element) for element in value) for inner in part)
    if not isinstance(part, dict):
        return any(equal(element, part) for element in elements(value) if element is not ABSENT)
    entries = []
    for name, constant in part.items():
        holds = whole_holds(name, constant, value)
        if holds is False:
            return False
        if holds is None:
            entries.append((name, constant))
    if not entries:
        return True
    return any(all(entry_holds(name, constant, element) for name, constant in entries) for element in elements(value))


class Shown:
    """An event whose fields are those of a dict."""

    def __init__(self, event: dict[str, Any]) -> None:
        self._event = event

    def view(self, *, with_data: bool) -> dict[str, object]:
        return self._event


def test_a_filter_means_what_the_documentation_says() -> None:
    matching = 0
    for seed in range(PAIRS):
        maker = Maker(seed)
        written, event = maker.filter(), maker.event()
        compiled, expected = filters.parse(written), part_holds(written, event)
        assert compiled.matches(event) is expected, (seed, written, event)
        assert (compiled.why_not(event) is None) is expected, (seed, written, event)
        matching += expected
    assert matching > PAIRS / 8, matching


def test_many_filters_together_decide_as_each_alone() -> None:
    """The index by values finds every filter that matches."""
    for seed in range(PAIRS // 10):
        maker = Maker(seed)
        texts: list[str | None] = [_encode(maker.filter()).decode() for _ in range(8)]
        rows: Any = [{"number": number, "subscriber": "boards"} for number in range(len(texts))]
        event = maker.event()
        selected = {row["number"] for row in Selection(texts).matching(Shown(event), rows)}
        alone = {number for number, text in enumerate(texts) if filters.from_json(text or "").matches(event)}
        assert selected == alone, (seed, texts, event)
