"""Who else hears of a search: W&B and Prometheus. Each is a listener, and its failure never ends a search.

Uses `runs`. Start with `wandb`.
"""
