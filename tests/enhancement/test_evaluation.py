"""The enhancer's report: means by group, gains, and the verdict on a perceptual loss."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from speechtools.core.errors import CorpusError
from speechtools.enhancement import evaluation
from speechtools.enhancement.data import JudgedRow


def judged_row(**columns):
    """A row of a test manifest, but for some columns."""
    paths = {name: Path(f"{name}.wav") for name in ("speech", "noise", "path")}
    defaults = {"ID": "a", "duration": 1.0, "speaker": "anna", "noise_type": "white", "snr_db": 8.0, "seed": 0}
    scores = {"score": 2.0, "measure": "pesq-raw", "stoi": 0.8}
    return JudgedRow(**defaults | paths | scores | {"heard": False} | columns)


def test_gains_are_the_differences_of_the_means():
    def comparison(before, after, **columns):
        scores = (dict(zip(("pesq", "stoi"), values, strict=True)) for values in (before, after))
        return evaluation.Comparison(judged_row(**columns), Path("enhanced.wav"), *scores)

    comparisons = [
        comparison((1.0, 0.5), (1.5, 0.6), snr_db=-8.0),
        comparison((2.0, 0.7), (2.1, 0.6)),
        comparison((2.0, 0.7), (3.0, 0.9), heard=True, noise_type="rain"),
    ]
    results = evaluation.enhancement_metrics(comparisons)
    assert results["unheard"]["overall"]["files"] == 2
    assert results["unheard"]["overall"]["gain"] == pytest.approx({"pesq": 0.3, "stoi": 0.0})
    assert results["unheard"]["by_snr_db"]["-8"]["gain"] == pytest.approx({"pesq": 0.5, "stoi": 0.1})
    assert list(results["unheard"]["by_snr_db"]) == ["-8", "8"]
    assert results["heard"]["by_noise"]["rain"]["after"] == {"pesq": 3.0, "stoi": 0.9}
    assert set(evaluation.enhancement_metrics(comparisons[:2])) == {"unheard"}


@pytest.mark.parametrize(
    "pesq, predicted, end",
    [
        (0.1, 0.2, "the true one went up."),
        (-0.1, 0.2, "only the predicted one went up."),
        (-0.1, -0.2, "neither went up."),
    ],
)
def test_the_verdict_tells_true_from_predicted_quality(pesq, predicted, end):
    def metrics(**after):
        return {"unheard": {"overall": {"after": after}}}

    other = metrics(pesq=2, stoi=0.7, predicted=2)
    text = evaluation.verdict(metrics(pesq=2 + pesq, stoi=0.6, predicted=2 + predicted), other, "start")
    assert text.startswith(f"Against start, unheard noises: true PESQ {pesq:+.3f}, STOI -0.100")
    assert text.endswith(f"Quality-Net {predicted:+.3f}: {end}")
    text = evaluation.verdict(metrics(pesq=2 + pesq, stoi=0.6), metrics(pesq=2, stoi=0.7), "start")
    assert text.endswith("STOI -0.100.")


def scaling(*factors):
    """Stand in for an enhancer: it scales the files by these factors, from the shortest to the longest."""

    def scale(waveforms):
        return [np.float32(factor) * samples for factor, samples in zip(factors, waveforms, strict=True)]

    return SimpleNamespace(sample_rate=16000, enhance_waveforms=scale)


@pytest.fixture
def test_rows(tmp_path):
    """Two noisy files of different lengths, and their clean originals."""
    rng, rows = np.random.default_rng(0), []
    for number, seconds in enumerate((1.5, 2.0)):
        time = np.arange(int(16000 * seconds)) / 16000
        clean = 0.4 * np.sin(2 * np.pi * 300 * time) * (np.sin(9 * time) > 0) * rng.uniform(0.5, 1, len(time))
        for kind, samples in (("clean", clean), ("noisy", clean + 0.05 * rng.standard_normal(len(time)))):
            soundfile.write(tmp_path / f"{kind}{number}.wav", samples, 16000)
        paths = {"speech": tmp_path / f"clean{number}.wav", "path": tmp_path / f"noisy{number}.wav"}
        rows.append(judged_row(ID=f"u{number}", duration=seconds, **paths))
    return rows


def test_what_is_enhanced_is_judged_and_reported(test_rows, tmp_path, capsys):
    assessed, facts = [], {"trained_on": "tones"}

    def assess_files(paths):
        assessed.extend(paths)
        return [(path, SimpleNamespace(score=3.0)) for path in paths]

    models = {"start": scaling(3, 3), "enhanced": scaling(30, 30)}
    judging = {"quality_net": SimpleNamespace(assess_files=assess_files), "num_workers": 1}
    results = evaluation.enhancement_report(tmp_path / "run", test_rows, models, facts, **judging)
    assert len(set(assessed)) == len(assessed) == 6, "the noisy files once, however many models there are"
    assert results["unheard"]["overall"]["before"]["predicted"] == 3.0
    # PESQ and STOI do not depend on the level: the two models, and the noisy files, are judged alike.
    saved = json.loads((tmp_path / "run" / "results.json").read_text())
    assert saved["unheard"] == results["unheard"] == saved["compared_with"]["start"]["unheard"]
    output, noisy = (soundfile.read(tmp_path / name)[0] for name in ("run/enhanced/enhanced/u0.wav", "noisy0.wav"))
    np.testing.assert_allclose(output, noisy / np.abs(noisy).max(), atol=1e-3)  # scaled, not clipped
    examples = {path.name for path in (tmp_path / "run" / "examples").iterdir()}
    assert examples == {"clean.wav", "noisy.wav", "enhanced.wav"}
    assert (tmp_path / "run" / "figures" / "example.png").stat().st_size > 10000
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("start: new speakers, tones", "unheard noises", "8 dB", "white", "+0.000"))


@pytest.mark.parametrize("factor, reason", [(0.0, "silent"), (np.nan, "NaN")])
def test_a_file_that_cannot_be_judged_is_left_out_with_its_reason(test_rows, tmp_path, factor, reason):
    judged = evaluation.evaluate(scaling(factor, 1), test_rows, tmp_path / "out", num_workers=1)
    assert [comparison.row.ID for comparison in judged] == ["u1"]
    with open(tmp_path / "out" / "rejected.csv", encoding="utf-8") as file:
        (rejected,) = csv.DictReader(file)
    assert rejected["id"] == "u0" and reason in rejected["reason"]
    with pytest.raises(CorpusError, match="No enhanced file could be scored"):
        evaluation.evaluate(scaling(factor, factor), test_rows, tmp_path / "none", num_workers=1)
