"""Reading a body whose sender has gone."""

from unittest.mock import AsyncMock, Mock

import pytest

from ingress.hooks import body


async def test_a_sender_that_left_before_100_continue_is_not_an_error() -> None:
    request = Mock(content_length=2, headers={"Expect": "100-continue"})
    request.writer.write = AsyncMock(side_effect=ConnectionResetError("Cannot write to closing transport"))
    with pytest.raises(body.BrokenBodyError):
        await body.read(request, body.BodyBudget(100), limit=10, timeout=1)
