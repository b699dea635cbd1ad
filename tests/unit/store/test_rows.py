"""Rows and queries, without a database."""

import re
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from schemas.platform import Line
from storage import sql
from tests.support.storing import at, incoming
from workers.store import rows
from workers.store.versions import Receipt, Version, flags, group_by_document

HOUSE = Path(__file__).parents[3]


def version(number: int, *, is_repeat: bool = False) -> Version:
    return Version(UUID(int=1), number, b"", 0, Receipt(at(0), UUID(int=2), b""), at(0), is_repeat=is_repeat)


def test_lines_keep_exact_decimals_and_leave_out_what_is_absent() -> None:
    lines = (
        Line(id="000011", article="A&B", quantity=Decimal("1.10"), unit_price=Decimal("1E+3"), total=Decimal("-0.00")),
        Line(id='"', name="\u00e9"),
    )
    text = rows.lines_json(lines)
    assert text == (
        '[{"id":"000011","article":"A&B","quantity":1.10,"unit_price":1E+3,"total":-0.00},{"id":"\\"","name":"\u00e9"}]'
    )
    assert msgspec.json.decode(text, type=list[Line]) == list(lines)
    assert rows.lines_json(()) == "[]"


@pytest.mark.parametrize(
    ("content", "of", "revisable", "expected"),
    [
        ((), version(1), True, []),
        ((), version(2), True, ["revised"]),
        ((), version(2), False, []),
        (("repaired_json",), version(2, is_repeat=True), True, ["repaired_json", "revised", "repeat_suspected"]),
        (("not_json",), version(3, is_repeat=True), False, ["not_json", "repeat_suspected"]),
    ],
)
def test_content_gives_these_flags(content: tuple[str, ...], of: Version, revisable: bool, expected: list[str]) -> None:
    assert flags(content, of, revisable=revisable) == expected


def test_rows_have_a_value_for_every_column() -> None:
    message = incoming("apicbase", "purchase_order", {"id": "I1"})
    (batch,) = group_by_document([message])
    batch.versions = batch.derive_versions(batch.messages)
    (stored,) = batch.stored(batch.versions)
    assert len(rows.version_row(stored)) == len(rows.VERSION_COLUMNS)
    assert len(rows.receipt_row(1, message)) == len(rows.RECEIPT_COLUMNS)
    assert rows.columns([(1, "a"), (2, "b")]) == [[1, 2], ["a", "b"]]


def test_every_query_is_named_once_and_used() -> None:
    code = "\n".join(
        file.read_text(encoding="utf-8")
        for part in ("storage", "workers", "ingress")
        for file in (HOUSE / part).rglob("*.py")
    )
    for file in sorted((HOUSE / "storage" / "queries").glob("*.sql")):
        names = re.findall(r"^-- name: (\w+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(names) == len(set(names)), file.name
        assert set(names) == set(sql.queries(file.stem))
        for name in names:
            assert f'"{name}"' in code, f"{file.name}: {name} is used nowhere"


def test_an_unknown_query_raises_an_error() -> None:
    with pytest.raises(KeyError):
        sql.query("store", "nothing")
