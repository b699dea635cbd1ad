"""AMQP frames as a broker sends them to a connection that consumes and publishes."""

import pamqp.frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

PROPERTIES = Basic.Properties(message_id="m-1", headers={"a": "b"})


def content(method: Basic.Deliver | Basic.Return, body: bytes, channel: int = 1, piece: int = 100_000) -> bytes:
    parts = [body[start : start + piece] for start in range(0, len(body), piece)]
    frames = [method, ContentHeader(0, len(body), PROPERTIES), *map(ContentBody, parts)]
    return b"".join(pamqp.frame.marshal(frame, channel) for frame in frames)


def deliver(tag: int, *, redelivered: bool = False) -> Basic.Deliver:
    return Basic.Deliver("consumer", tag, redelivered, "exchange", "key")


def stream() -> tuple[bytes, bytes]:
    """Return frames of every kind in one stream, and those of them that are passed to the library."""
    other = pamqp.frame.marshal(Basic.ConsumeOk("consumer"), 1)
    beat = pamqp.frame.marshal(Heartbeat(), 0)
    cold = content(deliver(9), b"for another channel", channel=2)
    close = pamqp.frame.marshal(Channel.Close(404, "no", 0, 0), 1)
    sent = (
        other
        + content(deliver(1), b"one")
        + beat
        + content(deliver(2, redelivered=True), b"")
        + cold
        + pamqp.frame.marshal(Basic.Ack(7, True), 1)
        + content(Basic.Return(312, "NO_ROUTE", "e", "k"), b"came back")
        + pamqp.frame.marshal(Basic.Nack(8, False), 1)
        + content(deliver(3), bytes(range(256)) * 40, piece=1000)
        + close
    )
    return sent, other + beat + cold + close
