"""What real senders, servers and networks do: a test for each public report, which its docstring names."""
