"""The figures of the documentation, from the built-in corpora and the models of the package.

python docs/figures/make.py [name …]     # of the dictionary FIGURES; all, if none is named

The PNG files lie beside this script and are committed. All speech in them is synthetic.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import speechtools
from speechtools import audio, tour
from speechtools.audio.noises import TEST_NOISES, make_noise
from speechtools.core import metrics, plots
from speechtools.degradations.noise import partly_noisy
from speechtools.inference import QualityNet, SpeakerEncoder, SpeechEnhancer
from speechtools.measures.pesq import pesq_score
from speechtools.speaker.trials import make_trials

HERE = Path(__file__).parent
RATE = 16000
TOUR = ("clean", "a_bit_noisy", "very_noisy")


def recordings(folder: Path) -> dict[str, np.ndarray]:
    """The three recordings of the tour, (samples,) each."""
    tour.write_recordings(folder)
    return {name: audio.read(folder / f"{name}.wav") for name in TOUR}


def frame_scores(path: Path, folder: Path) -> str:
    """The tour's recordings with their frame scores."""
    net = QualityNet.from_hparams()
    drawn = [(name, samples, net.assess_samples(samples)) for name, samples in recordings(folder).items()]
    plots.frame_scores(path, drawn, net.sample_rate)
    return ", ".join(f"{name} {report.score:.2f}" for name, _, report in drawn)


def scatter(path: Path, folder: Path) -> str:
    """Predicted against true PESQ: 12 synthetic speakers, the four test noises at four SNRs, and clean."""
    net, true, predicted, subsets = QualityNet.from_hparams(), [], [], []
    utterances = speechtools.build("corpus/builtin", num_train_speakers=2, num_test_speakers=12)
    for utterance in (each for each in utterances if each.split == "test" and each.utt_id.endswith("_sa1")):
        clean = audio.read(utterance.path)
        mixed = [("clean", clean)]
        for noise in TEST_NOISES:
            for snr_db in (0, 6, 12, 24):
                mixed.append(("noisy", partly_noisy(clean, make_noise(noise), snr_db, 0, len(clean))))
        for subset, samples in mixed:
            true.append(pesq_score(clean, samples, RATE))
            predicted.append(net.assess_samples(samples).score)
            subsets.append(subset)
    plots.score_scatter(path, predicted, true, subsets, net.scale, "Model of the package, synthetic speech")
    return f"{len(true)} files, LCC {metrics.lcc(predicted, true):.3f}, SRCC {metrics.srcc(predicted, true):.3f}"


def enhanced(path: Path, folder: Path) -> str:
    """The tour's very noisy recording, enhanced."""
    made = recordings(folder)
    (made["enhanced"],) = SpeechEnhancer.from_hparams().enhance_waveforms([made["very_noisy"]])
    plots.spectrograms(path, [(name, made[name]) for name in ("clean", "very_noisy", "enhanced")], RATE)
    scores = [pesq_score(made["clean"], made[name], RATE) for name in ("very_noisy", "enhanced")]
    return f"PESQ {scores[0]:.2f} before, {scores[1]:.2f} after"


def segment(path: Path, folder: Path) -> str:
    """Where segment/energy finds the keyword in three synthetic recordings."""
    find = speechtools.build("segment/energy")
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots(3, sharex=True)
    keywords = speechtools.build("corpus/builtin-keywords", num_speakers=4, num_test_speakers=4)
    chosen = {utterance.speaker: utterance for utterance in keywords}
    for ax, utterance in zip(axes, list(chosen.values())[:3], strict=True):
        samples = audio.read(utterance.path)
        start = find(torch.from_numpy(samples)) / RATE
        ax.plot(np.arange(len(samples)) / RATE, samples, color=plots.COLORS["noisy"], linewidth=0.6)
        ax.add_patch(Rectangle((start, ax.get_ylim()[0]), 0.8, np.ptp(ax.get_ylim()), color="#E69F00", alpha=0.3))
        ax.set_title(f"“{utterance.text}”, speaker {utterance.speaker}", fontsize=9)
        ax.set_yticks([])
    axes[-1].set_xlabel("time (s)")
    plots.save(figure, path)
    return "3 recordings"


def dvectors(path: Path, folder: Path) -> str:
    """Cosines of the d-vectors of 12 synthetic speakers, by the model of the package, and its DET curve."""
    encoder = SpeakerEncoder.from_hparams()
    utterances = speechtools.build("corpus/builtin", num_train_speakers=2, num_test_speakers=12)
    chosen = [each for each in utterances if each.split == "test"]
    found = np.stack([dvector.numpy() for _, dvector in encoder.encode_files(each.path for each in chosen)])
    names, labels = np.unique([each.speaker for each in chosen], return_inverse=True)
    plots.similarity_matrix(path, found, labels, list(names), "Model of the package, synthetic voices", 12)
    trials = make_trials(labels, list(names))
    scores = trials.scores(found)
    target, nontarget = scores[trials.targets], scores[~trials.targets]
    plots.det(path.with_name("det.png"), {"voices": (target, nontarget)}, "Model of the package, synthetic voices")
    return f"EER {metrics.eer(target, nontarget)[0]:.3f} over {len(scores)} trials"


FIGURES: dict[str, Callable[[Path, Path], str]] = {
    "frame_scores": frame_scores,
    "scatter": scatter,
    "enhanced": enhanced,
    "segment": segment,
    "dvectors": dvectors,
}


def main(names: list[str]) -> None:
    """Draw the figures, and print what they show."""
    torch.set_num_threads(1)
    for name in names or FIGURES:
        with tempfile.TemporaryDirectory() as folder:
            shown = FIGURES[name](Path(folder) / f"{name}.png", Path(folder))
            for path in Path(folder).glob("*.png"):
                shrink(path, HERE / path.name)
        print(f"{name}: {shown}")


def shrink(path: Path, target: Path) -> None:
    """A PNG of at most 1200 pixels and 256 colours, a fifth of the size."""
    with Image.open(path) as image:
        image.thumbnail((1200, 1200))
        image.convert("RGB").quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
