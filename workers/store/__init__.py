"""The store worker: decode, write in one transaction, announce.

It decides who receives what, and never sends a webhook itself.
Begin with `worker.py`, then `write.py`: the steps of the transaction.
"""
