"""What all workers share: batches under way, and the rehearsal of messages that may end a process.

Real queues and killed workers are tested in `tests.integration`.
Begin with `test_batch_consumer`.
"""
