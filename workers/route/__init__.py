"""The route worker: answers requests whose senders wait.

It needs no database: it publishes its answer, and if necessary a record of it, which the store worker writes.
Begin with `worker.RouteWorker`, then `answers` (the interface); each platform that is answered has a module here.
"""
