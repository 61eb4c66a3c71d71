"""A run in a bucket: what is sent there while a search runs, and how it comes back.

Uses `runs` and pyarrow. Start with `store`.
"""
