"""The deliver worker: posts due deliveries to subscribers' servers, and records every attempt.

It does not decide which subscribers get an event (the store worker does), and holds no transaction open during a call.
Begin with `worker.DeliverWorker`, then `dispatcher.Dispatcher` (one subscription) and `attempt` (one POST).
"""
