"""Configuration, logs, the frame of a process, the command line, `crossdock up` and the demo.

Nothing here processes messages: components that do belong in `ingress` or `workers`, and are only started here.
Begin with `process.run`, which every process goes through, and `config.load`.
"""
