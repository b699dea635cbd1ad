"""The deliver worker: sends what is due to subscribers, and records every attempt.

What is due was decided by the store worker; nothing here reads a queue of RabbitMQ.
Begin with `worker.py`, then `dispatcher.py`: one subscription's deliveries.
"""
