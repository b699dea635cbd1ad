"""What queue workers share: the batch consumer, outcomes, the rehearsal of redelivered messages, the watchdog.

`batch_consumer` is the only code that acknowledges batches; nothing here knows what a message means or where it is
stored. Begin with `batch_consumer.BatchConsumer` and `outcomes`; `rehearsal` explains how it is proven that a message
ends its worker.
"""
