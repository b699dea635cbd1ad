"""The poll worker: fetches orders of Apicbase customers who can't post webhooks, and publishes them.

What it publishes looks like a webhook to everything behind the queue; it stores no document itself.
Begin with `worker.PollWorker` (leases), then `poller.Poller` (one poll of one account), `client` (the API) and `pages`
(what the API answers).
"""
