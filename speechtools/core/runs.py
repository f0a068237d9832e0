"""Runs of equal values."""

import numpy as np


def runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First index and end (exclusive) of each maximal run of equal values (values,).

    Examples
    --------
    >>> firsts, ends = runs(np.array([1, 1, 0, 1]))
    >>> firsts.tolist(), ends.tolist()
    ([0, 2, 3], [2, 3, 4])
    """
    edges = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.concatenate([[0], edges]), np.concatenate([edges, [len(values)]])


def true_runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """First index and end (exclusive) of each run of true values of (values,).

    Examples
    --------
    >>> true_runs(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]
