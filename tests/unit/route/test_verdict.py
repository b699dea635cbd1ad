"""The verdict on an Apicbase order: taken, refused with the reason, or not readable."""

import json
from typing import Any

import msgspec
import pytest

from schemas import registry
from schemas.platforms.apicbase.config import Account
from workers.route import apicbase

ORDER = registry.example("apicbase", "purchase_order")


def validate(raw: bytes, **known: Any) -> tuple[int, str, dict[str, Any]]:
    decided = apicbase.validate(raw, msgspec.convert({"secrets": ["s"], **known}, Account))
    return decided.status, decided.content_type, json.loads(decided.body)


def test_an_order_without_lists_to_check_against_is_taken() -> None:
    assert validate(ORDER)[0] == 200


@pytest.mark.parametrize("known", [{"customers": ["nobody"]}, {"articles": ["nothing"]}])
def test_an_unknown_customer_or_article_is_refused_with_the_detail(known: dict[str, list[str]]) -> None:
    status, content_type, problem = validate(ORDER, **known)
    assert (status, content_type) == (422, "application/problem+json")
    assert problem["status"] == 422
    assert "not known to the supplier" in problem["detail"]


@pytest.mark.parametrize("raw", [b"", b"not json", b"[]", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_not_an_order_is_400(raw: bytes) -> None:
    status, content_type, problem = validate(raw)
    assert (status, content_type, problem["status"]) == (400, "application/problem+json", 400)
