"""The tour runs the lines that it prints."""

import sys

import numpy as np
import pytest
from rich.console import Console

from speechtools import audio, tour
from speechtools.inference import QualityReport


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """A folder, the variables of the printed lines, and the output."""
    folder = tmp_path_factory.mktemp("tour")
    with open(folder / "console.txt", "w", encoding="utf-8") as file:
        console = Console(width=100, record=True, file=file)
        return folder, tour.tour(folder / "tour", folder / "frames.png", console), console.export_text()


def test_noise_lowers_the_score_where_it_is(walked):
    folder, variables, printed = walked
    clean, bit, very = (variables["reports"][name] for name in ("clean", "a_bit_noisy", "very_noisy"))
    assert clean.score > bit.score + 0.5 and bit.score > very.score + 0.2
    (region,) = variables["regions"]
    assert region.start == pytest.approx(clean.duration / 3, abs=0.3) and region.end == very.duration
    assert f"very_noisy   {very.score:.2f}" in printed and f"from {region.start:.2f} to {region.end:.2f} s" in printed
    assert (folder / "frames.png").read_bytes().startswith(b"\x89PNG") and "frames.png" in printed


def test_the_enrolled_voice_is_accepted_and_the_others_are_rejected(walked):
    _, variables, printed = walked
    accepted = {name: verdict.accepted for name, verdict in variables["verdicts"].items()}
    assert accepted == {"anna_4": True, "ben_4": False, "clara_4": False}
    assert sorted(variables["verifier"].voices) == ["anna", "ben"]
    assert "accepted as anna" in printed and printed.count("rejected") == 2


def test_the_recordings_are_partly_noisy_and_the_same_every_time(walked, tmp_path):
    folder = walked[0] / "tour"
    clean, very = (audio.read(folder / f"{name}.wav") for name in ("clean", "very_noisy"))
    third = len(clean) // 3
    scale = np.abs(very[:third]).max() / np.abs(clean[:third]).max()
    np.testing.assert_allclose(very[:third], scale * clean[:third], atol=2 / 32768)
    assert np.square(very[third:] - scale * clean[third:]).mean() > np.square(scale * clean[third:]).mean()
    tour.write_recordings(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {p.name: p.read_bytes() for p in folder.iterdir()}


def test_bars_follow_the_scores():
    scores = np.repeat([4.4, 2.5, 1.0], 40)
    bars = tour.frame_bars(QualityReport(2.6, scores, np.arange(120) * 0.016, 1.92, 0.016, "raw_nb"), 30)
    assert bars.plain == "█" * 10 + "▄" * 10 + "▁" * 10
    assert [str(span.style) for span in bars.spans[::10]] == ["green", "yellow", "red"]


def test_without_the_built_in_voices(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert tour.main(["--folder", str(tmp_path / "tour")]) == 1
    errors = capsys.readouterr().err
    assert "needs the package espeakng-loader" in errors and "Traceback" not in errors
    assert not (tmp_path / "tour").exists()
