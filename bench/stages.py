"""Maps code to the stage that it belongs to, by its file."""

Rule = tuple[str, str, str]
"""Part of the file's path, start of the function's name (empty: all), stage. The first match counts."""

LOOP = "loop"
"""Stage of a stack without Python code of another stage: the event loop, sockets, timers, and the C code it calls."""

RULES: dict[str, tuple[Rule, ...]] = {
    "ingress": (
        ("/ingress/hooks/body.py", "", "read"),
        ("/ingress/connections.py", "answer", "answer"),
        ("/ingress/connections.py", "", "read"),
        ("/aiohttp/web_protocol.py", "", "read"),
        ("/aiohttp/streams.py", "", "read"),
        ("/aiohttp/base_protocol.py", "", "read"),
        ("/schemas/platforms/", "", "verify"),
        ("/yarl/", "", "verify"),  # the query, which is decoded for the signature's sake alone
        ("/broker/", "", "publish"),
        ("/schemas/envelope.py", "", "publish"),
        ("/aiormq/", "", "publish"),
        ("/ingress/hooks/metrics.py", "", "log and count"),
        ("/ingress/hooks/metrics.py", "", "log and count"),
        ("/ingress/hooks/handler.py", "record", "log and count"),
        ("/ingress/hooks/", "", "answer"),
        ("/aiohttp/", "", "answer"),
    ),
    "store": (
        ("/workers/store/announce", "", "publish"),
        ("/schemas/cloudevents.py", "", "publish"),
        ("/broker/publisher", "", "publish"),
        ("/broker/consumer.py", "ack", "ack"),
        ("/workers/runtime/", "_settle", "ack"),
        ("/broker/", "", "consume"),
        ("/schemas/properties.py", "", "consume"),
        ("/workers/runtime/", "", "consume"),
        ("/aiormq/", "", "ack"),  # deliveries and confirms never reach the library
        ("/workers/store/prepare.py", "", "decode"),
        ("/schemas/", "", "decode"),
        ("/workers/store/worker.py", "_handle", "decode"),
        ("/workers/store/worker.py", "_announce", "publish"),
        ("/workers/store/", "", "write"),
        ("/storage/", "", "write"),
        ("/asyncpg/", "", "write"),
    ),
    "deliver": (
        ("/workers/deliver/attempt/", "", "deliver: post"),
        ("/schemas/dialects/", "", "deliver: make and sign"),
        ("/schemas/", "", "deliver: make and sign"),
        ("/workers/deliver/content.py", "", "deliver: make and sign"),
        ("/storage/", "", "deliver: read and write down"),
        ("/asyncpg/", "", "deliver: read and write down"),
        ("/workers/deliver/writer.py", "", "deliver: read and write down"),
        ("/workers/deliver/loader.py", "", "deliver: read and write down"),
        ("/workers/deliver/", "", "deliver: decide"),
    ),
}
"""Rules by kind of process. They name folders rather than functions where possible, because those change less."""

ORDER = {
    "ingress": ("read", "verify", "publish", "log and count", "answer", LOOP),
    "store": ("consume", "decode", "write", "publish", "ack", LOOP),
    "deliver": (
        "deliver: read and write down",
        "deliver: make and sign",
        "deliver: post",
        "deliver: decide",
        LOOP,
    ),
}
"""The stages in the order in which a message passes them."""


def stage(rules: tuple[Rule, ...], file: str, function: str) -> str | None:
    """Return the stage of a function, or None if its caller's stage counts."""
    return next((name for part, start, name in rules if part in file and function.startswith(start)), None)
