"""The bundled detector hears phrases of a synthetic voice, and no others."""

import numpy as np
import pytest
import soxr

from speechtools.corpora.espeak import Synthesizer
from speechtools.inference import KeywordDetector

KEYWORDS = ["kitchen light", "railway station", "good morning"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("please turn on the kitchen light and then play some music", ["kitchen light"]),
        ("where is the nearest railway station", ["railway station"]),
        ("nobody in this sentence says what is searched for", []),
    ],
)
def test_phrases_are_heard(text, expected):
    detector, synthesizer = KeywordDetector.from_hparams(run_opts={"device": "cpu"}), Synthesizer()
    samples = soxr.resample(synthesizer.speak(text), synthesizer.sample_rate, detector.sample_rate)
    hits = detector.spot(0.5 * samples.astype(np.float32), KEYWORDS)
    assert [hit.keyword for hit in hits] == expected
    assert all(0 < hit.start < hit.end < len(samples) / detector.sample_rate + 0.3 for hit in hits)
