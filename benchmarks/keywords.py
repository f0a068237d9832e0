"""Missed keywords against false alarms, on real wake words in noise and on sentences without them.

    python benchmarks/keywords.py --keywords /corpora/wake-words --negatives /corpora/sentences /corpora/more \\
        --noise /corpora/ESC-50 --snr_db 10 --peer

``--keywords`` and ``--negatives`` are folders of Kaldi lists. The text of a recording of the first is its keyword; it
is mixed with noise at the SNR, of types that no recipe trains on. Sentences of the second, in noise, too, are heard for
``--hours`` at most; those with a keyword in their text are left out. The threshold of a keyword is that of one false
alarm in ``--per_hours``, and a recording whose best score is not above it is missed.

With ``--peer``, pocketsphinx (its package has an English model) hears the same samples. What it hears depends on a
threshold that is set before, so it runs once for each of several.
"""

import argparse
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from timing import print_table
from voices import NOISE_TYPES

from speechtools import audio
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.memory import keep_freed_memory
from speechtools.core.registry import build
from speechtools.corpora.splits import select_noises
from speechtools.corpora.utterance import Utterance
from speechtools.degradations.chain import Chain
from speechtools.degradations.noise import read_noise_types
from speechtools.inference import KeywordDetector
from speechtools.keyword.tokens import normalized

RATE = 16000
#: Silence with noise around a keyword, and pauses between sentences (s).
MARGIN = 0.5
#: Thresholds of pocketsphinx, as exponents of 10, from many false alarms to few.
EXPONENTS = (-50, -40, -30, -20, -10, -5)


def noisy(samples: np.ndarray, utt_id: str, chain: Chain) -> np.ndarray:
    """Samples (samples,) with silence around, in a noise that is drawn by the id."""
    seed = int.from_bytes(hashlib.sha256(utt_id.encode()).digest()[:8], "big")
    padded = np.pad(samples, round(MARGIN * RATE))
    degraded = chain(padded, np.random.default_rng(seed))
    return (degraded / max(1.0, np.abs(degraded).max())).astype(np.float32)


def sentences(folders: Sequence[str], keywords: Sequence[str], hours: float) -> Iterator[Utterance]:
    """Utterances without the keywords, in a random order, of so many hours."""
    utterances = [u for folder in folders for u in build("corpus/kaldi", data_folder=folder)]
    seconds = 0.0
    for number in np.random.default_rng(0).permutation(len(utterances)):
        utterance = utterances[number]
        text = normalized(utterance.text or "")
        if any(keyword in text for keyword in keywords):
            continue
        seconds += utterance.duration + 2 * MARGIN
        if seconds > hours * 3600:
            return
        yield utterance


def read(utterance: Utterance) -> np.ndarray | None:
    """The samples of an utterance, or None if it cannot be read or is silent."""
    try:
        samples = audio.read(utterance.path, RATE)
        audio.check_signal(samples, utterance.path)
    except AudioError as error:
        print(f"left out: {error}")
        return None
    return samples - samples.mean()


class Detector:
    """Our detector: the network hears samples once, and each keyword is searched for in its log probabilities."""

    def __init__(self, model: KeywordDetector, keywords: Sequence[str]):
        self.model = model
        self.phrases = {keyword: model.phrases([keyword], threshold=0.0) for keyword in keywords}

    def scores(self, samples: np.ndarray) -> dict[str, list[float]]:
        """Scores of all candidates in samples (samples,), by keyword."""
        log_probs = self.model.log_probs(samples).numpy()
        found = {}
        for keyword, phrases in self.phrases.items():
            search = self.model.search(phrases)
            found[keyword] = [hit.score for hit in search.feed(log_probs) + search.finish()]
        return found


def misses_at(positive: np.ndarray, negative: np.ndarray, allowed: float) -> tuple[float, float]:
    """The share of positive scores that are not above the threshold of so many false alarms, and that threshold."""
    ordered = np.sort(negative)[::-1]
    threshold = float(ordered[int(allowed)]) if int(allowed) < len(ordered) else 0.0
    return float((positive <= threshold).mean()), threshold


def sphinx_decoder(keywords: Sequence[str], exponent: int, folder: Path):
    """A keyword spotter of pocketsphinx with one threshold for all keywords."""
    import pocketsphinx

    path = folder / f"keywords{exponent}.txt"
    path.write_text("".join(f"{keyword} /1e{exponent}/\n" for keyword in keywords), encoding="utf-8")
    dictionary = Path(pocketsphinx.get_model_path()) / "en-us" / "cmudict-en-us.dict"
    words = {line.split(maxsplit=1)[0] for line in dictionary.read_text(encoding="utf-8").splitlines() if line.strip()}
    decoder = pocketsphinx.Decoder(kws=str(path), dict=str(dictionary), loglevel="FATAL", samprate=RATE)
    for word, phones in {"alexa": "AH L EH K S AH", "snowboy": "S N OW B OY"}.items():
        if word not in words:
            decoder.add_word(word, phones, True)
    return decoder


