"""The poll worker: fetches orders from the APIs of platforms whose customers cannot post webhooks, and publishes them.

What it publishes looks like a webhook to everything behind the queue; it stores no document itself.
Begin with `worker.PollWorker` (leases), then `poller.Poller` (one poll), `client` and `source` (the API's interface),
and `pages` (what the API answers).
"""
