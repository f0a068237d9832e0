"""What tells speakers apart without any training: EERs of simple statistics, and of encoders with random weights.

    python benchmarks/untrained.py                                          # the built-in corpus, without and with
    python benchmarks/untrained.py --data_folder /corpora/speechocean762    # vary_recordings, and real speech

Where they are low, level or channel give speakers away, and an EER measured there says little about voices. Voiceprints
are the means of ``--num_enrolment`` utterances. Statistics are standardised over all utterances and compared by their
distance, d-vectors by their cosine.
"""

import argparse
from collections.abc import Iterable

import numpy as np
import torch
from timing import print_table

from speechtools import build, metrics
from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.corpora.utterance import Utterance
from speechtools.speaker import dvectors
from speechtools.speaker.data import fewer_utterances, speech_of
from speechtools.speaker.trials import Trials, make_trials

RATE = 16000
ENCODERS = {
    "encoder/lstmp (128, 64) x 3": {"plugin": "encoder/lstmp", "hidden_size": 128, "proj_size": 64},
    "encoder/lstm 128 x 2": {
        "plugin": "encoder/lstm",
        "hidden_size": 128,
        "embedding_size": 128,
        "num_layers": 2,
    },
    "encoder/attentive-lstm, mean pooling": {
        "plugin": "encoder/attentive-lstm",
        "hidden_size": 128,
        "embedding_size": 128,
        "pooling": "mean",
    },
}


def by_distance(vectors: np.ndarray, trials: Trials) -> float:
    """EER of statistics (utterances, size) by the distance of their standardised values."""
    vectors = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    prints = np.stack([vectors[members].mean(axis=0) for members in trials.enrolments])
    scores = -np.linalg.norm(prints[trials.models] - vectors[trials.tests], axis=1)
    return metrics.eer(scores[trials.targets], scores[~trials.targets])[0]


def by_cosine(vectors: np.ndarray, trials: Trials) -> float:
    """EER of d-vectors (utterances, emb)."""
    scores = trials.scores(vectors)
    return metrics.eer(scores[trials.targets], scores[~trials.targets])[0]


def measure(utterances: list[Utterance], num_enrolment: int, seed: int) -> dict[str, float]:
    """EERs of all statistics and encoders."""
    names, speakers = np.unique([utterance.speaker for utterance in utterances], return_inverse=True)
    trials = make_trials(speakers, names.tolist(), num_enrolment, seed)
    detector, features = build("vad/energy"), build("features/log-mel", hop_ms=20.0)
    wavs = [torch.from_numpy(speech_of(utterance.path, detector, RATE)) for utterance in utterances]
    feats = [features(wav[None])[0] for wav in wavs]
    # (frames, mels) each
    means = np.stack([frames.mean(dim=0).numpy() for frames in feats])
    deviations = np.stack([frames.std(dim=0).numpy() for frames in feats])
    levels = np.array([[10 * np.log10(wav.square().mean().item())] for wav in wavs])
    rates = {
        "level": by_distance(levels, trials),
        "mean log-mel spectrum": by_distance(means, trials),
        "the same without level": by_distance(means - means.mean(axis=1, keepdims=True), trials),
        "deviation of the log-mel spectrum": by_distance(deviations, trials),
    }
    for name, options in ENCODERS.items():
        torch.manual_seed(seed)
        encoder = build(**options, input_size=features.size).eval()
        for suffix, inputs in (("", feats), (", mean_norm", [frames - frames.mean(dim=0) for frames in feats])):
            windows = dvectors.window_dvectors(encoder, inputs, 80, 40)
            embedded = np.stack([dvectors.utterance_dvector(part).numpy() for part in windows])
            rates[f"{name}{suffix}"] = by_cosine(embedded, trials)
    return rates


def choose(utterances: Iterable[Utterance], num_speakers: int, per_speaker: int) -> list[Utterance]:
    """Some utterances of some test speakers."""
    tested = [utterance for utterance in utterances if utterance.split == "test"]
    names = sorted({utterance.speaker for utterance in tested})
    if len(names) < 2:
        raise ConfigError("The corpus has fewer than two test speakers. Pass one that divides its speakers.")
    chosen = set(names[:: max(1, len(names) // num_speakers)][:num_speakers])
    return fewer_utterances([utterance for utterance in tested if utterance.speaker in chosen], per_speaker, 0)


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_folder", help="of Kaldi lists with a test set, beside the built-in corpus")
    parser.add_argument("--num_speakers", type=int, default=48)
    parser.add_argument("--per_speaker", type=int, default=10)
    parser.add_argument("--num_enrolment", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    corpora = {
        "built-in": build("corpus/builtin"),
        "vary_recordings": build("corpus/builtin", vary_recordings=True),
    }
    if arguments.data_folder:
        corpora["data_folder"] = build("corpus/kaldi", data_folder=arguments.data_folder)
    columns = []
    for name, utterances in corpora.items():
        chosen = choose(utterances, arguments.num_speakers, arguments.per_speaker)
        print(f"{name}: {len(chosen)} utterances of {len({utterance.speaker for utterance in chosen})} speakers")
        columns.append(measure(chosen, arguments.num_enrolment, arguments.seed))
    rows = [(what, *(f"{100 * rates[what]:.1f} %" for rates in columns)) for what in columns[0]]
    print_table("EER without training", rows, ("what", *corpora))


if __name__ == "__main__":
    try:
        main()
    except SpeechtoolsError as error:
        raise SystemExit(f"error: {error}") from error
