"""The ceiling of the broker: prepared frames, a plain socket, confirms only counted.

One persistent, mandatory message is repeated, with at most WINDOW unconfirmed. No library, no event loop.
python bench/peers/raw_publish.py AMQP_URL EXCHANGE ROUTING_KEY COUNT < body    prints the rate
"""

import socket
import struct
import sys
import time
from urllib.parse import unquote, urlsplit

import pamqp.frame
from pamqp import base, commands, header

WINDOW = 2000
BLOCK = 200
"""Messages per write to the socket."""
ACK, NACK = 80, 120


class Wire:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._wait(commands.Connection.Start)
        login = f"\0{unquote(parts.username)}\0{unquote(parts.password)}"
        self._say(0, commands.Connection.StartOk({}, "PLAIN", login, "en_US"))
        tune = self._wait(commands.Connection.Tune)
        self._say(0, commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self._say(0, commands.Connection.Open(unquote(parts.path[1:]) or "/"))
        self._wait(commands.Connection.OpenOk)
        self._say(1, commands.Channel.Open())
        self._wait(commands.Channel.OpenOk)
        self._say(1, commands.Confirm.Select())
        self._wait(commands.Confirm.SelectOk)

    def _say(self, channel: int, frame: base.Frame) -> None:
        self._socket.sendall(pamqp.frame.marshal(frame, channel))

    def _wait(self, expected: type) -> base.Frame:
        while True:
            taken, _, frame = pamqp.frame.unmarshal(self._rest) if len(self._rest) >= 7 else (0, 0, None)
            if frame is None or not taken:
                self._rest += self._socket.recv(65536)
                continue
            self._rest = self._rest[taken:]
            if isinstance(frame, expected):
                return frame

    def publish(self, message: bytes, count: int) -> None:
        sent = confirmed = 0
        block = message * BLOCK
        while confirmed < count:
            while sent < count and sent - confirmed <= WINDOW - BLOCK:
                self._socket.sendall(block)
                sent += BLOCK
            confirmed = max(confirmed, self._confirmed())

    def _confirmed(self) -> int:
        """Return the highest confirmed tag; quorum queues confirm in order, so all tags below it are confirmed too."""
        data = self._rest + self._socket.recv(262_144)
        at = highest = 0
        while len(data) >= at + 7:
            (size,) = struct.unpack_from(">I", data, at + 3)
            if len(data) < at + 8 + size:
                break
            if data[at] == 1:
                group, method = struct.unpack_from(">HH", data, at + 7)
                if group != 60 or method != ACK:
                    raise RuntimeError(f"the broker sent {group}.{method} instead of a confirm")
                highest = max(highest, struct.unpack_from(">Q", data, at + 11)[0])
            at += 8 + size
        self._rest = data[at:]
        return highest


def main(url: str, exchange: str, key: str, text: str, body: bytes) -> None:
    count = -(-int(text) // BLOCK) * BLOCK
    properties = commands.Basic.Properties(content_type="application/json", delivery_mode=2, message_id="bench")
    message = b"".join(
        (
            pamqp.frame.marshal(commands.Basic.Publish(exchange=exchange, routing_key=key, mandatory=True), 1),
            pamqp.frame.marshal(header.ContentHeader(0, len(body), properties), 1),
            struct.pack(">BHI", 3, 1, len(body)) + body + b"\xce",
        )
    )
    wire = Wire(url)
    started = time.perf_counter()
    wire.publish(message, count)
    print(count / (time.perf_counter() - started))


if __name__ == "__main__":
    main(*sys.argv[1:5], sys.stdin.buffer.read())
