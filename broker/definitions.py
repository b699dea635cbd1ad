"""Export `schemas.topology` as RabbitMQ definitions, for operators who load these instead of `topology apply`."""

from schemas.topology import Topology, topology


def export(vhost: str = "/", expected: Topology | None = None, *, major: int = 3) -> dict[str, list[dict[str, object]]]:
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
