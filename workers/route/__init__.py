"""The route worker: answers senders that wait, by the rules of their account.

It needs RabbitMQ only; what it answers is stored by the store worker.
Begin with `worker.py`, then `rules.py` and `conditions.py`.
"""
