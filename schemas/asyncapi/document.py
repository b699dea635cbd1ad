"""The AsyncAPI 3.0 document of the queues, made from the topology, the platforms and the Structs that read them. Pure.

Nothing that the topology or a platform knows is repeated here, so a new platform's messages are included automatically.
"""

import itertools
from collections.abc import Iterable
from importlib.metadata import version
from typing import NamedTuple

from schemas import cloudevents, consumers, erasure, properties, registry, topology
from schemas.allocation import AllocationRecord
from schemas.asyncapi import shapes
from schemas.asyncapi.messages import BINDING_VERSION, REPLY, Message, Part, messages
from schemas.platform import Announcement
from schemas.topology import Topology

CONSUMER = "crossdock.consumer"
"""The channel of consumers' queues. It is not in the topology: `crossdock consumers add` creates them."""

_ABOUT = (
    "Order and supply-chain webhooks in, onto queues, out as CloudEvents. Everything is durable. A value without a "
    "type is as its platform sent it: text, a number, true, false or null, and numbers keep every digit. Unknown keys "
    "may be there; objects grow. Messages come at least once: the same `message_id` is the same message."
)
_CHANNELS = {
    topology.INBOUND: "The bodies as received. One that no queue wants goes to the alternate exchange.",
    topology.EVENTS: "What has been stored, published after the commit.",
    topology.STORE: "What the store workers write to the database.",
    topology.EVENTS_LOG: "All events, kept for a while, for consumers that start from any offset or time: a stream.",
    CONSUMER: "A consumer's own queue, with the events that it selected; the oldest are dropped beyond its limits.",
    topology.DEAD: "What workers failed on again and again, whole, with the reason.",
    topology.UNROUTED: "What no queue wanted.",
    REPLY: "The request's `reply_to`: the direct reply-to of the ingress that asks.",
}
_REQUESTS = "Requests whose sender waits for a worker's answer."
_KEPT = {"durable": True, "autoDelete": False}


def document() -> Part:
    """Return the document, ready to be encoded as JSON."""
    known: dict[str, list[shapes.Shape]] = {"": [*_OWN]}
    for platform in registry.platforms().values():
        every = (shapes.shapes(platform, event) for event in platform.events)
        known[platform.name] = [shape for types in every for each in types.values() for shape in each]
        if platform.announcement is not None:
            known[platform.name] += [platform.announcement.payload, AllocationRecord]
    parts = shapes.components(known)
    described = messages(parts)
    declared = topology.topology()
    channels = _channels(declared, described)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Crossdock", "version": version("crossdock"), "description": _ABOUT},
        "defaultContentType": cloudevents.JSON,
        "servers": {
            "rabbitmq": {
                "host": "{host}",
                "protocol": "amqp",
                "protocolVersion": "0-9-1",
                "description": "RabbitMQ 3.10 to 4.x. User, password and virtual host are those of `AMQP_URL`.",
                "variables": {"host": {"default": "localhost:5672", "description": "Host and port of `AMQP_URL`."}},
                "security": [{"type": "userPassword"}],
            }
        },
        "channels": channels,
        "operations": _operations(declared, channels, described),
        "components": {
            "messages": {name: message.definition for name, message in described.items()},
            "schemas": parts.schemas,
        },
    }


_OWN: tuple[shapes.Shape, ...] = (
    cloudevents.CloudEvent,
    erasure.ErasedDocument,
    shapes.InboundHeaders,
    shapes.EventHeaders,
    shapes.DeadHeaders,
    shapes.AnswerHeaders,
)


class _Form(NamedTuple):
    """One form of the routing keys of an exchange, which has a channel of its own."""

    channel: str
    address: str | None
    description: str
    announcement: Announcement | None = None
    """Set if only the events of this announcement have the form; None: all other messages have it."""


def _forms(exchange: str) -> list[_Form]:
    """Return the forms of an exchange's routing keys; one without an address if messages keep the keys they had."""
    description = _CHANNELS.get(exchange, _REQUESTS)
    if exchange == topology.INBOUND:
        return [_Form(exchange, topology.inbound_key("{platform}", "{account}", "{event}"), description)]
    if exchange != topology.EVENTS:
        return [_Form(exchange, None, description)]
    forms = [_Form(exchange, topology.event_key("{type}", "{account}"), description)]
    for platform in registry.platforms().values():
        if (announcement := platform.announcement) is not None:
            recipient = announcement.recipient
            address = topology.event_key(announcement.event_type, "{account}", f"{{{recipient}}}")
            description = f"The same exchange: one message for each {recipient} that got items of an order."
            forms.append(_Form(f"{exchange}.{recipient}s", address, description, announcement))
    return forms


def _has_form(key: str, form: _Form) -> bool:
    """Return whether a routing key has this one of the forms of its exchange."""
    if form.announcement is None:
        return not any(key.startswith(f"{type_}.") for type_ in registry.announced_types())
    return key.startswith(f"{form.announcement.event_type}.")


