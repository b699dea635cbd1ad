"""What workers share: the loop that takes, handles and acks batches, and the proof of blame.

This is the only code that acks messages; nothing here knows what a message means.
Begin with `loop.py`, then `rehearsal.py`.
"""
