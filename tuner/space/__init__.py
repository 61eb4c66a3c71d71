"""A YAML file becomes a checked `Spec`: what is varied, how, on which data, and what decides.

Uses `training` for its checks. Start with `reader`, which reads a file, and `spec`, which says what it came to.
"""
