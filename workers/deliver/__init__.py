"""The deliver worker: posts what is due to subscribers, and records every attempt.

It never decides who gets an event (the store worker does) and holds no transaction open during a call.
Begin with `worker.DeliverWorker`, then `dispatcher.Dispatcher` (one subscription) and `attempt` (one POST).
"""
