"""Weights of windows by quality: EERs for limits and spreads, one side degraded in a part or as a whole.

    python benchmarks/weighing.py --set /corpora/common-voice --noise /corpora/ESC-50

It chose the defaults of ``weigh_by_quality``, on recordings that are not those of a test; benchmarks/voices.py --weigh
measures them there. Every recording is embedded and scored once, whatever the number of limits and spreads.

``test``: one clean utterance to enrol, the other side degraded. ``enrolment``: voiceprints of ``--num_enrolment``
degraded utterances, clean tests. The first row counts all windows the same.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from timing import print_table
from voices import NOISE_TYPES, RATE, degrade, load, read_set

from speechtools import audio, metrics
from speechtools.core.errors import AudioError, SpeechtoolsError
from speechtools.corpora.splits import select_noises
from speechtools.degradations.chain import Chain
from speechtools.degradations.noise import read_noise_types
from speechtools.inference import QualityNet, SpeakerVerification
from speechtools.speaker.dvectors import unit, utterance_dvector, weighted_mean
from speechtools.speaker.trials import make_trials
from speechtools.speaker.weighing import recording_weights, weights_of

CHAINS = {
    "noise in a part": "noise(snr_db=[-5, 5], share=[0.3, 0.6])",
    "loss in a part": "loss(rate=[0.2, 0.5], share=[0.3, 0.6])",
    "noise": "noise(snr_db=[0, 20])",
}
#: The d-vectors (windows, emb) of the windows of a recording, and their scores (windows,).
Windows = tuple[torch.Tensor, np.ndarray]


def embed(verifier: SpeakerVerification, wav: np.ndarray) -> Windows | None:
    """Windows of a waveform (samples,); None if they contain no speech."""
    try:
        windows = verifier.encode_file_windows(wav, sample_rate=RATE)
    except AudioError:
        return None
    assert windows.margins is not None
    return unit(windows.dvectors), windows.margins  # with limit 0 and spread 1, these are the scores


def voiceprint(recordings: list[Windows], limit: float, spread: float) -> np.ndarray:
    """The d-vector (emb,) of one recording or several; an infinite spread counts all windows the same."""
    if np.isinf(spread):
        means = torch.stack([utterance_dvector(vectors) for vectors, _ in recordings])
        return unit(means.mean(dim=0)).numpy()
    margins = [(scores - limit) / spread for _, scores in recordings]
    means = torch.stack(
        [
            utterance_dvector(vectors, torch.from_numpy(weights_of(margin)))
            for (vectors, _), margin in zip(recordings, margins, strict=True)
        ]
    )
    return unit(weighted_mean(means, torch.from_numpy(recording_weights(margins)))).numpy()


def eer(
    enrolled: list[Windows], tested: list[Windows], speakers: np.ndarray, number: int, limit: float, spread: float
) -> float:
    """EER of voiceprints of so many recordings of one side, tested with recordings of the other."""
    tests = np.stack([voiceprint([recording], limit, spread) for recording in tested])
    if number == 1:
        prints = np.stack([voiceprint([recording], limit, spread) for recording in enrolled])
        first, second = np.nonzero(~np.eye(len(speakers), dtype=bool))
        scores, is_target = (prints @ tests.T)[first, second], speakers[first] == speakers[second]
    else:
        trials = make_trials(speakers, list(map(str, range(speakers.max() + 1))), number)
        prints = np.stack([voiceprint([enrolled[i] for i in members], limit, spread) for members in trials.enrolments])
        scores, is_target = np.einsum("te,te->t", prints[trials.models], tests[trials.tests]), trials.targets
    return metrics.eer(scores[is_target], scores[~is_target])[0]


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", required=True, metavar="FOLDER", help="Kaldi lists, or in the layout of LibriSpeech")
    parser.add_argument("--model", help="default: the bundled one")
    parser.add_argument("--module", nargs="+", default=[], help="files of plugins that the model needs")
    parser.add_argument("--quality_model", help="default: the bundled one")
    parser.add_argument("--noise", help="folder of noises; default: the built-in ones of degradation/noise")
    parser.add_argument("--noise_types", nargs="+", default=NOISE_TYPES, help="of that folder")
    parser.add_argument("--num_speakers", type=int, default=60)
    parser.add_argument("--per_speaker", type=int, default=5)
    parser.add_argument("--num_enrolment", type=int, default=3)
    parser.add_argument("--limits", nargs="+", type=float, default=[-0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0])
    parser.add_argument("--spreads", nargs="+", type=float, default=[0.25, 0.5, 1.0, 2.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    noises: list[Path] = []
    if arguments.noise:
        types = select_noises(read_noise_types(arguments.noise), arguments.noise_types, "--noise_types")
        noises = [path for paths in types.values() for path in paths]
    verifier = load(arguments.model, arguments.module)
    net = QualityNet.from_hparams(arguments.quality_model, run_opts={"device": "cpu"})
    verifier.weigh_by_quality(net, limit=0.0, spread=1.0)
    utterances = read_set(arguments.set, [], arguments.per_speaker, arguments.seed)
    names = sorted({u.speaker for u in utterances})
    enough = [name for name in names if sum(u.speaker == name for u in utterances) > arguments.num_enrolment]
    chosen = set(np.random.default_rng(arguments.seed).permutation(enough)[: arguments.num_speakers].tolist())
    utterances = [u for u in utterances if u.speaker in chosen]
    sides: dict[str, list[Windows | None]] = {name: [] for name in ("clean", *CHAINS)}
    for utterance in utterances:
        wav = audio.read(utterance.path, RATE)
        sides["clean"].append(embed(verifier, wav))
        for name, chain in CHAINS.items():
            degraded = degrade([Chain(chain, RATE, noises)], wav, utterance, arguments.seed)
            sides[name].append(embed(verifier, degraded))
    kept = [i for i in range(len(utterances)) if all(side[i] is not None for side in sides.values())]
    usable = {name: [side[i] for i in kept] for name, side in sides.items()}
    speakers = np.unique([utterances[i].speaker for i in kept], return_inverse=True)[1]
    print(f"{len(kept)} utterances of {len(np.unique(speakers))} speakers; {len(utterances) - len(kept)} left out")
    for name, side in usable.items():
        print(f"{name}: scores {np.quantile(np.concatenate([scores for _, scores in side]), [0.1, 0.5, 0.9]).round(2)}")
    rows = []
    pairs = [(-np.inf, np.inf), *((limit, spread) for limit in arguments.limits for spread in arguments.spreads)]
    for limit, spread in pairs:
        cells = [eer(usable["clean"], usable[name], speakers, 1, limit, spread) for name in ("clean", *CHAINS)]
        cells += [
            eer(usable[name], usable["clean"], speakers, arguments.num_enrolment, limit, spread)
            for name in ("clean", *CHAINS)
        ]
        cells.append(float(np.mean([*cells[1:4], *cells[5:]])))
        rows.append((f"{limit:g}", f"{spread:g}", *(f"{100 * cell:.2f}" for cell in cells)))
    sides_of = [f"{side}: {name}" for side in ("test", "enrolment") for name in ("clean", *CHAINS)]
    print_table("EER in %", rows, ("limit", "spread", *sides_of, "mean degraded"))


if __name__ == "__main__":
    try:
        main()
    except SpeechtoolsError as error:
        raise SystemExit(f"error: {error}") from error
