"""The dip test of unimodality (Hartigan & Hartigan 1985, https://doi.org/10.1214/aos/1176346577), in numpy, on the host.

The dip is the distance of a sample's distribution function to the nearest unimodal one: convex up to the mode, concave behind it.
"""

import numpy as np
from scipy.optimize import isotonic_regression


def dip(sample_N):
    """The dip, in [1 / 2N, 1 / 4]; 0 of fewer than four numbers, or of equal ones. Equal numbers are one step."""
    x_U, n_U = np.unique(sample_N, return_counts=True)
    N = len(sample_N)
    if N < 4 or len(x_U) == 1:
        return 0.0
    above_U = np.cumsum(n_U).astype(float)  # the steps of the distribution function, times N: behind each number, and before it
    below_U = above_U - n_U
    low, high, most = 0, len(x_U) - 1, 1.0
    while high > low:
        part = slice(low, high + 1)
        width = np.diff(x_U[part])
        minorant, bends_up = _hull(below_U[part], width, 1)
        majorant, bends_down = _hull(above_U[part], width, -1)
        gap = majorant - minorant
        at = int(gap.argmax())
        if gap[at] <= most:
            break
        # The mode lies between the last bend of the one before the widest gap, and the first bend of the other behind it.
        first, last = bends_up[bends_up <= at][-1], bends_down[bends_down >= at][0]
        most = max(most, (above_U[part] - minorant)[: first + 1].max(), (majorant - below_U[part])[last:].max())
        if (first, last) == (0, high - low):
            break
        low, high = low + first, low + last
    return most / (2 * N)


def _hull(y_U, width, sign):
    """The greatest convex minorant of points (`sign` 1), or the least concave majorant (-1), at every point, and where it touches them.

    Its slopes are the isotonic regression of the points' slopes, weighted by their widths.
    """
    fit = isotonic_regression(np.diff(y_U) / width, weights=width, increasing=sign > 0)
    hull_U = np.concatenate([y_U[:1], y_U[0] + np.cumsum(fit.x * width)])
    hull_U[fit.blocks] = y_U[fit.blocks]  # exactly, where the sum has rounded
    return hull_U, fit.blocks


def dip_p(value, n):
    """The probability that a uniform sample of n numbers has a dip as large: the closed form of Bauer, Leiber, Böhm & Plant 2023,
    https://doi.org/10.1137/1.9781611977653.ch8, fitted to the distribution that others look up in a table."""
    if n < 4:
        return 1.0
    e = np.exp(6.5 - (17.30784022 * np.sqrt(n) + 12.04917889) * value)
    return float(1 - 1 / (0.6 * (1 + 1.6 * e) ** 0.625 + 0.4 * (1 + 0.2 * e) ** 5))
