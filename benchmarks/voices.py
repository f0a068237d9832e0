"""Error rates of speaker verification with one utterance to enrol, clean and with one side degraded.

    python benchmarks/voices.py --sets telephone=/corpora/speechocean762/test read=/corpora/LibriSpeech-dev-clean \\
        --noise /corpora/ESC-50 --peer

A set is a folder of Kaldi lists or in the layout of LibriSpeech. Every utterance, at most ``--per_speaker`` of each
speaker, is enrolled alone and compared with all others: the same trials for every encoder. In the degraded conditions,
the test side goes through chains of ``degradation/*``, drawn by the seed and the id of the utterance, with rooms and
types of noise that no recipe trains on. Each file is read once and embedded once for each condition.

Beside the encoder there is an untrained one of the same architecture, with ``--weigh`` the same encoder with windows
weighed by the bundled Quality-Net, further models (``--also name=folder``), and with ``--peer`` Resemblyzer, if its
package is installed. A model is rated by its cosines; with a cohort also by normalised scores; and with a calibration
by its log-likelihood ratios, with which it decides; if this uses quality, the bundled Quality-Net assesses every
recording, and its time counts, too. Misses and false alarms are those at its own threshold; what a model lacks is shown
as -. The interval of an EER is the bootstrap over speakers.
"""

import argparse
import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from timing import print_table

from speechtools import audio
from speechtools.core import metrics, registry
from speechtools.core.errors import AudioError, ConfigError, SpeechtoolsError
from speechtools.core.memory import keep_freed_memory
from speechtools.corpora.splits import select_noises
from speechtools.corpora.utterance import Utterance
from speechtools.degradations.chain import Chain
from speechtools.degradations.noise import PEAK_LIMIT, read_noise_types
from speechtools.inference import QualityNet, SpeakerVerification
from speechtools.speaker.calibration import Conditions
from speechtools.speaker.data import fewer_utterances
from speechtools.speaker.dvectors import unit
from speechtools.speaker.trials import Trials

RATE = 16000
#: Types of ESC-50 that hparams/noise leaves to tests.
NOISE_TYPES = "vacuum_cleaner sea_waves church_bells keyboard_typing helicopter laughing clapping crying_baby".split()
_CODECS = ["codec(codecs=[gsm, g711, adpcm])", "codec(codecs=[opus, mp3, aac])", "codec(codecs=[amr-nb])"]
_ROOMS = ["reverb(rt60=[0.3, 0.8], first_room=1000, rooms=100)"]
_NOISE = ["noise(snr_db=[0, 10])", "noise(snr_db=[10, 20])"]
_CHAINS = [f"{_ROOMS[0]}+noise(snr_db=[5, 20])", f"noise(snr_db=[5, 20])+{_CODECS[0]}", f"{_ROOMS[0]}+{_CODECS[1]}"]
#: Chains of each condition, one of which is drawn for each utterance.
CONDITIONS: dict[str, list[str]] = {
    "clean": [],
    "codecs": _CODECS,
    "rooms": _ROOMS,
    "noise": _NOISE,
    "degraded": [*_CODECS, *_ROOMS, *_NOISE, *_CHAINS],
    "part": ["noise(snr_db=[-5, 5], share=[0.3, 0.6])", "loss(rate=[0.2, 0.5], share=[0.3, 0.6])"],
}
COLUMNS = ("set", "condition", "encoder: scores", "EER", "95 %", "minDCF", "Cllr", "min Cllr", "misses", "false alarms")


class Embedding(NamedTuple):
    """The d-vector (emb,) of a recording, the seconds of speech, and their quality, NaN where it is not assessed."""

    dvector: np.ndarray
    seconds: float
    quality: float = np.nan


@dataclass
class Encoder:
    """An encoder, and what it made of a set by condition, in the order of the utterances.

    ``embed`` yields what it makes of each waveform (samples,), or None without speech.
    """

    name: str
    embed: Callable[[list[np.ndarray]], Iterable[Embedding | None]]
    verifier: SpeakerVerification | None = None
    embedded: dict[str, list[Embedding | None]] = field(default_factory=dict)
    seconds: float = 0.0


