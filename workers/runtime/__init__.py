"""What queue workers share: the batch consumer, outcomes, the rehearsal of redelivered messages, the watchdog.

`batch_consumer` alone acknowledges batches; nothing here knows what a message means or where it is stored.
Begin with `batch_consumer.BatchConsumer` and `outcomes`; `rehearsal` explains how a message is proven to end its
worker.
"""
