"""Single modules, without any server: pure functions, documents, configuration, and what the repository promises.

What needs RabbitMQ or PostgreSQL belongs to `tests.integration`.
Begin with the package or module that is named as the production code it tests, for example `test_config`.
"""
