"""One attempt: a POST that goes where the guard lets it, and what becomes of it."""
