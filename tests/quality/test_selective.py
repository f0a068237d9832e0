"""Enhancement of the bad stretches alone."""

import numpy as np
import pytest

from speechtools import SAMPLE, audio
from speechtools.core.errors import ConfigError
from speechtools.enhancement.stretches import replace_stretches
from speechtools.inference import QualityNet, SpeechEnhancer
from speechtools.quality.inference import QualityReport
from speechtools.quality.selective import SelectiveEnhancer, Where, to_end


@pytest.mark.parametrize(
    "text, where",
    [
        ("below=2.5", Where(2.5)),
        ("below = -0.3", Where(-0.3)),
        ("loss", Where(None, {"loss": 0.5})),
        ("noise>0.7, loss,below=2", Where(2.0, {"noise": 0.7, "loss": 0.5})),
    ],
)
def test_conditions(text, where):
    assert Where.parse(text) == where


@pytest.mark.parametrize(
    "text", ["below", "below=", "below>2", "below=nan", "noise=0.5", "noise>1", "noise>x", "", ","]
)
def test_a_malformed_condition_shows_the_form(text):
    with pytest.raises(ConfigError, match="Write below=2.5"):
        Where.parse(text)


def make_report(scores, causes=None, **options):
    times = 0.01 * np.arange(len(scores)) + 0.005
    scores = np.asarray(scores, dtype=np.float64)
    names = () if causes is None else ("noise", "loss")
    return QualityReport(
        scores.mean(), scores, times, 0.01 * len(scores), 0.01, "raw_nb", causes=causes, cause_names=names, **options
    )


def test_stretches_are_padded_and_short_gaps_are_enhanced():
    scores = np.repeat([1.0, 4.0, 1.0, 4.0, 1.0, 4.0], [100, 40, 100, 200, 100, 20])
    where = Where(below=2.5)
    # A gap of 0.4 s is 0.3 s between the padded stretches.
    assert where.stretches(make_report(scores)) == [
        pytest.approx((0.0, 1.05)),
        pytest.approx((1.35, 2.45)),
        pytest.approx((4.35, 5.45)),
    ]
    closer = np.delete(scores, slice(100, 110))
    assert where.stretches(make_report(closer)) == [pytest.approx((0.0, 2.35)), pytest.approx((4.25, 5.35))]
    mirrored = make_report(5 - closer, higher_is_better=False)
    assert where.stretches(mirrored) == where.stretches(make_report(closer))
    assert where.stretches(make_report(np.full(50, 4.0))) == []
    silent = np.repeat([True, False], [300, 250])
    assert where.stretches(make_report(closer, silent=silent)) == [pytest.approx((4.25, 5.35))]


def test_a_stretch_has_any_of_the_causes():
    causes = np.zeros((600, 2))
    causes[100:200, 1] = 0.9
    causes[400:, 0] = 0.6
    report = make_report(np.full(600, 4.0), causes)
    assert Where.parse("loss").stretches(report) == [pytest.approx((0.95, 2.05))]
    stretches = Where.parse("loss,noise").stretches(report)
    assert stretches[0] == pytest.approx((0.95, 2.05)) and stretches[1] == pytest.approx((3.95, 6.0), abs=0.3)
    assert Where.parse("noise>0.7").stretches(report) == []


def test_a_condition_that_the_model_cannot_meet_is_refused(pretrained):
    net = QualityNet.from_hparams(pretrained)
    with pytest.raises(ConfigError, match=r"below=7 is outside the scale raw_nb, -0.5 to 4.5"):
        SelectiveEnhancer("below=7", net=net)
    with pytest.raises(ConfigError, match="does not predict causes such as 'loss'"):
        Where.parse("loss").check(net)


def test_only_the_noisy_part_changes_and_its_score_rises():
    samples = audio.read(SAMPLE)  # street noise from 1 s to the end
    net, enhancer = QualityNet.from_hparams(), SpeechEnhancer.from_hparams()
    result = SelectiveEnhancer("below=2", enhancer, net).enhance_file(samples)
    assert result.samples.shape == samples.shape and 1.5 < result.seconds < 2.4
    assert np.array_equal(result.samples[:9600], samples[:9600])
    assert net.assess_samples(result.samples).score > net.assess_samples(samples).score + 0.1


def test_the_result_is_that_of_replacing_the_stretches(tone):
    """A benchmark enhances once, and replaces the stretches of many thresholds."""
    samples = tone(3.0) + 0.05 * np.random.default_rng(0).standard_normal(48000).astype(np.float32)
    samples[:24000] = tone(1.5)
    net, enhancer = QualityNet.from_hparams(), SpeechEnhancer.from_hparams()
    report = net.assess_samples(samples)
    where = Where(float(np.median(report.frame_scores)))
    (enhanced,) = enhancer.enhance_waveforms([samples])
    stretches = to_end(where.stretches(report), report.duration)
    mean = audio.io.offset(samples, 16000)
    mixed = replace_stretches(samples, enhanced, stretches, 16000, offset=mean)
    result = SelectiveEnhancer(where, enhancer, net).enhance_file(samples)
    assert result.stretches and not np.array_equal(mixed, samples)
    np.testing.assert_allclose(result.samples, mixed, atol=1e-6)
