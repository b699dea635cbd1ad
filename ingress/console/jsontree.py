"""A JSON body as a tree of exact values, and its text for people. Pure.

Numbers stay as they were written, so that 1.10 is not 1.1 and nothing passes through a float.
"""

import json
import re
from typing import TypeAlias, Union

import msgspec

DOTS = "••••"
"""What is shown in place of a value that is hidden."""
MAX_DEPTH = 150
"""Most levels of a tree: functions that call themselves for each level stay within Python's limit."""
_UNSEEN = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
"""Characters that are not seen, that reverse what follows, or that no page can contain."""


class Number(str):
    """A number as it was written."""

    __slots__ = ()


class Hidden(msgspec.Struct, frozen=True):
    """A value that is compared but not shown."""

    text: str
    """The value as compact JSON."""


Scalar: TypeAlias = str | Number | Hidden | bool | None
Node: TypeAlias = Union[Scalar, list["Node"], dict[str, "Node"]]  # noqa: UP007 - it names itself


class NotATreeError(ValueError):
    """A body is not JSON, or is nested too deeply."""


def parse(data: bytes | str) -> Node:
    """Return a body as a tree. Of members with the same name, the last one counts. Raises NotATreeError."""
    try:
        tree: Node = json.loads(data, parse_float=Number, parse_int=Number, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise NotATreeError(str(error)[:200]) from None
    if _is_too_deep(tree):
        raise NotATreeError(f"it is nested more than {MAX_DEPTH} deep")
    return tree


def scalar(value: Scalar) -> str:
    """Return a value as JSON; characters that cannot be seen are escaped."""
    if isinstance(value, Hidden):
        return DOTS
    if isinstance(value, Number):
        return str(value)
    text = json.dumps(value, ensure_ascii=False)
    return _UNSEEN.sub(_escaped, text)


def compact(node: Node) -> str:
    """Return a tree as JSON on one line."""
    if isinstance(node, dict):
        return "{" + ", ".join(f"{scalar(name)}: {compact(value)}" for name, value in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(map(compact, node)) + "]"
    return scalar(node)


def pretty(node: Node) -> str:
    """Return a tree as JSON with a line per value."""
    lines: list[str] = []
    _add_lines(lines, node, "", "", "")
    return "\n".join(lines)


def _add_lines(lines: list[str], node: Node, margin: str, name: str, comma: str) -> None:
    if not isinstance(node, dict | list) or not node:
        lines.append(f"{margin}{name}{compact(node)}{comma}")
        return
    opening, closing = ("{", "}") if isinstance(node, dict) else ("[", "]")
    lines.append(f"{margin}{name}{opening}")
    members = (
        [(f"{scalar(key)}: ", value) for key, value in node.items()]
        if isinstance(node, dict)
        else [("", value) for value in node]
    )
    for place, (inner, value) in enumerate(members, 1):
        _add_lines(lines, value, margin + "  ", inner, "," if place < len(members) else "")
    lines.append(f"{margin}{closing}{comma}")


def _is_too_deep(tree: Node) -> bool:
    level = [tree]
    for _ in range(MAX_DEPTH + 1):
        level = [
            value
            for node in level
            if isinstance(node, dict | list)
            for value in (node.values() if isinstance(node, dict) else node)
            if isinstance(value, dict | list)
        ]
        if not level:
            return False
    return True


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
