"""Every platform's example as an event for the dialects."""

from datetime import UTC, datetime

from schemas import documents, registry
from schemas.outbound import Event

NOW = 1_795_250_000


def event(platform: str, name: str, raw: bytes | None = None) -> Event:
    hook = registry.event(platform, name)
    raw = registry.example(platform, hook.examples[0]) if raw is None else raw
    document = documents.describe(registry.platforms()[platform], hook.name, raw)
    return Event(
        id="01932d5e-0000-8000-8000-000000000001",
        platform=platform,
        account="a",
        type=document.reading.type,
        key=document.reading.key,
        version=2,
        received_at=datetime(2026, 11, 21, 8, 30, 0, 123456, UTC),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        raw=raw,
        data=document.data,
    )


EVERY = [
    event(platform.name, hook.name, registry.example(platform.name, example))
    for platform in registry.platforms().values()
    for hook in platform.events
    for example in hook.examples
]
