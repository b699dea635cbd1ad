"""The store worker: decode a batch, write it in one transaction, publish its events, acknowledge it.

It sends no webhooks and no answers: deliveries are rows (`outbox`), and senders are answered by the route worker.
Begin with `worker.StoreWorker`, then `prepare` (decode and decide), `write.write` (the transaction) and `versions`
(the rule that the transaction applies).
"""
