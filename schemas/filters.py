"""Filters of subscriptions: an object that is matched against a CloudEvent (contract §12, docs/filters.md).

Everything in a filter must hold. `parse` checks a filter once and compiles it; `Filter.matches` is executed for every
event. An absent field is `ABSENT`, which only `$exist: false` and what `$not` turns round hold for. For an array, one
element must hold that part of the filter which is about it, except for what says something about the whole array:
`$exist`, `$not`, `$neq` and `$nin` (no element is equal), and comparisons with another array.

Numbers are Decimals or ints, so that 0.1 is 0.1, and 1 is 1.0. Texts, numbers and truth values never equal each other.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec

from schemas import cloudevents
from schemas.envelope import rfc3339

MAX_BYTES = 8 * 1024
"""Maximum size of a filter as JSON."""
MAX_DEPTH = 20
MAX_CONDITIONS = 100
MAX_STEPS = 20_000
"""Maximum number of comparisons with the elements of arrays that one event may take: a few milliseconds."""
ATTRIBUTES = frozenset({"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "version", "data"})
"""What filters see of a CloudEvent."""
LONGEST_SHOWN = 200
"""Characters of a value that an explanation shows."""


class Absent:
    """The type of ABSENT."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = Absent()
"""Stands for a field that an event does not have."""


class FilterError(ValueError):
    """Raised for a filter that is not valid."""

    def __init__(self, path: str, problem: str) -> None:
        """`path`: where in the filter, such as `data.quantity.$gt`; empty for the whole filter."""
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class TooManyStepsError(Exception):
    """Raised if arrays are so long, or nested so deeply, that comparing all their elements would take too much."""


class Reason(msgspec.Struct, frozen=True):
    """The condition that decided that an event does not match."""

    path: str
    """The field, such as `data.lineItems.sku`."""
    condition: object
    """The part of the filter that does not hold for it."""
    value: object
    """What the event has there, shortened; absent if it has nothing."""


class Steps:
    """Counts comparisons with the elements of arrays; the number of all others is bounded by MAX_CONDITIONS."""

    __slots__ = ("left",)

    def __init__(self, most: int = MAX_STEPS) -> None:
        self.left = most

    def take(self, count: int) -> None:
        """Raise TooManyStepsError if there are too many."""
        self.left -= count
        if self.left < 0:
            raise TooManyStepsError


class Condition(Protocol):
    """A part of a filter. `written` is the part as it was written."""

    written: object

    def holds(self, value: object, steps: Steps) -> bool: ...


class Equal:
    """The value is the given text, number, truth value or null."""

    __slots__ = ("constant", "written")

    def __init__(self, constant: object, written: object) -> None:
        self.constant = constant
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        if type(value) is list:
            steps.take(len(value))
            return any(self.holds(element, steps) for element in value)
        return same(value, self.constant)


class EqualWhole:
    """The value is the given array or object, in all its parts, or an array that contains it."""

    __slots__ = ("constant", "written")

    def __init__(self, constant: object, written: object) -> None:
        self.constant = constant
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        if same(value, self.constant):
            return True
        if type(value) is not list:
            return False
        steps.take(len(value))
        return any(same(element, self.constant) for element in value)


class OneOf:
    """The value is one of the given ones."""

    __slots__ = ("constants", "written")

    def __init__(self, constants: Sequence[object], written: object) -> None:
        self.constants = frozenset(scalar_key(constant) for constant in constants)
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        if type(value) is list:
            steps.take(len(value))
            return any(self.holds(element, steps) for element in value)
        return is_scalar(value) and scalar_key(value) in self.constants


class Contains:
    """The value is a text with the given part, or an array with the given text."""

    __slots__ = ("part", "written")

    def __init__(self, part: str, written: object) -> None:
        self.part = part
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        if type(value) is list:
            steps.take(len(value))
            return self.part in [element for element in value if type(element) is str]
        return type(value) is str and self.part in value


class Compared:
    """The value is a number or a text on the given side of another."""

    __slots__ = ("compare", "constant", "written")

    def __init__(self, compare: Callable[[Any, Any], bool], constant: object, written: object) -> None:
        self.compare = compare
        self.constant = constant
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        if type(value) is list:
            steps.take(len(value))
            return any(self.holds(element, steps) for element in value)
        if type(self.constant) is str:
            return type(value) is str and self.compare(value, self.constant)
        return is_number(value) and self.compare(value, self.constant)


