"""What every process needs to be observed: supervised background tasks, logs, cheap metrics, exemplars,
traces.

No metric of a particular process is defined here, and nothing here knows a broker, a database or a platform.
Begin with `background.Background`: every long-lived task of the other packages is started through it.
"""
