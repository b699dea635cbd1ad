"""What RabbitMQ says, without RabbitMQ: frames, confirms, refusals and ids.

Real connections are tested in `tests.integration`.
Begin with `test_publisher`: when a publish succeeds, fails or is repeated.
"""
