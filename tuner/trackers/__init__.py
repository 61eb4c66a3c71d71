"""Trackers: W&B, MLflow and Prometheus, which follow a search. A tracker that fails never ends a search.

Uses `runs`. Start with `wandb`. To add one: a class with the methods of `tuner.runs.events.Listener`, in a file here, and an instance
of it from `asked_for` in `service/trackers.py`; `mirror` keeps one that takes its time off the search's path.
"""
