"""The store worker: decode a batch, write it in one transaction, publish its events, acknowledge it.

It sends no webhook and answers nobody: deliveries are rows (`outbox`), answers are the route worker's.
Begin with `worker.StoreWorker`, then `prepare` (decide), `write.write` (the transaction) and `versions` (the rule).
"""
