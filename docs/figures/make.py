"""Draw the plots of the documentation from the built-in corpora and the bundled models: make.py [name …].

Without names, all plots of the dictionary PLOTS are drawn. The PNG files are written beside this script and committed.
All speech in them is synthetic.
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
from speechtools.core import metrics
from speechtools.core.plots import COLORS, save
from speechtools.degradations.noise import cut_noise, mix_at_snr, partly_noisy
from speechtools.enhancement.plots import spectrograms
from speechtools.inference import QualityNet, SpeakerDiarization, SpeakerEncoder, SpeechEnhancer
from speechtools.measures.pesq import pesq_score
from speechtools.quality.plots import frame_scores, score_scatter
from speechtools.quality.region_plots import explained
from speechtools.quality.regions import default_threshold
from speechtools.speaker.plots import det, similarity_matrix
from speechtools.speaker.timeline import timeline
from speechtools.speaker.trials import make_trials

HERE = Path(__file__).parent
RATE = 16000
TOUR = ("clean", "a bit noisy", "very noisy")


def recordings(folder: Path) -> dict[str, np.ndarray]:
    """Samples (samples,) of the three recordings of the tour, by title."""
    tour.write_recordings(folder)
    return {title: audio.read(folder / f"{title.replace(' ', '_')}.wav") for title in TOUR}


def draw_frame_scores(path: Path, folder: Path) -> str:
    """Draw the recordings of the tour with their frame scores."""
    net = QualityNet.from_hparams()
    columns = [(title, samples, net.assess_samples(samples)) for title, samples in recordings(folder).items()]
    frame_scores(path, columns, net.sample_rate)
    return ", ".join(f"{title} {report.score:.2f}" for title, _, report in columns)


def draw_scatter(path: Path, folder: Path) -> str:
    """Draw predicted against true PESQ of 12 synthetic speakers, clean and with the test noises at four SNRs."""
    net, true, predicted, subsets = QualityNet.from_hparams(), [], [], []
    utterances = speechtools.build("corpus/builtin", num_train_speakers=2, num_test_speakers=12)
    for utterance in utterances:
        if utterance.split != "test" or not utterance.utt_id.endswith("_sa1"):
            continue
        clean = audio.read(utterance.path)
        mixed = [("clean", clean)]
        for noise in TEST_NOISES:
            for snr_db in (0, 6, 12, 24):
                mixed.append(("noisy", partly_noisy(clean, make_noise(noise), snr_db, 0, len(clean))))
        for subset, samples in mixed:
            true.append(pesq_score(clean, samples, RATE))
            predicted.append(net.assess_samples(samples).score)
            subsets.append(subset)
    score_scatter(path, predicted, true, subsets, net.scale, "Bundled model, synthetic speech")
    return f"{len(true)} files, LCC {metrics.lcc(predicted, true):.3f}, SRCC {metrics.srcc(predicted, true):.3f}"


def draw_enhanced(path: Path, folder: Path) -> str:
    """Draw the very noisy recording of the tour before and after enhancement."""
    samples = recordings(folder)
    (samples["enhanced"],) = SpeechEnhancer.from_hparams().enhance_waveforms([samples["very noisy"]])
    spectrograms(path, [(title, samples[title]) for title in ("clean", "very noisy", "enhanced")], RATE)
    scores = [pesq_score(samples["clean"], samples[title], RATE) for title in ("very noisy", "enhanced")]
    return f"PESQ {scores[0]:.2f} before, {scores[1]:.2f} after"


def draw_segment(path: Path, folder: Path) -> str:
    """Draw where segment/energy finds the keyword in three synthetic recordings."""
    find = speechtools.build("segment/energy")
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots(3, sharex=True)
    keywords = speechtools.build("corpus/builtin-keywords", num_speakers=4, num_test_speakers=4)
    by_speaker = {utterance.speaker: utterance for utterance in keywords}
    for ax, utterance in zip(axes, list(by_speaker.values())[:3], strict=True):
        samples = audio.read(utterance.path)
        start = find(torch.from_numpy(samples)) / RATE
        ax.plot(np.arange(len(samples)) / RATE, samples, color=COLORS["noisy"], linewidth=0.6)
        ax.add_patch(Rectangle((start, ax.get_ylim()[0]), 0.8, np.ptp(ax.get_ylim()), color="#E69F00", alpha=0.3))
        ax.set_title(f"“{utterance.text}”, speaker {utterance.speaker}", fontsize=9)
        ax.set_yticks([])
        ax.margins(x=0)
    axes[-1].set_xlabel("time (s)")
    save(figure, path)
    return "3 recordings"


def draw_dvectors(path: Path, folder: Path) -> str:
    """Draw the cosines of the d-vectors of 12 synthetic speakers, and the DET curve."""
    encoder = SpeakerEncoder.from_hparams()
    utterances = speechtools.build("corpus/builtin", num_train_speakers=2, num_test_speakers=12)
    test = [utterance for utterance in utterances if utterance.split == "test"]
    dvectors = np.stack([dvector.numpy() for _, dvector in encoder.encode_files(u.path for u in test)])
    names, labels = np.unique([utterance.speaker for utterance in test], return_inverse=True)
    similarity_matrix(path, dvectors, labels, list(names), "Bundled model, synthetic voices", 12)
    trials = make_trials(labels, list(names))
    scores = trials.scores(dvectors)
    target, nontarget = scores[trials.targets], scores[~trials.targets]
    det(path.with_name("det.png"), {"synthetic voices": (target, nontarget)}, "Bundled model")
    return f"EER {metrics.eer(target, nontarget)[0]:.3f} over {len(scores)} trials"


def draw_explained(path: Path, folder: Path) -> str:
    """Draw three sentences, in which packets are lost, samples clipped and noise added, with their regions."""
    tour.write_recordings(folder)
    clean = np.concatenate([audio.read(folder / f"{name}.wav") for name in ("anna_1", "clara_1", "ben_2")])
    samples, rng = clean.copy(), np.random.default_rng(0)
    loss = speechtools.build("degradation/loss", rate=0.25, burst=2, concealment="none")
    clipping = speechtools.build("degradation/clipping", level=0.1, kind="hard")
    for start, end, degrade in (
        (1.2, 2.6, loss),
        (5.0, 7.2, clipping),
        (8.6, 11.0, lambda part, rng: mix_at_snr(part, cut_noise(make_noise("street"), len(part), seed=0), 3.0)),
    ):
        stretch = slice(round(start * RATE), round(end * RATE))
        samples[stretch] = degrade(clean[stretch], rng)
    samples *= 0.9 / np.abs(samples).max()
    audio.write(folder / "call.wav", samples)
    net = QualityNet.from_hparams()
    report = net.assess_samples(samples)
    explained(path, "call.wav", samples, report, RATE, default_threshold(net.measure))
    return ", ".join(f"{region.start:.1f}–{region.end:.1f} s costs {region.cost:.2f}" for region in report.regions())


def draw_diarization(path: Path, folder: Path) -> str:
    """Draw who speaks when in a conversation of three synthetic voices, as docs/diarize.md composes it."""
    tour.write_recordings(folder / "tour")
    pause = 1e-4 * np.random.default_rng(0).standard_normal(RATE // 2)
    order = [f"{name}_{number}" for number in (1, 2, 3) for name in ("anna", "ben", "clara")]
    turns = [np.concatenate([audio.read(folder / "tour" / f"{name}.wav"), pause]) for name in order]
    samples = np.concatenate(turns).astype(np.float32)
    result = SpeakerDiarization.from_hparams().diarize_file(samples)
    timeline(path, samples, RATE, {"": result.turns}, "meeting.wav")
    return f"{len(result.turns)} turns of {len(result.speakers)} speakers"


PLOTS: dict[str, Callable[[Path, Path], str]] = {
    "frame_scores": draw_frame_scores,
    "scatter": draw_scatter,
    "enhanced": draw_enhanced,
    "segment": draw_segment,
    "dvectors": draw_dvectors,
    "explained": draw_explained,
    "diarization": draw_diarization,
}


def main(names: list[str]) -> None:
    """Draw the plots and print their metrics."""
    torch.set_num_threads(1)
    for name in names or PLOTS:
        with tempfile.TemporaryDirectory() as folder:
            text = PLOTS[name](Path(folder) / f"{name}.png", Path(folder))
            for path in Path(folder).glob("*.png"):
                shrink(path, HERE / path.name)
        print(f"{name}: {text}")


def shrink(path: Path, target: Path) -> None:
    """Save a PNG with at most 1200 pixels and 256 colours: a fifth of the size."""
    with Image.open(path) as image:
        image.thumbnail((1200, 1200))
        image.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE).save(target, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
