"""Injects faults into a pipeline under load, and counts what was lost: `make faults`.

The tests here run a selection of it; what breaks one worker alone is tested in `tests.integration`.
Begin with `suite` (all faults and mutants) and `trial` (one fault, from its beginning to the verdict).
"""
