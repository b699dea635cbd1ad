"""Export `schemas.topology` as RabbitMQ definitions, for operators who load these instead of `topology apply`."""

from typing import TypedDict

from schemas.topology import Topology, topology


class VirtualHostDefinition(TypedDict):
    name: str


class ExchangeDefinition(TypedDict):
    name: str
    vhost: str
    type: str
    durable: bool
    auto_delete: bool
    internal: bool
    arguments: dict[str, str | int]


class QueueDefinition(TypedDict):
    name: str
    vhost: str
    durable: bool
    auto_delete: bool
    arguments: dict[str, str | int]


class BindingDefinition(TypedDict):
    source: str
    vhost: str
    destination: str
    destination_type: str
    routing_key: str
    arguments: dict[str, str | int]


class Definitions(TypedDict):
    """RabbitMQ's definitions file, as far as it concerns the topology."""

    vhosts: list[VirtualHostDefinition]
    exchanges: list[ExchangeDefinition]
    queues: list[QueueDefinition]
    bindings: list[BindingDefinition]


def export(vhost: str = "/", expected: Topology | None = None, *, major: int = 3) -> Definitions:
    """Return RabbitMQ definitions for version `major`.x.

    They can be loaded with `rabbitmqctl import_definitions` or through the management API.
    """
    expected = expected or topology()
    return {
        "vhosts": [{"name": vhost}],
        "exchanges": [
            {
                "name": exchange.name,
                "vhost": vhost,
                "type": exchange.type,
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": exchange.arguments,
            }
            for exchange in expected.exchanges
        ],
        "queues": [
            {
                "name": queue.name,
                "vhost": vhost,
                "durable": True,
                "auto_delete": False,
                "arguments": queue.declared(major),
            }
            for queue in expected.queues
        ],
        "bindings": [
            {
                "source": binding.exchange,
                "vhost": vhost,
                "destination": binding.queue,
                "destination_type": "queue",
                "routing_key": binding.routing_key,
                "arguments": {},
            }
            for binding in expected.bindings
        ],
    }
