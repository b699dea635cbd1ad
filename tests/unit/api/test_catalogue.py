"""The catalogue of event types: complete, and each example is what its schema says."""

import jsonschema_rs
import msgspec
import pytest

from schemas import catalogue, registry


def test_every_published_type_is_listed_once() -> None:
    assert [entry.type for entry in catalogue.event_types()] == registry.published_types()


@pytest.mark.parametrize("entry", catalogue.event_types(), ids=lambda entry: entry.type)
def test_an_example_fits_its_schema(entry: catalogue.EventType) -> None:
    validator = jsonschema_rs.Draft202012Validator(entry.json_schema)
    assert not list(validator.iter_errors(msgspec.json.decode(entry.example)))
