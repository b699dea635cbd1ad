"""`crossdock up`: private servers and all processes on this machine.

It touches no server that it has not started, unless DATABASE_URL or AMQP_URL names it.
Begin with `up.py`, then `supervisor.py`.
"""
