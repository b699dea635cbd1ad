"""The route worker: answers senders that wait (uStore's manufacturers, Apicbase's verdict).

It needs no database: it publishes its answer, and for uStore a record of it, which the store worker writes.
Begin with `worker.RouteWorker`, then `answers` (per platform), `allocate` and `rules`; `explain` is for people.
"""
