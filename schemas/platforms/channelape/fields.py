"""`additionalFields`, in either shape and under either spelling."""

from types import MappingProxyType

from msgspec import UNSET

from schemas import loose
from schemas.loose import Scalar
from schemas.platforms.channelape.wire import AdditionalFields

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


def values(fields: AdditionalFields) -> dict[str, tuple[Scalar, ...]]:
    """Every value by name, in the order sent: in an array a name may repeat, and nothing of that is lost.

    Names are the examples', whichever spelling was sent.
    """
    if fields is None or fields is UNSET:
        return {}
    if isinstance(fields, dict):
        pairs = list(fields.items())
    else:
        pairs = [(name, field.value) for field in fields if (name := loose.text(field.name)) is not None]
    found: dict[str, tuple[Scalar, ...]] = {}
    for sent, value in pairs:
        name = _EXAMPLES_NAME.get(sent, sent)
        found[name] = (*found.get(name, ()), value)
    return found


def first(fields: AdditionalFields, name: str) -> str | None:
    """The first value of `name` (the examples' spelling) that says anything."""
    if isinstance(fields, dict):  # the usual shape, without turning all of it into something else
        said = loose.text(fields.get(name))
        return loose.text(fields.get(SPELLINGS[name])) if said is None and name in SPELLINGS else said
    return next((said for value in values(fields).get(name, ()) if (said := loose.text(value)) is not None), None)


_EXAMPLES_NAME = MappingProxyType({table: example for example, table in SPELLINGS.items()})
