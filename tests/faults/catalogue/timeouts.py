"""RabbitMQ closes the channel of a consumer that acknowledges nothing for a minute: the database is unavailable."""

from collections.abc import Mapping
from typing import ClassVar

from tests.faults.backing import Single
from tests.faults.catalogue.unavailable import refused
from tests.faults.trial import Fault

MINUTES = 3


class ShortTimeout(Single):
    """A broker with the shortest `consumer_timeout` that it enforces; it looks once a minute."""

    rabbitmq_settings: ClassVar[Mapping[str, str]] = {"consumer_timeout": "60000"}


FAULTS = (
    Fault(
        f"PostgreSQL refuses connections for {MINUTES} minutes",
        refused,
        60.0 * MINUTES,
        slow=True,
    ),
)
"""Of a site with `ShortTimeout`."""
