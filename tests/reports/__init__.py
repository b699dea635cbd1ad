"""What people have reported of systems like this one: a file per kind of report, a test per report.

A report that is new becomes a test here first. Each test names the report (`repository#number`) that it stands for;
README.md lists all of them.
Begin with `test_receivers`: what people report of subscribers.
"""
