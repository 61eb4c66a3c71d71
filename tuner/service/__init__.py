"""One search from start to end, its continuation, and orders to it.

Uses everything below. Start with `driver`.
"""
