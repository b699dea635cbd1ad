"""Which quarantined messages an erasure covers, whatever they are."""

import pytest

from schemas import documents
from storage.mentions import mentions

MESSAGE = b'{"channelOrderId": "STO1", "other": ["4600000039"]}'


def is_about(name: str, raw: bytes, stage: str) -> bool:
    return mentions(raw, [name], platform="channelape", event="stock_transfer_order", content_type=None, stage=stage)


def test_a_message_that_may_have_ended_a_worker_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "describe", lambda *_: pytest.fail("read by its platform"))
    assert is_about("STO1", MESSAGE, "failed")
    assert not is_about("STO", MESSAGE, "failed")
    assert is_about("STO1", b"<order>STO1</order>", "failed")


@pytest.mark.parametrize("error", [ValueError("ours"), RecursionError(), MemoryError(), AttributeError("x")])
def test_any_error_of_a_reader_leaves_the_text_to_be_searched(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def describe(*_: object) -> None:
        raise error

    monkeypatch.setattr(documents, "describe", describe)
    assert is_about("4600000039", MESSAGE, "refused")
    assert not is_about("STO2", MESSAGE, "refused")
