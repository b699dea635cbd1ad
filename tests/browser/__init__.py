"""The console in a real browser: what only Chromium can tell, from contrast to what a hostile text does to a page.

What HTML alone shows is tested in `tests.integration.console`, which is faster.
Begin with `test_pages`, which asks the same questions of every page.
"""
