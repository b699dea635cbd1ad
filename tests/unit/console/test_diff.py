"""What changed between two bodies: exactly, whatever the order of lists, and the other way round likewise."""

import json
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.console import diff, jsontree
from ingress.console.jsontree import Node
from ingress.console.masking import Mask
from tests.support.bodies import json_values


def changes(before: Any, after: Any) -> list[tuple[str, str, str | None, str | None]]:
    """Return the changes between two bodies, which are JSON texts or values to encode."""
    trees = [jsontree.parse(body if isinstance(body, bytes) else json.dumps(body)) for body in (before, after)]
    return [(c.path, c.kind, c.before, c.after) for c in diff.compare(*trees).changes]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": "x"}, {"a": "y"}, [("a", "changed", '"x"', '"y"')]),
        ({"a": 1}, {"a": "1"}, [("a", "changed", "1", '"1"')]),
        ({"a": None}, {}, [("a", "removed", "null", None)]),
        ({}, {"a": {"b": [1]}}, [("a", "added", None, '{"b": [1]}')]),
        ({"a": {"b": True}}, {"a": {"b": 1}}, [("a.b", "changed", "true", "1")]),
        (b'{"a": 1.10}', b'{"a": 1.1}', [("a", "changed", "1.10", "1.1")]),
        (b'{"a": 0.1234567890123456789}', b'{"a": 0.1234567890123456788}', [
            ("a", "changed", "0.1234567890123456789", "0.1234567890123456788")
        ]),
        (b'{"a": 1e400}', b'{"a": 1e401}', [("a", "changed", "1e400", "1e401")]),
        ([1, 2], [2, 1], [("[1]", "changed", "1", "2"), ("[2]", "changed", "2", "1")]),
        ({"a": "x"}, [], [("the whole body", "changed", '{"a": "x"}', "[]")]),
    ],
)  # fmt: skip
def test_a_change_says_where_it_is_and_both_values(before: Any, after: Any, expected: list[Any]) -> None:
    assert changes(before, after) == expected


def test_lines_are_known_by_their_ids_wherever_they_stand() -> None:
    before = {"lines": [{"id": "1", "sku": "A", "n": 5}, {"id": "2", "sku": "B", "n": 6}, {"id": "3", "n": 1}]}
    after = {"lines": [{"id": "4", "n": 9}, {"id": "2", "sku": "B", "n": 6}, {"id": "1", "sku": "A", "n": 4}]}
    assert changes(before, after) == [
        ("lines[id 1].n", "changed", "5", "4"),
        ("lines[id 3]", "removed", '{"id": "3", "n": 1}', None),
        ("lines[id 4]", "added", None, '{"id": "4", "n": 9}'),
    ]


def test_objects_without_ids_are_matched_by_their_content() -> None:
    before = {"items": [{"s": "A", "n": 1}, {"s": "A", "n": 1}, {"s": "B", "n": 2}]}
    after = {"items": [{"s": "B", "n": 2}, {"s": "A", "n": 3}, {"s": "A", "n": 1}]}
    assert changes(before, after) == [("items[1].n", "changed", "1", "3")]


def test_no_more_changes_are_listed_than_anybody_reads() -> None:
    difference = diff.compare({str(n): "a" for n in range(900)}, {str(n): "b" for n in range(900)})
    assert (len(difference.changes), difference.is_cut) == (diff.MAX_CHANGES, True)
    assert len(diff.compare({"a": "x" * 10_000}, {"a": "y"}).changes[0].before or "") <= diff.LONGEST + 1


def shuffled(node: Any, seed: random.Random) -> Any:
    """Return the same value with members, and lists of objects, in another order."""
    if isinstance(node, dict):
        names = seed.sample(list(node), len(node))
        return {name: shuffled(node[name], seed) for name in names}
    if isinstance(node, list):
        elements = [shuffled(element, seed) for element in node]
        if any(isinstance(element, dict) for element in elements):
            seed.shuffle(elements)
        return elements
    return node


def canonical(node: Node) -> Any:
    """Return a form that is equal for bodies without a difference."""
    if isinstance(node, dict):
        return {name: canonical(value) for name, value in node.items()}
    if isinstance(node, list):
        elements = [canonical(element) for element in node]
        if any(isinstance(element, dict) for element in node):
            elements.sort(key=repr_sorted)
        return elements
    return [type(node).__name__, node]


def repr_sorted(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


bodies = json_values | st.lists(
    st.fixed_dictionaries({"id": st.text(max_size=2), "n": st.integers(0, 3)}, optional={"more": json_values}),
    max_size=6,
).map(lambda lines: {"lines": lines})


@given(bodies, st.integers(0, 99))
def test_another_order_is_not_a_change(body: Any, seed: int) -> None:
    assert changes(body, shuffled(body, random.Random(seed))) == []


@given(bodies, bodies)
def test_there_is_a_change_exactly_if_the_values_differ(before: Any, after: Any) -> None:
    trees = [jsontree.parse(json.dumps(body)) for body in (before, after)]
    assert bool(diff.compare(*trees).changes) == (repr_sorted(canonical(trees[0])) != repr_sorted(canonical(trees[1])))


@given(bodies, bodies)
def test_the_other_way_round_additions_are_removals(before: Any, after: Any) -> None:
    mirrored = {"added": "removed", "removed": "added", "changed": "changed"}
    forward = {(path, kind) for path, kind, _, _ in changes(before, after)}
    assert {(path, mirrored[kind]) for path, kind, _, _ in changes(after, before)} == forward


def test_a_large_body_that_is_nested_deeply_is_compared_in_time() -> None:
    def nested(leaf: str) -> Node:
        node: Node = [{"x": str(n), "v": leaf} for n in range(20_000)]
        for _ in range(jsontree.MAX_DEPTH // 2):
            node = [{"a": node}]
        return node

    started = time.process_time()
    before, after = nested("a"), nested("b")
    assert diff.compare(before, after).is_cut
    assert len(jsontree.pretty(Mask("ustore").tree(before))) > 100_000
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"a": NaN}', b"[" * 100_000, b"\xff", b"-Infinity", b"[" * 200 + b"]" * 200]
)
def test_what_is_not_json_is_not_a_tree(text: bytes) -> None:
    with pytest.raises(jsontree.NotATreeError):
        jsontree.parse(text)


def test_a_tree_of_the_greatest_depth_is_one() -> None:
    depth = jsontree.MAX_DEPTH
    bodies_ = [b'{"a":' * depth + end + b"}" * depth for end in (b"1", b"2")]
    (change,) = diff.compare(*map(jsontree.parse, bodies_)).changes
    assert (change.before, change.after) == ("1", "2")


@given(json_values)
def test_the_pretty_text_is_the_same_value(value: Any) -> None:
    tree = jsontree.parse(json.dumps(value))
    assert jsontree.parse(jsontree.pretty(tree)) == tree
    assert jsontree.parse(jsontree.compact(tree)) == tree


def test_characters_that_nobody_sees_are_shown() -> None:
    tree = jsontree.parse('{"a\\u202eb": "\\u200b\\ud800\\u0007"}')
    assert jsontree.pretty(tree) == '{\n  "a\\u202eb": "\\u200b\\ud800\\u0007"\n}'
