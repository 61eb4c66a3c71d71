"""What is tried next and what it was worth: proposals, the study, the training of one trial, and how a search goes on. Knows no Ray.

Uses `runs`, `space`, `training` and Optuna. Start with `proposals`, then `trainer`.
"""
