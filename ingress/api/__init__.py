"""The HTTP API: subscriptions for subscribers, deliveries and replays for subscribers and operators.

It needs PostgreSQL and never RabbitMQ; it sends no webhook itself, but writes rows that `workers.deliver` reads.
Begin with `routes.V1` (every route once), then `app.ApiApp` (one request) and `subscriptions` (the handlers).
"""
