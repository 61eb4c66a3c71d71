"""One trial, or many in one step: the loop, its two engines and what they keep. Knows no Ray and no search space.

Uses `data`, the kit and torch. Start with `loop`, then `solo` and `pack`.
"""
