"""The peculiarities of each platform: traps in its documents, its wire format, its signatures.

What holds for every platform is in `tests.contract`.
Begin with the traps of one, for example `test_channelape_traps`.
"""
