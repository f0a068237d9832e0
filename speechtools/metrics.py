"""Figures of merit, as pure functions of numpy arrays (any array-like is taken).

Conventions
-----------
Predicted and true scores are one-dimensional and of equal length; a figure that is not defined for the data (a
correlation over fewer than two points, or of a constant) is ``nan``, never a silent zero. Non-finite input is an error.

Metrics
-------
mse, lcc, srcc : the three of the Quality-Net paper's tables (section 3.1).
"""

import numpy as np

from speechtools.errors import SpeechtoolsError


def validate(predicted, true) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 vectors of one length; raises SpeechtoolsError on other shapes and on non-finite values."""
    predicted, true = np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if predicted.ndim != 1 or predicted.shape != true.shape or predicted.size == 0:
        raise SpeechtoolsError(
            f"Predicted and true scores must be vectors of one length, at least 1; got shapes {predicted.shape} and "
            f"{true.shape}. Flatten them, one score an utterance."
        )
    for name, values in (("predicted", predicted), ("true", true)):
        if not np.isfinite(values).all():
            raise SpeechtoolsError(
                f"{np.count_nonzero(~np.isfinite(values))} of {values.size} {name} scores are NaN or infinite, so no "
                "figure computed from them would mean anything. Remove these utterances or mend the model."
            )
    return predicted, true


def mse(predicted, true) -> float:
    """Mean squared error.

    >>> mse([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    predicted, true = validate(predicted, true)
    return float(np.mean((predicted - true) ** 2))


def lcc(predicted, true) -> float:
    """Linear (Pearson) correlation coefficient, in [-1, 1]; nan where one side is constant.

    >>> round(lcc([1, 2, 3], [2, 4, 6]), 6)
    1.0
    """
    predicted, true = validate(predicted, true)
    if min(np.ptp(predicted), np.ptp(true)) == 0:
        return float("nan")
    from scipy import stats  # a second to import, and most commands need no correlation

    return float(stats.pearsonr(predicted, true).statistic)


def srcc(predicted, true) -> float:
    """Spearman's rank correlation coefficient, ties given their mean rank; nan where one side is constant.

    >>> round(srcc([1, 2, 3], [1, 10, 100]), 6)
    1.0
    """
    predicted, true = validate(predicted, true)
    if min(np.ptp(predicted), np.ptp(true)) == 0:
        return float("nan")
    from scipy import stats

    return float(stats.spearmanr(predicted, true).statistic)
