"""A search without training: what trials did is read from a table of earlier ones, under a virtual clock.

Uses `search`, `runs`, `space` and the parts of `tune` that know no cluster. Start with `virtual`.
"""
