"""How everything runs: configuration, logs, the frame of a process, the command line, `crossdock up`, the demo.

No processing of messages: a component that does some belongs in `ingress` or `workers`, and is only started here.
Begin with `process.run`, which every process goes through, and `config.load`.
"""
