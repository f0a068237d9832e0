"""How the level rule of the bundled models' features changes their results on real speech.

    python benchmarks/levels.py --clean FOLDER... --noise FOLDER... --speakers FOLDER

``--clean`` and ``--noise`` are folders of recordings: each clean one is scored as it is, with noise at -6 to 20 dB
(twice), and with noise and the bundled enhancer, and compared with its true raw PESQ. ``--speakers`` is a folder in the
layout of Kaldi (wav.scp, utt2spk), whose utterances are compared in pairs.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

import speechtools
from speechtools.audio import find_audio, read
from speechtools.core import metrics
from speechtools.core.errors import SpeechtoolsError
from speechtools.inference import QualityNet, SpeakerEncoder, SpeechEnhancer

RATE = 16000


def degraded(clean: list[np.ndarray], noises: list[np.ndarray]) -> list[tuple[str, np.ndarray, float]]:
    """Pairs of a kind, its samples, and their true score."""
    measure, enhancer = speechtools.build("measure/pesq-raw"), SpeechEnhancer.from_hparams()
    generator, signals = np.random.default_rng(1), []
    for reference in clean:
        for kind in ("clean", "noisy", "noisy", "enhanced"):
            samples = reference
            if kind != "clean":
                noise = np.resize(noises[generator.integers(len(noises))], len(reference))
                power = np.square(reference).mean() / (np.square(noise).mean() + 1e-12)
                samples = reference + noise * np.sqrt(power / 10 ** (generator.uniform(-6, 20) / 10))
            if kind == "enhanced":
                samples = enhancer.enhance_file(samples)
            try:
                signals.append((kind, np.float32(samples), measure(reference, np.float32(samples), RATE)))
            except SpeechtoolsError as error:
                print(error)
    return signals


def score_qualities(signals: list[tuple[str, np.ndarray, float]]) -> None:
    """Print the correlation with the true scores within each kind, by model and level."""
    kinds = np.array([kind for kind, _, _ in signals])
    true = np.array([score for _, _, score in signals])
    net = QualityNet.from_hparams()
    for level in ("peak", "loud", "robust-peak"):
        net.features.level = level
        scores = np.array([net.assess_samples(samples).score for _, samples, _ in signals])
        correlations = {kind: metrics.lcc(scores[kinds == kind], true[kinds == kind]) for kind in ("noisy", "enhanced")}
        text = ", ".join(f"{kind} ({np.count_nonzero(kinds == kind)}) {lcc:.3f}" for kind, lcc in correlations.items())
        print(f"quality-net {level:11} LCC {text}, all ({len(true)}) {metrics.lcc(scores, true):.3f}", flush=True)


def compare_speakers(folder: Path, speakers: int, utterances: int) -> None:
    """Print the EER of pairs of utterances, with and without a fixed level."""
    speaker_of = dict(line.split(maxsplit=1) for line in (folder / "utt2spk").read_text().splitlines())
    paths: dict[str, list[Path]] = defaultdict(list)
    for line in (folder / "wav.scp").read_text().splitlines():
        utterance, path = line.split(maxsplit=1)
        options = [base / path for base in (folder, folder.parent)]
        paths[speaker_of[utterance]].append(next(option for option in options if option.exists()))
    chosen = [(name, path) for name in list(paths)[:speakers] for path in paths[name][:utterances]]
    encoder = SpeakerEncoder.from_hparams()
    names = np.array([name for name, _ in chosen])
    rows, columns = np.triu_indices(len(names), 1)
    same = names[rows] == names[columns]
    for level in (None, encoder.features.level):
        encoder.features.level = level
        dvectors = torch.stack([encoder.encode_file(path) for _, path in chosen])
        cosines = torch.nn.functional.cosine_similarity(dvectors[rows], dvectors[columns]).numpy()
        eer = metrics.eer(cosines[same], cosines[~same])[0]
        print(
            f"speaker, level {level}: EER {eer:.2%} of {len(names)} utterances of {len(set(names))} speakers",
            flush=True,
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", type=Path, nargs="+", required=True)
    parser.add_argument("--noise", type=Path, nargs="+", required=True)
    parser.add_argument("--speakers", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40, help="clean recordings of a folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    compare_speakers(arguments.speakers, speakers=40, utterances=5)
    clean = [read(path)[: 4 * RATE] for folder in arguments.clean for path in find_audio(folder)[: arguments.count]]
    noises = [read(path) for folder in arguments.noise for path in find_audio(folder)[::9]]
    clean = [samples for samples in clean if len(samples) > 2 * RATE]
    noises = [samples - samples.mean() for samples in noises if np.abs(samples).max() > 0.01]
    score_qualities(degraded(clean, noises))


if __name__ == "__main__":
    main()
