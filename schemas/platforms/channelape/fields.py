"""The values of `additionalFields`, in either shape and under either spelling of a name."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import UNSET

from schemas import lenient
from schemas.lenient import Scalar
from schemas.platforms.channelape.wire import AdditionalField, AdditionalFields

SPELLINGS = MappingProxyType(
    {
        # the examples' name: the name in the document's tables
        "ship_by_date": "ShipByDate",
        "sap_source_location": "PARTN",
        "sap_source_storage_location": "LIFNR",
        "sap_destination_location": "WERKS",
        "sap_destination_storage_location": "LGORT",
        "sap_unit_of_measure": "UnitOfMeasure",
    }
)
_EXAMPLES_NAME = MappingProxyType({table: example for example, table in SPELLINGS.items()})
_NONE: Mapping[str, Scalar] = MappingProxyType({})


def collect(fields: AdditionalFields | Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    """Return one value per name, for use with `first`: if a name is repeated, its first value that is not empty.

    An array is traversed once, however many names are looked up afterwards.
    """
    if isinstance(fields, Mapping):
        return fields  # the usual shape, which needs no conversion
    if not isinstance(fields, list):
        return _NONE
    value_by_name: dict[str, Scalar] = {}
    for field in fields:
        sent, value = lenient.identifier(field.name), field.value
        if sent is None or value is UNSET:
            sent, value = _pair(field)
            if sent is None:
                continue
        name = _EXAMPLES_NAME.get(sent, sent)
        known = value_by_name.get(name)
        if name not in value_by_name or (lenient.identifier(known) is None and _is_better(value, known)):
            value_by_name[name] = value
    return value_by_name


def _pair(field: AdditionalField) -> tuple[str | None, Scalar]:
    """Return the name and the value of a field of an array: `name` and `value`, else `Name` and `Value`."""
    name = field.capital_name if field.name is UNSET else field.name
    return lenient.identifier(name), field.capital_value if field.value is UNSET else field.value


def _is_better(value: Scalar, known: Scalar) -> bool:
    """Return whether a value should replace the one of an earlier field of the same name."""
    return lenient.is_absent(known) or lenient.identifier(value) is not None


def as_sent(fields: AdditionalFields | Mapping[str, Scalar], name: str) -> Scalar:
    """Return the value of `name`, a name with one spelling, as it was sent; None if there is none."""
    return (fields if type(fields) is dict else collect(fields)).get(name)


def first(fields: AdditionalFields | Mapping[str, Scalar], name: str) -> str | None:
    """Return the value of `name` (in the examples' spelling) without surrounding white space; None if it is empty.

    To look up several names, pass the result of `collect`.
    """
    collected = fields if type(fields) is dict else collect(fields)
    value = lenient.identifier(collected.get(name))
    return lenient.identifier(collected.get(SPELLINGS[name])) if value is None and name in SPELLINGS else value
