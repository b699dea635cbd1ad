"""What every platform must do, and what we rely on in libraries beyond what they document.

Each platform's own peculiarities are tested in `tests.unit.platforms`.
Begin with `checks` (the examples as cases) and `test_platforms` (what holds for each of them).
"""