def ours(name: str, verifier: SpeakerVerification) -> Encoder:
    """An encoder of the toolkit."""
    verifier.assess_for_calibration()

    def embed(wavs: list[np.ndarray]) -> Iterable[Embedding | None]:
        for _, result in verifier.embed_files(wavs, sample_rate=RATE):
            if isinstance(result, AudioError):
                yield None
            else:
                quality = np.nan if result.quality is None else result.quality
                yield Embedding(result.dvector.numpy(), result.seconds, quality)

    return Encoder(name, embed, verifier)


def untrained(model: str | None, plugins: list[str], seed: int = 0) -> Encoder:
    """The same architecture with random weights."""
    verifier = load(model, plugins)
    torch.manual_seed(seed)
    verifier.encoder = registry.build(**registry.definition(verifier.mods.encoder)).eval()
    encoder = ours("untrained", verifier)
    encoder.verifier = None  # the threshold is not of these weights
    return encoder


def weighed(model: str | None, plugins: list[str]) -> Encoder:
    """The same encoder, whose windows are weighed by quality."""
    verifier = load(model, plugins)
    verifier.weigh_by_quality(QualityNet.from_hparams(run_opts={"device": "cpu"}))
    return ours("weighed", verifier)


def load(model: str | None, plugins: list[str]) -> SpeakerVerification:
    """Load a model on the CPU."""
    return SpeakerVerification.from_hparams(model, run_opts={"device": "cpu"}, plugins=plugins)


def resemblyzer() -> Encoder | None:
    """The encoder of the package resemblyzer, or None, with a message, where it is not installed."""
    try:
        import resemblyzer as package
    except ImportError as error:
        print(f"Resemblyzer is left out: {error}. Install the packages resemblyzer and webrtcvad-wheels.")
        return None
    upstream = package.VoiceEncoder("cpu", verbose=False)

    def embed(wavs: list[np.ndarray]) -> Iterable[Embedding | None]:
        for wav in wavs:
            speech = package.preprocess_wav(wav, source_sr=RATE)
            yield Embedding(upstream.embed_utterance(speech), len(speech) / RATE) if len(speech) else None

    return Encoder("Resemblyzer", embed)


def read_set(folder: str, patterns: list[str], per_speaker: int, seed: int) -> list[Utterance]:
    """The utterances of a folder whose ids match a pattern, of speakers that have two or more."""
    root = Path(folder)
    reader = "kaldi" if list(root.glob("wav.scp")) or list(root.glob("*/wav.scp")) else "librispeech"
    utterances = list(registry.build(f"corpus/{reader}", data_folder=folder))
    if patterns:
        utterances = [u for u in utterances if any(fnmatchcase(u.utt_id, pattern) for pattern in patterns)]
    utterances = fewer_utterances(utterances, per_speaker, seed)
    speakers = [u.speaker for u in utterances]
    utterances = [u for u in utterances if speakers.count(u.speaker) > 1]
    if len({u.speaker for u in utterances}) < 2:
        raise ConfigError(f"{folder} has fewer than two speakers with two utterances. Check the folder and --only.")
    return utterances


