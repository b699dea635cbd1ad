"""The API: subscriptions for subscribers, operations for operators. Needs the database, and never RabbitMQ."""
