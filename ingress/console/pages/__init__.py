"""The pages and actions of the console: each module has the routes of one part in its `ROUTES`.

A page reads what it shows into a Struct and names the template that shows it; it holds no HTML and no SQL.
Begin with `login`, the shortest.
"""
