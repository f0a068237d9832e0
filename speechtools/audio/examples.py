"""Recordings that forms of a model are compared on."""

import numpy as np

import speechtools
from speechtools.audio.io import read


def example_recordings(sample_rate: int) -> list[np.ndarray]:
    """Recordings (samples,) of several lengths and levels, one with a pause of digital silence, from the sample.

    >>> [round(len(samples) / 16000, 2) for samples in example_recordings(16000)]
    [0.5, 1.67, 2.97, 8.9, 3.97]
    """
    speech, second = read(speechtools.SAMPLE, sample_rate), sample_rate
    paused = np.concatenate([speech[:second], np.zeros(second, np.float32), speech[second:]])
    return [
        speech[second : second + second // 2],
        speech[second // 3 : 2 * second + 77],
        speech,
        0.02 * np.tile(speech, 3),
        paused,
    ]
