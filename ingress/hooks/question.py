"""What a request holds while its sender waits for a worker: the body, a timer, and a place among the replies."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingress.hooks.request import WebhookRequest


class Question:
    """The question of one request to the workers, until `close`. It is the listener of its own message's confirm."""

    __slots__ = ("_is_open", "_properties", "_request", "_timer", "body")

    def __init__(self, request: "WebhookRequest", timeout: float, properties: bytes, body: bytes) -> None:
        """Wait at most `timeout` seconds for an answer. Raises BrokerUnavailableError if too many bodies are held.

        `properties`: those of the message that a worker is to answer.
        """
        request.broker.publisher.hold(len(body))
        request.broker.replies.expect(request.id, request)
        self._timer = asyncio.get_running_loop().call_later(timeout, request.timed_out)
        self._request = request
        self._properties = properties
        self._is_open = True
        self.body = body

    def ask(self) -> None:
        """Publish the question to the workers' queue alone; again, if the answer to the first one is lost."""
        request = self._request
        queue, publish = request.route.questions, request.broker.publisher.publish_for
        try:
            publish(self, "", queue, self._properties, request.id, self.body)
        except Exception as error:
            request.question_failed(error)

    def close(self) -> None:
        """Stop the timer, ignore further answers, and release the body that is held; further calls do nothing."""
        if self._is_open:
            self._is_open = False
            self._timer.cancel()
            self._request.broker.replies.forget(self._request.id)
            self._request.broker.publisher.release(len(self.body))

    def done(self) -> bool:
        """Return whether an answer would be ignored."""
        return not self._is_open or self._request.done()

    def set_result(self, nothing: None) -> None:
        """Handle the broker's confirm of the question."""
        self._request.question_confirmed()

    def set_exception(self, error: Exception) -> None:
        """Handle that the question is not known to have reached the workers' queue."""
        self._request.question_failed(error)
