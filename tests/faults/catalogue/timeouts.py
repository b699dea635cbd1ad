"""PostgreSQL is unavailable for so long that RabbitMQ closes the channels of consumers that acknowledge nothing."""

from collections.abc import Mapping
from typing import ClassVar

from tests.faults.backing import Single
from tests.faults.catalogue.unavailable import refused
from tests.faults.trial import Fault

MINUTES = 3


class ShortTimeout(Single):
    """A broker with the shortest `consumer_timeout` that it enforces; it checks once per minute."""

    rabbitmq_settings: ClassVar[Mapping[str, str]] = {"consumer_timeout": "60000"}


FAULTS = (
    Fault(
        f"PostgreSQL refuses connections for {MINUTES} minutes",
        refused,
        60.0 * MINUTES,
        slow=True,
    ),
)
"""Faults of a site with `ShortTimeout`."""
