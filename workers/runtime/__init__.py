"""What queue workers share: the batch loop, outcomes, the rehearsal of suspicious messages, the watchdog.

`batch_consumer` alone acknowledges batches; nothing here knows what a message means or where it is stored.
Begin with `batch_consumer.BatchConsumer` and `outcomes`; `rehearsal` explains how a message is proven to end its
worker.
"""
