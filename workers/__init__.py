"""The processes that work on queues and on the database: `store`, `route`, `deliver`, `poll`.

No worker imports another one; what they share is in `runtime`.
Begin with `runtime/loop.py`, then `store/worker.py`.
"""
