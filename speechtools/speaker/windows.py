"""The d-vectors of a recording's sliding windows, and of the recording, with the weights of the windows."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from speechtools.speaker import dvectors
from speechtools.speaker.calibration import Side
from speechtools.speaker.weighing import Usable, weights_of


@dataclass(frozen=True)
class WindowDVectors:
    """The d-vectors of a recording's sliding windows.

    Attributes
    ----------
    dvectors : Tensor
        (windows, embedding_size), of length 1.
    times : np.ndarray
        (windows, 2): start and end of each window in the recording, in seconds. Pauses are removed before, so a window
        may span more time than it contains speech.
    margins : np.ndarray, optional
        (windows,): by how many spreads the quality of their speech exceeds the limit. None without
        ``weigh_by_quality``.
    usable : Usable, optional
        How much of the speech is in windows that reach the limit. None without ``weigh_by_quality``.
    seconds : float
        Speech in the recording.
    quality : float, optional
        The mean score of its speech. None without ``assess_quality``.
    """

    dvectors: Tensor
    times: np.ndarray
    margins: np.ndarray | None = None
    usable: Usable | None = None
    seconds: float = 0.0
    quality: float | None = None

    @property
    def weights(self) -> np.ndarray | None:
        """Weights of the windows (windows,), 1 for the best. None without ``weigh_by_quality``."""
        return None if self.margins is None else weights_of(self.margins)

    def mean(self) -> Tensor:
        """The d-vector of the recording, (embedding_size,)."""
        return weighed(self.dvectors, self.margins)

    def embedded(self) -> "Embedded":
        """The recording without its windows."""
        return Embedded(self.mean().cpu(), self.usable, self.seconds, self.quality)


@dataclass(frozen=True)
class Speech:
    """The speech of a waveform.

    Attributes
    ----------
    feats : Tensor
        (frames, size)
    seconds : float
    margins : np.ndarray, optional
        Those of its windows (windows,), if they are weighed.
    usable : Usable, optional
        How much of it is usable, if its windows are weighed.
    quality : float, optional
        Its mean score, if it is assessed.
    """

    feats: Tensor
    seconds: float
    margins: np.ndarray | None = None
    usable: Usable | None = None
    quality: float | None = None

    def __len__(self) -> int:
        return len(self.feats)


class Embedded(NamedTuple):
    """A recording as one side of a trial.

    Attributes
    ----------
    dvector : Tensor
        (embedding_size,)
    usable : Usable or None
        How much of its speech is usable, if that is known.
    seconds : float
        Speech in the recording.
    quality : float or None
        The mean score of its speech, if it is assessed.
    """

    dvector: Tensor
    usable: Usable | None = None
    seconds: float = 0.0
    quality: float | None = None

    @property
    def side(self) -> Side:
        """What a calibration uses."""
        return Side(1, self.seconds, self.quality)


def weighed(windows: Tensor, margins: np.ndarray | None) -> Tensor:
    """The d-vector (emb,) of a recording with windows (windows, emb), which margins (windows,) weigh if there are some.

    >>> weighed(torch.eye(2), np.array([1.0, -1.0])).tolist()
    [1.0, 0.0]
    """
    weights = None if margins is None else torch.from_numpy(weights_of(margins))
    return dvectors.utterance_dvector(windows, weights)