class Affixed:
    """The value is a text that starts, or ends, with one of the given texts."""

    __slots__ = ("affixes", "is_end", "written")

    def __init__(self, affixes: tuple[str, ...], written: object, *, is_end: bool) -> None:
        self.affixes = affixes
        self.is_end = is_end
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        if type(value) is list:
            steps.take(len(value))
            return any(self.holds(element, steps) for element in value)
        if type(value) is not str:
            return False
        return value.endswith(self.affixes) if self.is_end else value.startswith(self.affixes)


class Exists:
    """The field is there, also with null as its value; or it is not."""

    __slots__ = ("is_there", "written")

    def __init__(self, *, is_there: bool, written: object) -> None:
        self.is_there = is_there
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        return (value is not ABSENT) is self.is_there


class Differs:
    """The field is there, and what is given does not hold."""

    __slots__ = ("condition", "written")

    def __init__(self, condition: Condition, written: object) -> None:
        self.condition = condition
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        return value is not ABSENT and not self.condition.holds(value, steps)


class Not:
    """What is given does not hold."""

    __slots__ = ("condition", "written")

    def __init__(self, condition: Condition, written: object) -> None:
        self.condition = condition
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        return not self.condition.holds(value, steps)


class AnyOf:
    """At least one of the given conditions holds."""

    __slots__ = ("conditions", "written")

    def __init__(self, conditions: Sequence[Condition], written: object) -> None:
        self.conditions = conditions
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        return any(condition.holds(value, steps) for condition in self.conditions)


class AllOf:
    """All of the given conditions hold."""

    __slots__ = ("conditions", "written")

    def __init__(self, conditions: Sequence[Condition], written: object) -> None:
        self.conditions = conditions
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        return all(condition.holds(value, steps) for condition in self.conditions)


class Elements:
    """The value is an array, and each of the given conditions holds for one of its elements."""

    __slots__ = ("conditions", "weight", "written")

    def __init__(self, conditions: Sequence[Condition], written: object, weight: int) -> None:
        """`weight`: the number of conditions in it, at any depth."""
        self.conditions = conditions
        self.weight = weight
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        if type(value) is not list:
            return False
        steps.take(len(value) * self.weight)
        return all(any(condition.holds(element, steps) for element in value) for condition in self.conditions)


class Everything:
    """All parts of an object in a filter hold: what it says about the value, and about its fields.

    For an array, one and the same element must hold all of it, except for the parts that are about the whole array.
    """

    __slots__ = ("fields", "parts", "weight", "whole", "written")

    def __init__(
        self,
        fields: Mapping[str, Condition],
        parts: Sequence[Condition],
        whole: Sequence[Condition],
        written: object,
        weight: int,
    ) -> None:
        """`whole`: those that are about a whole array. `weight`: the number of conditions in it, at any depth."""
        self.fields = fields
        self.parts = parts
        self.whole = whole
        self.weight = weight
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        for condition in self.whole:
            if not condition.holds(value, steps):
                return False
        if type(value) is not list:
            return self._holds_one(value, steps)
        if not self.fields and not self.parts:
            return True
        steps.take(len(value) * self.weight)
        return any(self._holds_nested(element, steps) for element in value)

    def _holds_nested(self, element: object, steps: Steps) -> bool:
        """Return whether an element holds, which may be an array itself."""
        if type(element) is not list:
            return self._holds_one(element, steps)
        steps.take(len(element) * self.weight)
        return any(self._holds_nested(inner, steps) for inner in element)

    def _holds_one(self, value: object, steps: Steps) -> bool:
        """Return whether everything that is not about a whole array holds for a value that is none."""
        for condition in self.parts:
            if not condition.holds(value, steps):
                return False
        get = value.get if type(value) is dict else _nothing
        return all(condition.holds(get(name, ABSENT), steps) for name, condition in self.fields.items())


def _nothing(name: str, default: object) -> object:
    """Return the field of a value that has none."""
    return default


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
        with _bounded():
            return self._root.holds(event, steps)

    def why_not(self, event: Mapping[str, object]) -> Reason | None:
        """Return the condition that decided that an event does not match; None if it does. Raises TooManyStepsError."""
        with _bounded():
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


