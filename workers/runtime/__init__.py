"""What queue workers share: the batch loop, outcomes, the rehearsal of suspicious messages, the watchdog.

`loop` is the only code that acknowledges batches; nothing here knows what a message means or where it is stored.
Begin with `loop.BatchConsumer` and `outcomes`; `rehearsal` explains how a message is proven to end its worker.
"""
