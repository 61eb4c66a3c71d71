"""A search through Ray Tune. What tuner needs of Ray's private names stands in `patches` and `asha`.

Uses `search`, `machines` and Ray. Start with `run`, then `actor` and `callback`.
"""
