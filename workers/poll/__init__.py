"""The poll worker: fetches orders of Apicbase customers who cannot post webhooks.

It publishes them as if they had been posted, and stores nothing but how far it has read.
Begin with `worker.py`, then `poller.py`.
"""
