"""Message properties by the fast encoder, held against the general one."""

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas import properties
from schemas.envelope import Envelope, Stamp, from_properties, to_properties
from schemas.topology import shard_key

NAME = "0193f2a4-5b6c-7d8e-9f01-23456789abcd"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECONDS = 1_795_685_400.25
MOMENT = datetime.fromtimestamp(SECONDS, UTC)


@pytest.mark.parametrize("content_type", [None, "application/json; charset=utf-8"])
@pytest.mark.parametrize("reply_to", [None, "amq.rabbitmq.reply-to"])
@pytest.mark.parametrize("more", [{}, {"deadline": SECONDS + 2, "language": "de, en;q=0.5"}])
def test_a_stamp_is_what_the_general_encoder_makes(
    content_type: str | None, reply_to: str | None, more: dict[str, Any]
) -> None:
    stamp = Stamp("channelape", "rothys", "receipt_confirmation", content_type, reply_to)
    about = Envelope(
        message_id=NAME, platform="channelape", account="rothys", event="receipt_confirmation", received_at=MOMENT,
        content_type=content_type, traceparent=TRACE, reply_to=reply_to, **more,
    )  # fmt: skip
    stamped = stamp(NAME, SECONDS, TRACE, *more.values())
    assert from_properties(stamped) == about
    assert dict(properties.decode(stamped)) == dict(properties.decode(to_properties(about).marshal()))


@pytest.mark.parametrize("shards", [2, 64])
def test_with_shards_a_stamp_names_one(shards: int) -> None:
    stamped = Stamp("apicbase", "acme", "purchase_order", None, None, shards=shards)(NAME, SECONDS, TRACE)
    headers = properties.decode(stamped).headers
    assert headers is not None
    assert headers["BCC"] == [shard_key(NAME, shards)]
    assert from_properties(stamped).message_id == NAME
