"""The enhancer's report: means by group, gains, and the verdict on a perceptual loss."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from rich.console import Console

from speechtools.core.errors import CorpusError
from speechtools.enhancement import evaluation


def row(name, heard, snr_db, noise_type, before, after):
    return {"ID": name, "heard": heard, "snr_db": snr_db, "noise_type": noise_type, "before": before, "after": after}


ROWS = [
    row("a", "no", "-8", "white", {"pesq": 1.0, "stoi": 0.5}, {"pesq": 1.5, "stoi": 0.6}),
    row("b", "no", "8", "white", {"pesq": 2.0, "stoi": 0.7}, {"pesq": 2.1, "stoi": 0.6}),
    row("c", "yes", "8", "rain", {"pesq": 2.0, "stoi": 0.7}, {"pesq": 3.0, "stoi": 0.9}),
]


def test_gains_are_the_differences_of_the_means():
    figures = evaluation.enhancement_figures(ROWS)
    assert figures["unheard"]["overall"]["files"] == 2
    assert figures["unheard"]["overall"]["gain"] == pytest.approx({"pesq": 0.3, "stoi": 0.0})
    assert figures["unheard"]["by_snr_db"]["-8"]["gain"] == pytest.approx({"pesq": 0.5, "stoi": 0.1})
    assert list(figures["unheard"]["by_snr_db"]) == ["-8", "8"]
    assert figures["heard"]["by_noise"]["rain"]["after"] == {"pesq": 3.0, "stoi": 0.9}
    assert set(evaluation.enhancement_figures(ROWS[:2])) == {"unheard"}


@pytest.mark.parametrize(
    "pesq, predicted, told",
    [
        (0.1, 0.2, "Quality-Net +0.200: the true one went up."),
        (-0.1, 0.2, "Quality-Net +0.200: only the predicted one went up."),
        (-0.1, -0.2, "Quality-Net -0.200: neither went up."),
        (0.1, None, "STOI -0.100."),
    ],
)
def test_the_verdict_tells_true_from_predicted_quality(pesq, predicted, told):
    def figures(pesq, stoi, score):
        after = {"pesq": pesq, "stoi": stoi} | ({} if predicted is None else {"predicted": score})
        return {"unheard": {"overall": {"after": after}}}

    text = evaluation.verdict(figures(2 + pesq, 0.6, 2 + (predicted or 0)), figures(2, 0.7, 2), "start")
    assert text.startswith(f"Against start, unheard noises: true PESQ {pesq:+.3f}") and text.endswith(told)


class Enhancer:
    """As far as the test of an enhancer needs one: a factor for the files of a length, and one for all others."""

    sample_rate = 16000

    def __init__(self, factor=3.0, by_length=()):
        self.factor, self.by_length = factor, dict(by_length)

    def enhance_waveforms(self, waveforms):
        return [np.float32(self.by_length.get(len(samples), self.factor)) * samples for samples in waveforms]


@pytest.fixture
def test_rows(tmp_path):
    """Two noisy files of different lengths, and their clean originals."""
    rng, found = np.random.default_rng(0), []
    for number, seconds in enumerate((1.5, 2.0)):
        time = np.arange(int(16000 * seconds)) / 16000
        clean = 0.4 * np.sin(2 * np.pi * 300 * time) * (np.sin(9 * time) > 0) * rng.uniform(0.5, 1, len(time))
        for kind, samples in (("clean", clean), ("noisy", clean + 0.05 * rng.standard_normal(len(time)))):
            soundfile.write(tmp_path / f"{kind}{number}.wav", samples, 16000)
        found.append(
            {"ID": f"u{number}", "duration": str(seconds), "speech": tmp_path / f"clean{number}.wav"}
            | {"path": tmp_path / f"noisy{number}.wav", "pesq": "2.0", "stoi": "0.8"}
            | {"heard": "no", "snr_db": "8", "noise_type": "white"}
        )
    return found


class Listener:
    """As far as the report needs a Quality-Net: it scores everything 3, and keeps what it was asked about."""

    def __init__(self):
        self.heard = []

    def assess_files(self, paths):
        self.heard += paths
        return [(path, SimpleNamespace(score=3.0)) for path in paths]


def test_what_is_enhanced_is_judged_and_reported(test_rows, tmp_path):
    facts = {"trained_on": "tones"}
    models = {"start": Enhancer(), "enhanced": Enhancer(30.0)}
    net = Listener()
    figures = evaluation.enhancement_report(tmp_path / "run", test_rows, models, facts, quality_net=net, num_workers=1)
    assert len(set(net.heard)) == len(net.heard) == 6, "the noisy files once, whatever many models there are"
    assert figures["unheard"]["overall"]["before"]["predicted"] == 3.0
    # PESQ and STOI do not depend on the level: the two models, and the noisy files, are judged alike.
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["unheard"] == figures["unheard"] == results["compared_with"]["start"]["unheard"]
    written, given = (soundfile.read(tmp_path / name)[0] for name in ("run/enhanced/enhanced/u0.wav", "noisy0.wav"))
    np.testing.assert_allclose(written, given / np.abs(given).max(), atol=1e-3)  # scaled, not clipped
    for kind in ("clean", "noisy", "enhanced"):
        assert (tmp_path / "run" / "examples" / f"{kind}.wav").is_file()
    assert (tmp_path / "run" / "figures" / "example.png").stat().st_size > 10000


@pytest.mark.parametrize("factor, reason", [(0.0, "silent"), (np.nan, "NaN")])
def test_a_file_that_cannot_be_judged_is_left_out_with_its_reason(test_rows, tmp_path, factor, reason):
    spoiled = Enhancer(by_length={24000: factor})
    judged = evaluation.evaluate(spoiled, test_rows, tmp_path / "out", num_workers=1)
    assert [each["ID"] for each in judged] == ["u1"]
    with open(tmp_path / "out" / "rejected.csv", encoding="utf-8") as file:
        (rejected,) = csv.DictReader(file)
    assert rejected["id"] == "u0" and reason in rejected["reason"]
    with pytest.raises(CorpusError, match="Not one enhanced file could be judged; .*rejected.csv gives the reasons"):
        evaluation.evaluate(Enhancer(factor), test_rows, tmp_path / "none", num_workers=1)


def test_the_table_names_every_group(capsys):
    evaluation.print_enhancement(evaluation.enhancement_figures(ROWS), "title", Console(width=110))
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines()]
    for name, files in (("unheard noises", "2"), ("heard noises", "1"), ("-8 dB", "1"), ("white", "2"), ("rain", "1")):
        words = name.split()
        assert [*words, files] in [row[: len(words) + 1] for row in rows], name
    assert "+0.300" in printed
