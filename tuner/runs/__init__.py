"""A run's folder: its files, what happened in it as events, and who may write there.

Uses `space` and the standard library. Start with `events`, then `journal` and `results`.
"""
