"""Arrays of vectors, without torch."""

import numpy as np


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (…, size) divided by their lengths; zeros stay zeros.

    >>> unit(np.array([3.0, 4.0])).tolist()
    [0.6, 0.8]
    """
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