def _channels(declared: Topology, messages: dict[str, Message]) -> dict[str, Part]:
    """Return one channel per form of an exchange's routing keys, and one per queue."""
    channels: dict[str, Part] = {}
    queues = {queue.name for queue in declared.queues}
    for exchange in declared.exchanges:
        from_here = _sources(declared, exchange.name)
        for form in _forms(exchange.name):
            name, address = form.channel, form.address
            mine = {
                key: message
                for key, message in messages.items()
                if message.exchange in from_here and _has_form(message.key, form)
            }
            channels[f"{name}.exchange" if name in queues else name] = {
                **_channel(name, address, mine, form.description),
                "parameters": _parameters(address or "", mine, form.announcement),
                "bindings": _binding("routingKey", exchange={"name": exchange.name, "type": exchange.type, **_KEPT}),
                "x-arguments": exchange.arguments,
            }
    for queue in declared.queues:
        bound = [binding for binding in declared.bindings if binding.queue == queue.name]
        channels[queue.name] = {
            **_channel(queue.name, queue.name, _arriving(declared, queue.name, messages)),
            "bindings": _binding("queue", queue={"name": queue.name, "exclusive": False, **_KEPT}),
            "x-arguments": queue.arguments,
            "x-bindings": [{"exchange": binding.exchange, "routingKey": binding.routing_key} for binding in bound],
        }
    channels[CONSUMER] = _consumer(messages)
    channels[REPLY] = _channel(REPLY, None, _arriving(declared, REPLY, messages))
    return {name: {key: value for key, value in channel.items() if value != {}} for name, channel in channels.items()}


def _consumer(messages: dict[str, Message]) -> Part:
    queue, _ = consumers.queues(consumers.Consumer(name="{name}", types=["*"], accounts=["*"]))
    mine = {name: message for name, message in messages.items() if message.exchange == topology.EVENTS}
    return {
        **_channel(CONSUMER, queue.name, mine),
        "parameters": {"name": {"description": "Of the consumer, as it was added."}},
        "bindings": _binding("queue", queue={"name": queue.name, "exclusive": False, **_KEPT}),
        "x-arguments": queue.arguments,
    }


def _channel(name: str, address: str | None, messages: Iterable[str], description: str | None = None) -> Part:
    return {
        "address": address,
        "title": name,
        "description": description or _CHANNELS.get(name, _REQUESTS),
        "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in messages},
    }


def _binding(is_: str, **named: Part) -> Part:
    return {"amqp": {"is": is_, **named, "bindingVersion": BINDING_VERSION}}


def _parameters(address: str, messages: dict[str, Message], announcement: Announcement | None) -> Part:
    """Return the parameters of an address, with the values that the routing keys allow; accounts are not listed."""
    keys = [message.key for message in messages.values()]
    parameters = {
        "platform": {"enum": sorted({key.partition(".")[0] for key in keys})},
        "event": {"enum": sorted({key.rpartition(".")[2] for key in keys})},
        "type": {"description": "The event's type.", "enum": sorted(key.removesuffix(".*") for key in keys)},
        "account": {"description": "Account of the platform, as in the configuration."},
    }
    if announcement is not None:
        parameters[announcement.recipient] = {"description": announcement.recipient_id}
    return {name: parameters[name] for name in parameters if f"{{{name}}}" in address}


def _sources(declared: Topology, exchange: str) -> set[str]:
    """Return the exchange, and those that route to it what they have no queue for."""
    return {exchange} | {
        other.name for other in declared.exchanges if other.arguments.get("alternate-exchange") == exchange
    }


def _arriving(declared: Topology, queue: str, messages: dict[str, Message]) -> dict[str, Message]:
    """Return the messages that may be in a queue, through its bindings or published to it directly."""
    kinds = {exchange.name: exchange.type for exchange in declared.exchanges}
    routes = [
        (
            _sources(declared, binding.exchange),
            "#" if kinds[binding.exchange] == "fanout" else binding.routing_key,
        )
        for binding in declared.bindings
        if binding.queue == queue
    ]
    return {
        name: message
        for name, message in messages.items()
        if (message.exchange, message.key) == ("", queue)
        or any(message.exchange in sources and _matches(pattern, message.key) for sources, pattern in routes)
    }


def _matches(pattern: str, key: str) -> bool:
    """Return whether some routing key matches both patterns. `#` is supported alone, as the topology uses it."""
    if pattern == "#":
        return True
    pairs = itertools.zip_longest(pattern.split("."), key.split("."))
    return all(None not in pair and (pair[0] == pair[1] or "*" in pair) for pair in pairs)


def _operations(declared: Topology, channels: dict[str, Part], messages: dict[str, Message]) -> dict[str, Part]:
    """Return Crossdock's operations: it sends to exchanges and to consumers' queues, and receives from work queues."""
    operations: dict[str, Part] = {}
    answered = {topology.reply_queue(platform.name) for platform in registry.platforms().values()}
    work = {queue.name for queue in declared.queues if queue.arguments.get("x-dead-letter-routing-key")}
    published_to = {message.exchange for message in messages.values()}
    for name, channel in channels.items():
        if name == REPLY or channel["bindings"]["amqp"].get("exchange", {"name": ""})["name"] not in published_to:
            continue
        direct = [key for key in channel["messages"] if (messages[key].exchange, messages[key].key) == ("", name)]
        if name in work:
            summary = "Workers of Crossdock, as many as there are, share these."
            operations[f"receive.{name}"] = _operation("receive", name, channel["messages"], summary)
        if direct or name not in work:
            summary = "Crossdock publishes these."
            if not direct and channel["bindings"]["amqp"]["is"] == "queue":
                summary = "The broker routes these here; Crossdock has published them to an exchange."
            operations[f"send.{name}"] = _operation("send", name, direct or channel["messages"], summary)
        if name in work & answered:
            operations[f"receive.{name}"]["reply"] = _target(REPLY, channels[REPLY]["messages"])
    return operations


def _operation(action: str, channel: str, messages: Iterable[str], summary: str) -> Part:
    how: Part = {"ack": True} if action == "receive" else {"deliveryMode": properties.PERSISTENT}
    bindings = {"amqp": {**how, "bindingVersion": BINDING_VERSION}}
    return {"action": action, "summary": summary, **_target(channel, messages), "bindings": bindings}


def _target(channel: str, messages: Iterable[str]) -> Part:
    return {
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }
