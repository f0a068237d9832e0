"""Fit and test the weights that tell speech from noise (speechtools/audio/voicing.py).

    python benchmarks/speech_or_noise.py --speech FOLDER... --noise FOLDER...

Human sounds that are not words (crying, laughing, coughing, crowds) are left out by the names of their files. Half of
the speech is mixed with noise at 0 to 20 dB. The rates are those of a five-fold cross-validation.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

from speechtools.audio import find_audio, read
from speechtools.audio.vad import EnergyVAD
from speechtools.audio.voicing import LIMIT, SAMPLE_RATE, WEIGHTS, voicing
from speechtools.core.errors import AudioError

HUMAN = "cry laugh sneez cough breath clap snor crow footstep brush drink children crowd baby".split()
SECONDS = 8


def load(folders: list[Path], count: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Read up to ``count`` recordings per folder, at most ``SECONDS`` of each."""
    waveforms = []
    for folder in folders:
        paths = [path for path in find_audio(folder) if not any(word in str(path).lower() for word in HUMAN)]
        for index in generator.permutation(len(paths))[:count]:
            try:
                waveforms.append(read(paths[index], SAMPLE_RATE)[: SECONDS * SAMPLE_RATE])
            except AudioError as error:
                print(error)
    return waveforms


def synthetic_noises(generator: np.random.Generator, count: int) -> list[np.ndarray]:
    """White, pink and modulated noise, hum, and tones."""
    time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    noises = []
    for _ in range(count):
        white, rate = generator.standard_normal(len(time)), generator.uniform(1, 6)
        spectrum = np.fft.rfft(generator.standard_normal(len(time)))
        pink = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1))
        hum = np.sign(np.sin(2 * np.pi * 50 * time)) + 0.05 * white
        tone = np.sin(2 * np.pi * generator.uniform(100, 2000) * time)
        noises += [white, pink, white * (1 + np.sin(2 * np.pi * rate * time)), hum, tone, np.cumsum(white)]
    return noises


def statistics(waveforms: list[np.ndarray]) -> np.ndarray:
    """Statistics of waveforms, (recordings, statistics); those of less than five frames are left out."""
    vad, rows = EnergyVAD(SAMPLE_RATE), []
    for samples in waveforms:
        wav = torch.from_numpy(np.asarray(samples, dtype=np.float32))
        wav = wav - wav.mean()
        wav = wav / wav.abs().max().clamp(min=1e-9)
        if row := voicing(wav, vad(wav[None])[0], vad.hop_length):
            rows.append([row[name] for name in WEIGHTS])
    return np.array(rows)


def fit(features: np.ndarray, is_speech: np.ndarray) -> np.ndarray:
    """Weights and bias of a logistic regression with both classes equally important, L2 on the scaled weights."""
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scaled = np.column_stack([(features - mean) / deviation, np.ones(len(features))])
    sign = np.where(is_speech, 1.0, -1.0)
    weight = len(sign) / 2 / np.where(is_speech, is_speech.sum(), (~is_speech).sum())

    def loss(theta: np.ndarray) -> float:
        return (weight * np.logaddexp(0, -sign * (scaled @ theta))).sum() + 0.5 * np.square(theta[:-1]).sum()

    theta = minimize(loss, np.zeros(scaled.shape[1])).x
    weights = theta[:-1] / deviation
    return np.append(weights, theta[-1] - weights @ mean)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, nargs="+", required=True)
    parser.add_argument("--noise", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=150, help="recordings of a folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    speech = load(arguments.speech, arguments.count, generator)
    noise = load(arguments.noise, arguments.count, generator)
    noisy = []
    for samples in speech[::2]:
        other = np.resize(noise[generator.integers(len(noise))], len(samples))
        ratio = np.square(samples).mean() / (np.square(other).mean() + 1e-9) / 10 ** (generator.uniform(0, 20) / 10)
        noisy.append(samples + other * np.sqrt(ratio))
    groups = {
        "speech": statistics(speech),
        "speech in noise": statistics(noisy),
        "noise": statistics(noise),
        "synthetic noise": statistics(synthetic_noises(generator, 10)),
    }
    features = np.concatenate(list(groups.values()))
    names = np.repeat(list(groups), [len(rows) for rows in groups.values()])
    is_speech = np.char.startswith(names, "speech")
    folds = generator.integers(5, size=len(names))
    log_odds = np.zeros(len(names))
    for fold in range(5):
        theta = fit(features[folds != fold], is_speech[folds != fold])
        log_odds[folds == fold] = features[folds == fold] @ theta[:-1] + theta[-1]
    for name in groups:
        share = (log_odds[names == name] < LIMIT).mean()
        print(f"{name:16}  {np.count_nonzero(names == name):4} recordings, taken for noise: {share:.1%}")
    theta = fit(features, is_speech)
    for name, value in zip([*WEIGHTS, "bias"], theta, strict=True):
        print(f"{name:20} {value:8.3f}")


if __name__ == "__main__":
    main()
