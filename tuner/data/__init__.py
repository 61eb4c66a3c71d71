"""Data sets as tensors: the published ones, a user's own files, and which samples are labelled.

Uses the kit and torch. Start with `datasets`.
"""
