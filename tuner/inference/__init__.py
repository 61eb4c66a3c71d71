"""A trained model is used: a cluster for every sample, and the model as a program for other places.

Uses a run's folder, the space, the engine and the data. Start with `assign`.
"""
