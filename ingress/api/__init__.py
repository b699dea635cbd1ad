"""The API: subscriptions for subscribers, operations for operators.

It needs the database and never RabbitMQ.
Begin with `routes.py`, which lists every route, then `context.py` and `subscriptions.py`.
"""
