"""The `crossdock` command: one module per group of commands.

Heavy imports wait for the call, and an error is one line that says what to do.
Begin with `main.py`.
"""
