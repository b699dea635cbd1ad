"""The benchmarks: what the pipeline takes and delivers, and what that costs, beside peers that do the same work.

Nothing of production imports this, and no test measures what belongs here. Results are in README.md.
Begin with `stages` (what is measured) and `row` (what a measurement comes to); `make bench` runs all of it.
"""
