"""The `crossdock` command, one module per group of commands.

A command reads its options, calls the other packages and prints; heavy imports wait until it is called.
Begin with `main`; `errors` turns foreseeable errors into one line, `servers` finds the servers.
"""
