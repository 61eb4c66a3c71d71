"""A trained model is used: a cluster for every sample, the model as a program for other places, and as a scikit-learn estimator.

Uses a run's folder, the space, the engine and the data. Start with `assign`.
"""
