"""The conditions that a filter consists of (`schemas.filters`), and how values are compared.

Numbers are Decimals or ints, so that 0.1 is 0.1, and 1 is 1.0. Texts, numbers and truth values never equal each other.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final, Protocol

MAX_STEPS = 20_000
"""Maximum number of comparisons with the elements of arrays that one event may take: a few milliseconds."""


class Absent:
    """The type of ABSENT."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = Absent()
"""Stands for a field that an event does not have."""


class TooManyStepsError(Exception):
    """Raised if arrays are so long, or nested so deeply, that comparing all their elements would take too much."""


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


class PerElement(ABC):
    """Something that one element of an array is enough for."""

    __slots__ = ("written",)

    def __init__(self, written: object) -> None:
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        if type(value) is not list:
            return self._holds_one(value)
        steps.take(len(value))
        return any(self.holds(element, steps) for element in value)

    @abstractmethod
    def _holds_one(self, value: object) -> bool:
        """Return whether it holds for a value other than an array."""


class Equal(PerElement):
    """The value is the given text, number, truth value or null."""

    __slots__ = ("constant",)

    def __init__(self, constant: object, written: object) -> None:
        super().__init__(written)
        self.constant = constant

    def _holds_one(self, value: object) -> bool:
        return same(value, self.constant)


class OneOf(PerElement):
    """The value is one of the given ones."""

    __slots__ = ("constants",)

    def __init__(self, constants: Sequence[object], written: object) -> None:
        super().__init__(written)
        self.constants = frozenset(scalar_key(constant) for constant in constants)

    def _holds_one(self, value: object) -> bool:
        return is_scalar(value) and scalar_key(value) in self.constants


class Compared(PerElement):
    """The value is a number or a text on the given side of another."""

    __slots__ = ("compare", "constant")

    def __init__(self, compare: Callable[[Any, Any], bool], constant: object, written: object) -> None:
        super().__init__(written)
        self.compare = compare
        self.constant = constant

    def _holds_one(self, value: object) -> bool:
        is_comparable = type(value) is str if type(self.constant) is str else is_number(value)
        return is_comparable and self.compare(value, self.constant)


class Affixed(PerElement):
    """The value is a text that starts, or ends, with one of the given texts."""

    __slots__ = ("affixes", "is_end")

    def __init__(self, affixes: tuple[str, ...], written: object, *, is_end: bool) -> None:
        super().__init__(written)
        self.affixes = affixes
        self.is_end = is_end

    def _holds_one(self, value: object) -> bool:
        if type(value) is not str:
            return False
        return value.endswith(self.affixes) if self.is_end else value.startswith(self.affixes)


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


class Exists:
    """The field is there, also with null as its value; or it is not."""

    __slots__ = ("is_there", "written")

    def __init__(self, *, is_there: bool, written: object) -> None:
        self.is_there = is_there
        self.written = written

    def holds(self, value: object, steps: Steps) -> bool:
        return (value is not ABSENT) is self.is_there


class Around:
    """Something about another condition."""

    __slots__ = ("condition", "written")

    def __init__(self, condition: Condition, written: object) -> None:
        self.condition = condition
        self.written = written


class Differs(Around):
    """The field is there, and what is given does not hold."""

    __slots__ = ()

    def holds(self, value: object, steps: Steps) -> bool:
        return value is not ABSENT and not self.condition.holds(value, steps)


class Not(Around):
    """What is given does not hold."""

    __slots__ = ()

    def holds(self, value: object, steps: Steps) -> bool:
        return not self.condition.holds(value, steps)


class Several:
    """Something about several other conditions."""

    __slots__ = ("conditions", "written")

    def __init__(self, conditions: Sequence[Condition], written: object) -> None:
        self.conditions = conditions
        self.written = written


class AnyOf(Several):
    """At least one of the given conditions holds."""

    __slots__ = ()

    def holds(self, value: object, steps: Steps) -> bool:
        return any(condition.holds(value, steps) for condition in self.conditions)


class AllOf(Several):
    """All of the given conditions hold."""

    __slots__ = ()

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
def bounded() -> Iterator[None]:
    """Turn the end of Python's stack into TooManyStepsError: a body may have arrays in arrays in arrays."""
    try:
        yield
    except RecursionError:
        raise TooManyStepsError from None


def scalars_at(event: Mapping[str, object], path: Sequence[str], steps: Steps) -> set[object]:
    """Return the keys (`scalar_key`) of all values of a field, which are several if there are arrays on the way.

    Raises TooManyStepsError.
    """
    with bounded():
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