def same(left: object, right: object) -> bool:
    """Return whether two JSON values are equal. Numbers are compared as such, and never equal a truth value."""
    if is_number(left):
        return is_number(right) and left == right
    if type(left) is not type(right):
        return False
    if type(left) is list:
        assert type(right) is list
        return len(left) == len(right) and all(map(same, left, right))
    if type(left) is dict:
        assert type(right) is dict
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    return left == right


def is_number(value: object) -> bool:
    """Return whether a value is a number; True and False are none in JSON."""
    return type(value) is int or type(value) is Decimal


def is_scalar(value: object) -> bool:
    """Return whether a value is a text, a number, a truth value or null."""
    return type(value) is str or is_number(value) or value is None or type(value) is bool


def scalar_key(value: object) -> object:
    """Return a key that is equal for equal values, and for no others: Python takes True for 1."""
    return (value,) if type(value) is bool or value is None else value


@contextmanager
def _bounded() -> Iterator[None]:
    """Turn the end of Python's stack into TooManyStepsError: a body may have arrays in arrays in arrays."""
    try:
        yield
    except RecursionError:
        raise TooManyStepsError from None


def scalars_at(event: Mapping[str, object], path: Sequence[str], steps: Steps) -> set[object]:
    """Return the keys (`scalar_key`) of all values of a field, which are several if there are arrays on the way.

    Raises TooManyStepsError.
    """
    with _bounded():
        return set(_scalars(event, path, 0, steps))


def _scalars(value: object, path: Sequence[str], depth: int, steps: Steps) -> Iterator[object]:
    if type(value) is list:
        steps.take(len(value))
        for element in value:
            yield from _scalars(element, path, depth, steps)
    elif depth == len(path):
        if is_scalar(value):
            yield scalar_key(value)
    elif type(value) is dict and path[depth] in value:
        yield from _scalars(value[path[depth]], path, depth + 1, steps)


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


def _number(text: str) -> Decimal:
    """Return a number with a fraction or an exponent; one that Decimal cannot represent is infinite, or zero."""
    try:
        return Decimal(text)
    except InvalidOperation:
        digits, _, exponent = text.lower().partition("e")
        sign = "-" if digits.startswith("-") else ""
        return Decimal(f"{sign}0" if exponent.startswith("-") else f"{sign}Infinity")


_decoder, _any_decoder = msgspec.json.Decoder(float_hook=Decimal), msgspec.json.Decoder(float_hook=_number)


def decode(text: bytes | str) -> object:
    """Decode JSON with exact numbers, as filters and events are compared. Raises ValueError and RecursionError."""
    try:
        return _decoder.decode(text)
    except ArithmeticError:
        return _any_decoder.decode(text)


def attributes(
    *,
    id: str,  # noqa: A002 - the attribute's name in the specification
    platform: str,
    account: str,
    type: str,  # noqa: A002 - likewise
    key: str,
    received_at: datetime,
    version: int,
) -> dict[str, object]:
    """Return a CloudEvent as filters see it, without its data."""
    return {
        "specversion": "1.0",
        "id": id,
        "source": f"/{platform}/{account}",
        "type": type,
        "subject": key,
        "time": rfc3339(received_at),
        "version": version,
    }


def add_data(event: dict[str, object], encoded: bytes | None) -> None:
    """Add the data of an event as filters see them; none if it is not JSON, or nested too deeply to be read."""
    event["datacontenttype"] = cloudevents.OCTETS if encoded is None else cloudevents.JSON
    if encoded is not None:
        with suppress(ValueError, RecursionError):
            event["data"] = decode(encoded)


def of_log(body: bytes) -> dict[str, object]:
    """Return an event of the log as filters see it. Raises ValueError if it is not JSON."""
    event = decode(body)
    if type(event) is not dict:
        raise ValueError("the event is not an object")
    return {name: value for name, value in event.items() if name in ATTRIBUTES}


def from_json(text: bytes | str) -> Filter:
    """Return the filter that a JSON text describes. Raises FilterError."""
    if len(text) > MAX_BYTES:
        raise FilterError("", f"a filter has at most {MAX_BYTES:,} bytes of JSON")
    try:
        written = _decoder.decode(text)
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