def degrade(chains: list[Chain], samples: np.ndarray, utterance: Utterance, seed: int) -> np.ndarray:
    """Samples (samples,) through a chain that the seed and the id of the utterance draw."""
    digest = hashlib.sha256(f"{seed} {utterance.utt_id}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    degraded = chains[int(rng.integers(len(chains)))](samples, rng)
    return (degraded * min(1.0, PEAK_LIMIT / max(float(np.abs(degraded).max()), PEAK_LIMIT))).astype(np.float32)


def embed_set(encoders: list[Encoder], utterances: list[Utterance], chains: dict[str, list[Chain]], seed: int) -> None:
    """Embed all utterances in all conditions with all encoders, some files at a time."""
    for encoder in encoders:
        encoder.embedded = {condition: [] for condition in chains}
        encoder.seconds = 0.0
    for first in range(0, len(utterances), 64):
        part = utterances[first : first + 64]
        wavs = [audio.read(u.path, RATE) for u in part]
        for condition, of_condition in chains.items():
            used = wavs
            if of_condition:
                used = [degrade(of_condition, wav, u, seed) for wav, u in zip(wavs, part, strict=True)]
            for encoder in encoders:
                start = time.process_time()
                encoder.embedded[condition] += list(encoder.embed(used))
                encoder.seconds += time.process_time() - start


def measure(encoder: Encoder, condition: str, kept: np.ndarray, speakers: np.ndarray) -> dict[str, dict[str, float]]:
    """Metrics of all utterances against all others, of which ``kept`` are the numbers, by kind of scores."""
    sides = [[encoder.embedded[side][number] for number in kept] for side in ("clean", condition)]
    enrolled, tested = (
        unit(torch.from_numpy(np.stack([embedding.dvector for embedding in side])).double()).numpy() for side in sides
    )
    first, second = np.nonzero(~np.eye(len(kept), dtype=bool))
    names, enrolments = [str(number) for number in kept], list(np.arange(len(kept))[:, None])
    trials = Trials(names, enrolments, first, second + len(kept), speakers[first] == speakers[second])
    both = np.concatenate([enrolled, tested])
    cosines = trials.scores(both)
    scores: dict[str, tuple[np.ndarray, float | None]] = {"cosine": (cosines, None)}
    verifier = encoder.verifier
    if verifier is not None and verifier.calibration is not None:
        normalized = trials.scores(both, None, verifier.normalization)
        if verifier.normalization is not None:
            scores[verifier.normalization.scale] = normalized, None
        models, tests = (np.array([(embedding.seconds, embedding.quality) for embedding in side]).T for side in sides)
        # (2, recordings)
        conditions = Conditions(1, models[0][first], tests[0][second], models[1][first], tests[1][second])
        scores["calibrated"] = verifier.calibration.llr(normalized, conditions), 0.0
    elif verifier is not None:
        scores["cosine"] = cosines, verifier.threshold
    return {
        f"{encoder.name}: {kind}": rates(values, threshold, speakers[first], speakers[second], kind == "calibrated")
        for kind, (values, threshold) in scores.items()
    }


def rates(
    scores: np.ndarray, threshold: float | None, first: np.ndarray, second: np.ndarray, are_llrs: bool
) -> dict[str, float]:
    """Metrics of scores (trials,) of trials with the speakers ``first`` and ``second`` (trials,)."""
    is_target = first == second
    targets, nontargets = scores[is_target], scores[~is_target]
    rate, eer_threshold = metrics.eer(targets, nontargets)
    low, high = metrics.eer_bootstrap(scores, first, second)
    values = {
        "eer": rate,
        "eer_low": low,
        "eer_high": high,
        "eer_threshold": eer_threshold,
        "min_dcf": metrics.min_dcf(targets, nontargets),
        "min_cllr": metrics.min_cllr(targets, nontargets),
        "speakers": len(np.unique(first)),
        "targets": len(targets),
        "nontargets": len(nontargets),
    }
    if threshold is not None:
        values["misses"] = float((targets < threshold).mean())
        values["false_alarms"] = float((nontargets >= threshold).mean())
    if are_llrs:
        values["cllr"] = metrics.cllr(targets, nontargets)
    return values


def row(name: str, condition: str, encoder: str, values: dict[str, float]) -> tuple[str, ...]:
    """The line of a table."""
    percent = {key: f"{100 * values[key]:.2f} %" if key in values else "-" for key in ("eer", "misses", "false_alarms")}
    interval = f"{100 * values['eer_low']:.1f} to {100 * values['eer_high']:.1f}"
    numbers = [f"{values[key]:.3f}" if key in values else "-" for key in ("min_dcf", "cllr", "min_cllr")]
    return (name, condition, encoder, percent["eer"], interval, *numbers, percent["misses"], percent["false_alarms"])


def pairs(texts: list[str], option: str) -> dict[str, str]:
    """Read NAME=VALUE."""
    if wrong := [text for text in texts if not all(text.partition("="))]:
        raise ConfigError(f"{option} {wrong[0]}: write NAME=VALUE.")
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME=PATTERNS", help="of utterance ids: cv=br_*,el_*")
    parser.add_argument("--model", help="default: the bundled one")
    parser.add_argument("--module", nargs="+", default=[], help="files of plugins that the model needs")
    parser.add_argument("--also", nargs="+", default=[], metavar="NAME=FOLDER", help="further models")
    parser.add_argument("--peer", action="store_true", help="Resemblyzer, too")
    parser.add_argument("--weigh", action="store_true", help="with windows weighed by quality, too")
    parser.add_argument("--untrained", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--conditions", nargs="+", choices=list(CONDITIONS), default=["clean", "degraded"])
    parser.add_argument("--noise", help="folder of noises; default: the built-in ones of degradation/noise")
    parser.add_argument("--noise_types", nargs="+", default=NOISE_TYPES, help="of that folder")
    parser.add_argument("--per_speaker", type=int, default=8, help="utterances of each speaker at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of the packages that Resemblyzer uses
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    sets, only = pairs(arguments.sets, "--sets"), pairs(arguments.only, "--only")
    if unknown := only.keys() - sets.keys():
        raise ConfigError(f"--only names {', '.join(sorted(unknown))}, which --sets does not.")
    noises: list[Path] = []
    if arguments.noise:
        types = select_noises(read_noise_types(arguments.noise), arguments.noise_types, "--noise_types")
        noises = [path for paths in types.values() for path in paths]
    conditions = list(dict.fromkeys(["clean", *arguments.conditions]))
    chains = {name: [Chain(steps, RATE, noises) for steps in CONDITIONS[name]] for name in conditions}
    verifier = load(arguments.model, arguments.module)
    encoders = [ours("speechtools", verifier)]
    encoders += [weighed(arguments.model, arguments.module)] if arguments.weigh else []
    also = pairs(arguments.also, "--also")
    encoders += [ours(name, load(folder, arguments.module)) for name, folder in also.items()]
    encoders += [untrained(arguments.model, arguments.module)] if arguments.untrained else []
    encoders += [peer] if arguments.peer and (peer := resemblyzer()) else []
    results: dict[str, dict] = {}
    rows = []
    for name, folder in sets.items():
        patterns = [pattern for pattern in only.get(name, "").split(",") if pattern]
        utterances = read_set(folder, patterns, arguments.per_speaker, arguments.seed)
        embed_set(encoders, utterances, chains, arguments.seed)
        labels = np.unique([u.speaker for u in utterances], return_inverse=True)[1]
        seconds = sum(u.duration for u in utterances) * len(chains)
        for condition in conditions:
            used = [encoder.embedded[side] for encoder in encoders for side in {"clean", condition}]
            kept = np.flatnonzero([all(d[i] is not None for d in used) for i in range(len(utterances))])
            for encoder in encoders:
                for kind, values in measure(encoder, condition, kept, labels[kept]).items():
                    values |= {"left_out": len(utterances) - len(kept), "times_real_time": seconds / encoder.seconds}
                    results.setdefault(name, {}).setdefault(condition, {})[kind] = values
                    if condition in arguments.conditions:
                        rows.append(row(name, condition, kind, values))
    print_table("one utterance to enrol; test side degraded", rows, COLUMNS)
    for name, of_set in results.items():
        first = next(iter(of_set[conditions[-1]].values()))
        speed = ", ".join(f"{e.name} {of_set['clean'][f'{e.name}: cosine']['times_real_time']:.0f} ×" for e in encoders)
        left_out = max(values["left_out"] for by_encoder in of_set.values() for values in by_encoder.values())
        print(
            f"{name}: {first['speakers']} speakers, {first['targets']} + "
            f"{first['nontargets']} trials; {left_out} without speech left out; real time on the CPU: {speed}"
        )
    if arguments.json:
        options = {key: value for key, value in vars(arguments).items() if key != "json"}
        arguments.json.write_text(json.dumps({"options": options, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except SpeechtoolsError as error:
        raise SystemExit(f"error: {error}") from error
