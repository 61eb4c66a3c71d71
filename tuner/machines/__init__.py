"""Ray clusters: how one is joined, started, examined, and handed a search.

Uses `space`, `stores` and Ray. Start with `cluster`.
"""
