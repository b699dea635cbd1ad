"""`make demo`: starts the whole pipeline, posts one signed example of every event, shows where each came out.

It uses public interfaces only (HTTP, AMQP, views), as a user would; no other package depends on it.
Begin with `__main__`; `follow` decides whether an example has arrived.
"""