def sphinx_hits(decoder, samples: np.ndarray) -> list[str]:
    """The keywords that pocketsphinx hears in samples (samples,)."""
    decoder.start_utt()
    hits, data = [], (samples * 32767).astype(np.int16).tobytes()
    for first in range(0, len(data), 4096):
        decoder.process_raw(data[first : first + 4096], False, False)
        if decoder.hyp() is not None:
            hits += [segment.word.strip() for segment in decoder.seg()][:1]
            decoder.end_utt()
            decoder.start_utt()
    decoder.end_utt()
    return hits


def main() -> None:
    """Print misses by keyword."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keywords", required=True, help="Kaldi lists whose texts are keywords")
    parser.add_argument("--negatives", nargs="+", required=True, help="Kaldi lists of sentences")
    parser.add_argument("--noise", required=True, help="a folder of noise types, such as ESC-50")
    parser.add_argument("--snr_db", type=float, default=10.0)
    parser.add_argument("--hours", type=float, default=10.0, help="of sentences, at most")
    parser.add_argument("--per_hours", type=float, default=10.0, help="hours with one false alarm")
    parser.add_argument("--per_keyword", type=int, help="recordings of each keyword, at most")
    parser.add_argument("--model", help="a detector's folder; default: the bundled one")
    parser.add_argument("--peer", action="store_true", help="pocketsphinx beside ours")
    parser.add_argument("--peer_hours", type=float, default=2.0, help="of sentences for pocketsphinx")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    types = select_noises(read_noise_types(arguments.noise), NOISE_TYPES, "noise types")
    chain = Chain(f"noise(snr_db={arguments.snr_db:g})", RATE, [path for paths in types.values() for path in paths])
    model = KeywordDetector.from_hparams(arguments.model, run_opts={"device": "cpu"})
    positives: dict[str, list[Utterance]] = {}
    for utterance in build("corpus/kaldi", data_folder=arguments.keywords):
        positives.setdefault(normalized(utterance.text or ""), []).append(utterance)
    if "" in positives:
        raise ConfigError("Some recordings of --keywords have no text. Their text must be their keyword.")
    keywords = sorted(positives)
    detector = Detector(model, keywords)
    scores = {keyword: [] for keyword in keywords}
    recordings: dict[str, list[np.ndarray]] = {keyword: [] for keyword in keywords}
    for keyword, utterances in positives.items():
        for utterance in utterances[: arguments.per_keyword]:
            if (samples := read(utterance)) is not None:
                recordings[keyword].append(noisy(samples, utterance.utt_id, chain))
                scores[keyword].append(max(detector.scores(recordings[keyword][-1])[keyword], default=0.0))
    false: dict[str, list[float]] = {keyword: [] for keyword in keywords}
    heard, spent, stream = 0.0, 0.0, []
    for utterance in sentences(arguments.negatives, keywords, arguments.hours):
        if (samples := read(utterance)) is None:
            continue
        mixed = noisy(samples, utterance.utt_id, chain)
        heard += len(mixed) / RATE
        if arguments.peer and heard < 3600 * arguments.peer_hours:
            stream.append(mixed)
        began = time.perf_counter()
        for keyword, found in detector.scores(mixed).items():
            false[keyword] += found
        spent += time.perf_counter() - began
    hours, rows = heard / 3600, []
    for keyword in keywords:
        missed, threshold = misses_at(np.array(scores[keyword]), np.array(false[keyword]), hours / arguments.per_hours)
        rows.append([keyword, str(len(scores[keyword])), f"{100 * missed:.1f} %", f"{threshold:.3f}"])
    title = f"{hours:.2f} h of sentences, {arguments.snr_db:g} dB SNR, one false alarm in {arguments.per_hours:g} h"
    print_table(title, rows, ["keyword", "recordings", "missed", "threshold"])
    mean = np.mean([float(row[2].split()[0]) for row in rows])
    print(f"mean {mean:.1f} %; real-time factor with {len(keywords)} keywords, one thread: {spent / heard:.4f}")
    if arguments.peer:
        compare(keywords, recordings, stream)


def compare(keywords: Sequence[str], recordings: dict[str, list[np.ndarray]], stream: list[np.ndarray]) -> None:
    """Print the misses and false alarms of pocketsphinx by threshold."""
    import tempfile

    hours, rows = sum(map(len, stream)) / RATE / 3600, []
    with tempfile.TemporaryDirectory() as folder:
        for exponent in EXPONENTS:
            decoder = sphinx_decoder(keywords, exponent, Path(folder))
            missed = [
                np.mean([keyword not in sphinx_hits(decoder, samples) for samples in recordings[keyword]])
                for keyword in keywords
            ]
            alarms = sum(len(sphinx_hits(decoder, samples)) for samples in stream)
            rates = [f"{100 * share:.1f} %" for share in missed]
            mean, an_hour = f"{100 * np.mean(missed):.1f} %", alarms / hours / len(keywords)
            rows.append([f"1e{exponent}", *rates, mean, f"{an_hour:.2f}"])
    title = f"pocketsphinx, the same recordings, {hours:.2f} h of the sentences"
    print_table(title, rows, ["threshold", *keywords, "mean", "false alarms of a keyword in an hour"])


if __name__ == "__main__":
    main()
