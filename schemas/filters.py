"""Filters of subscriptions: an object that is matched against a CloudEvent (contract §12, docs/filters.md).

Everything in a filter must hold. `parse` checks a filter once and compiles it; `Filter.matches` is executed for every
event. An absent field is `ABSENT`, which only `$exist: false` and what `$not` turns round hold for. For an array, one
element must hold that part of the filter which is about it, except for what says something about the whole array:
`$exist`, `$not`, `$neq` and `$nin` (no element is equal), and comparisons with another array.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from schemas.filter_conditions import (
    ABSENT,
    Affixed,
    AllOf,
    AnyOf,
    Compared,
    Condition,
    Contains,
    Differs,
    Elements,
    Equal,
    EqualWhole,
    Everything,
    Exists,
    Not,
    OneOf,
    Steps,
    bounded,
    is_number,
    is_scalar,
    scalar_key,
)
from schemas.filter_events import exact_decoder

MAX_BYTES = 8 * 1024
"""Maximum size of a filter as JSON."""
MAX_DEPTH = 20
MAX_CONDITIONS = 100
LONGEST_SHOWN = 200
"""Characters of a value that an explanation shows."""


class FilterError(ValueError):
    """Raised for a filter that is not valid."""

    def __init__(self, path: str, problem: str) -> None:
        """`path`: where in the filter, such as `data.quantity.$gt`; empty for the whole filter."""
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class Reason(msgspec.Struct, frozen=True):
    """The condition that decided that an event does not match."""

    path: str
    """The field, such as `data.lineItems.sku`."""
    condition: object
    """The part of the filter that does not hold for it."""
    value: object
    """What the event has there, shortened; absent if it has nothing."""


class Filter:
    """A filter that was checked and compiled."""

    __slots__ = ("_root", "reads_data")

    def __init__(self, root: Everything) -> None:
        self._root = root
        self.reads_data = bool({"data", "datacontenttype"} & _names(root))
        """Whether anything but the other attributes of an event decides, so that its body must be decoded."""

    def matches(self, event: Mapping[str, object], steps: Steps | None = None) -> bool:
        """Return whether an event matches. Raises TooManyStepsError.

        `steps`: what the filters of one subscriber may take together.
        """
        steps = steps or Steps()
        steps.take(self._root.weight)
        with bounded():
            return self._root.holds(event, steps)

    def why_not(self, event: Mapping[str, object]) -> Reason | None:
        """Return the condition that decided that an event does not match; None if it does. Raises TooManyStepsError."""
        with bounded():
            return _why_not(self._root, event, "", Steps())

    def required(self) -> Iterator[tuple[tuple[str, ...], frozenset[object]]]:
        """Yield fields, each with the keys (`scalar_key`) of the values of which an event must have one there."""
        yield from _required(self._root, ())


def _names(condition: Condition) -> set[str]:
    """Return the names of the fields of the event that a condition on it reads."""
    if isinstance(condition, Everything):
        inner = [*condition.parts, *condition.whole]
        return set(condition.fields).union(*map(_names, inner))
    if isinstance(condition, AnyOf | AllOf | Elements):
        return set[str]().union(*map(_names, condition.conditions))
    if isinstance(condition, Not | Differs):
        return _names(condition.condition)
    return set()


def _required(condition: Condition, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], frozenset[object]]]:
    if isinstance(condition, Equal):
        yield path, frozenset({scalar_key(condition.constant)})
    elif isinstance(condition, OneOf):
        yield path, condition.constants
    elif isinstance(condition, AllOf):
        for part in condition.conditions:
            yield from _required(part, path)
    elif isinstance(condition, Everything):
        for part in condition.parts:
            yield from _required(part, path)
        for name, part in condition.fields.items():
            yield from _required(part, (*path, name))


def _why_not(condition: Condition, value: object, path: str, steps: Steps) -> Reason | None:
    """Return the innermost part that does not hold for a value, with the path to it; None if the condition holds."""
    if condition.holds(value, steps):
        return None
    if isinstance(condition, AllOf):
        reasons = (_why_not(part, value, path, steps) for part in condition.conditions)
        return next(reason for reason in reasons if reason is not None)
    if isinstance(condition, Everything):
        for part in condition.whole:
            if (reason := _why_not(part, value, path, steps)) is not None:
                return reason
        # Of several elements, none is to be blamed more than the others.
        if type(value) is not list:
            for part in condition.parts:
                if (reason := _why_not(part, value, path, steps)) is not None:
                    return reason
            for name, part in condition.fields.items():
                field = value.get(name, ABSENT) if type(value) is dict else ABSENT
                if (reason := _why_not(part, field, f"{path}.{name}" if path else name, steps)) is not None:
                    return reason
    return Reason(path, condition.written, _shown(value))


def _shown(value: object) -> object:
    """Return a value as an explanation shows it."""
    if value is ABSENT:
        return None
    if type(value) in (dict, list):
        return f"{'an array' if type(value) is list else 'an object'} of {len(value)}"  # type: ignore[arg-type]
    if type(value) is str and len(value) > LONGEST_SHOWN:
        return f"{value[:LONGEST_SHOWN]}…"
    if type(value) is Decimal and not value.is_finite():
        return "a number beyond all others"
    return value


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
OPERATORS = (
    "$eq", "$neq", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exist", "$startsWith", "$endsWith", "$or", "$and",
    "$not",
)  # fmt: skip


def parse(written: object) -> Filter:
    """Check and compile a filter as it was decoded from JSON by `decode`. Raises FilterError."""
    if type(written) is not dict:
        raise FilterError("", 'a filter is an object, such as {"data": {"locationId": "819"}}')
    if not written:
        raise FilterError("", "the filter has no condition; null stands for no filter")
    root = _Parser().parse(written, "", 1)
    assert isinstance(root, Everything)
    return Filter(root)


class _Parser:
    """Compiles one filter, and counts its conditions."""

    def __init__(self) -> None:
        self._conditions = 0

    def parse(self, written: object, path: str, depth: int) -> Condition:
        """Return the compiled part of a filter. Raises FilterError."""
        if depth > MAX_DEPTH:
            raise FilterError(path, f"is nested more than {MAX_DEPTH} levels deep")
        if type(written) is dict:
            return self._object(written, path, depth)
        if type(written) is list:
            before = self._conditions
            conditions = self._list(written, path, depth)
            return Elements(conditions, written, self._conditions - before)
        self._count(path)
        return Equal(written, written)

    def _count(self, path: str) -> None:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise FilterError(path, f"the filter has more than {MAX_CONDITIONS} conditions")

    def _list(self, written: Sequence[object], path: str, depth: int) -> list[Condition]:
        if not written:
            raise FilterError(path, "the array is empty")
        return [self.parse(part, f"{path}[{number}]", depth + 1) for number, part in enumerate(written)]

    def _object(self, written: dict[str, object], path: str, depth: int) -> Everything:
        if not written:
            raise FilterError(path, "the object is empty: write the condition, or leave the field out")
        before = self._conditions
        fields: dict[str, Condition] = {}
        parts: list[Condition] = []
        whole: list[Condition] = []
        for name, value in written.items():
            here = f"{path}.{name}" if path else name
            if not name.startswith("$"):
                fields[name] = self.parse(value, here, depth + 1)
                continue
            condition, is_about_whole = self._operator(name, value, here, depth)
            (whole if is_about_whole else parts).append(condition)
        return Everything(fields, parts, whole, written, self._conditions - before)

    def _operator(self, name: str, value: object, path: str, depth: int) -> tuple[Condition, bool]:
        """Return the condition of an operator, and whether it is about a whole array."""
        written = {name: value}
        if name in ("$or", "$and"):
            if type(value) is not list:
                raise FilterError(path, "must be an array of conditions")
            conditions = self._list(value, path, depth)
            return (AnyOf if name == "$or" else AllOf)(conditions, written), False
        if name == "$not":
            return Not(self.parse(value, path, depth + 1), written), True
        self._count(path)
        if name == "$exist":
            if type(value) is not bool:
                raise FilterError(path, "must be true or false")
            return Exists(is_there=value, written=written), True
        if name in ("$eq", "$neq"):
            kind = Equal if is_scalar(value) else EqualWhole
            equal = kind(value, written)
            return (Differs(equal, written), True) if name == "$neq" else (equal, kind is EqualWhole)
        if name in ("$in", "$nin"):
            one_of, is_about_whole = self._one_of(value, written, path)
            return (Differs(one_of, written), True) if name == "$nin" else (one_of, is_about_whole)
        if name in _COMPARISONS:
            if type(value) is not str and not is_number(value):
                raise FilterError(path, "must be a number or a text")
            return Compared(_COMPARISONS[name], value, written), False
        if name in ("$startsWith", "$endsWith"):
            affixes = value if type(value) is list else [value]
            if not affixes or not all(type(affix) is str for affix in affixes):
                raise FilterError(path, "must be a text, or an array of texts")
            return Affixed(tuple(map(str, affixes)), written, is_end=name == "$endsWith"), False
        raise FilterError(path, f"is not an operator; there are {', '.join(OPERATORS)}")

    def _one_of(self, value: object, written: object, path: str) -> tuple[Condition, bool]:
        if type(value) is str:
            return Contains(value, written), True
        if type(value) is not list or not value:
            raise FilterError(path, "must be an array of values, or a text to look for")
        for number, constant in enumerate(value):
            if not is_scalar(constant):
                raise FilterError(f"{path}[{number}]", "must be a text, a number, true, false or null")
        return OneOf(value, written), False


def from_json(text: bytes | str) -> Filter:
    """Return the filter that a JSON text describes. Raises FilterError."""
    if len(text) > MAX_BYTES:
        raise FilterError("", f"a filter has at most {MAX_BYTES:,} bytes of JSON")
    try:
        written = exact_decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise FilterError("", f"is not JSON: {error}") from None
    except ArithmeticError:
        raise FilterError("", "a number in it has too large an exponent") from None
    return parse(written)


@lru_cache(maxsize=10_000)
def stored(text: str | None) -> Filter | None:
    """Return the filter of a stored subscription; None if it has none.

    A filter that this release cannot read was stored by a later one: everything is sent rather than nothing.
    """
    if text is None:
        return None
    try:
        return from_json(text)
    except FilterError:
        return None
