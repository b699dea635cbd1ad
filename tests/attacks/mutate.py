"""Invalid inputs: mutations of stored examples. The same seed makes the same inputs."""

import random
from collections.abc import Sequence

from tests.support.bodies import NASTY

_TOKENS: tuple[bytes, ...] = (
    *(
        b"\x00",
        b"\xff",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\x80",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\\u0000",
        b"\\ud800",
    ),
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b": ", b"%00", b"%ff", b"%", b"&", b"=", b"?", b"*", b"**", b"..", b"//"),
    *(b"{", b"}", b"[", b"]", b'"', b",", b"-1", b"0", b"1e999", b"18446744073709551616", b"chunked"),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 0\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n"),
    *(b"Content-Encoding: gzip\r\n", b"Authorization: Basic ", b"Connection: close\r\n"),
)
_LONGEST = 64 * 1024


class Mutator:
    """Makes an input from `seeds` with each call."""

    def __init__(self, seeds: Sequence[bytes], seed: int = 0) -> None:
        self._seeds = list(seeds)
        self._draw = random.Random(seed)

    def __call__(self) -> bytes:
        draw = self._draw
        data = bytearray(draw.choice(self._seeds))
        for _ in range(draw.choice((0, 1, 1, 1, 2, 2, 3, 5, 8))):
            at = draw.randrange(len(data) + 1)
            end = min(len(data), at + draw.choice((1, 2, 4, 16, 64)))
            match draw.randrange(8):
                case 0 | 1 if at < len(data):
                    data[at] ^= 1 << draw.randrange(8)
                case 2:
                    del data[at:end]
                case 3:
                    data[at:at] = data[at:end] * draw.choice((1, 2, 40))
                case 4:
                    data[at:end] = draw.choice(_TOKENS)
                case 5:
                    data[at:at] = draw.choice(_TOKENS)
                case 6:
                    other = draw.choice(self._seeds)
                    data[at:] = other[draw.randrange(len(other) + 1) :]
                case _:
                    data[at:end] = draw.choice(NASTY)
        return bytes(data[:_LONGEST])
