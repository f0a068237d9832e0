"""Diarization error rate on composed conversations, and speed on one thread.

    python benchmarks/diarization.py --corpus kaldi --data_folder /corpora/speechocean762/test

Conversations are composed from the utterances of a corpus (speechtools/corpora/conversations.py). The error rates are
those of the package simpleder, over all conversations with a number of speakers: the time that is missed, falsely taken
for speech, or given to the wrong speaker, over the time of speech. Speech of two at once counts twice. The collar
leaves out 0.25 s on both sides of each border of the reference. Once the number of speakers is estimated, once
it is given.

The speed is the length of the recordings over the processor's time for them, from samples in memory.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import simpleder
import torch
from timing import print_table

from speechtools.audio.turns import Turn
from speechtools.core.registry import build
from speechtools.corpora.conversations import compose
from speechtools.inference import SpeakerDiarization
from speechtools.speaker.timeline import timeline

COLLAR = 0.25
COLUMNS = ("speakers", "number", "right", "missed", "false", "confused", "DER", "DER, collar", "× real time")


def segments(turns: list[Turn]) -> list[tuple[str, float, float]]:
    """Turns as simpleder takes them."""
    return [(turn.speaker, float(turn.start), float(turn.end)) for turn in turns if turn.duration > 0]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="builtin")
    parser.add_argument("--data_folder", type=Path)
    parser.add_argument("--split", default="", help="use the utterances of this split alone")
    parser.add_argument("--model")
    parser.add_argument("--threshold", type=float, help="cosine from which two speakers are the same, not the model's")
    parser.add_argument("--vad", help="another detector than the model's, such as silero")
    parser.add_argument("--speakers", type=int, nargs="+", default=[1, 2, 3, 4, 6, 8])
    parser.add_argument("--conversations", type=int, default=10, help="for each number of speakers")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--overlap", type=float, default=0.3, help="share of the changes of speaker")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--png", type=Path, help="draw the first conversation of each number in this folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    options = {"data_folder": arguments.data_folder} if arguments.data_folder else {}
    utterances = [u for u in build(f"corpus/{arguments.corpus}", **options) if arguments.split in ("", u.split)]
    diarizer = SpeakerDiarization.from_hparams(arguments.model, run_opts={"device": "cpu"})
    if arguments.threshold is not None:
        diarizer.same_speaker = arguments.threshold
    if arguments.vad:
        diarizer.use_vad(arguments.vad)
    diarizer.diarize_file(compose(utterances, 2, 0, seconds=10).samples, 2)  # loads what is loaded late
    totals: dict[tuple[int, bool], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    lengths, overlaps = [], []
    for count in arguments.speakers:
        for number in range(arguments.conversations):
            seed = (arguments.seed, count, number)
            conversation = compose(utterances, count, seed, seconds=arguments.seconds, overlap=arguments.overlap)
            lengths.append(conversation.seconds)
            overlaps.append(conversation.overlap)
            reference = segments(conversation.turns)
            for given in (False, True):
                start = time.process_time()
                result = diarizer.diarize_file(conversation.samples, count if given else None)
                sums = totals[count, given]
                sums["processor"] += time.process_time() - start
                sums["seconds"] += conversation.seconds
                sums["right"] += len(result.speakers) == count
                for prefix, collar in (("", 0.0), ("collar ", COLLAR)):
                    error = simpleder.DER(reference, segments(result.turns), collar=collar, detailed=True)
                    for name in ("miss", "false_alarm", "confusion", "ref_length"):
                        sums[prefix + name] += error[name]
                if arguments.png and number == 0 and not given:
                    name = f"a composed conversation of {count} speakers"
                    rows = {"reference": conversation.turns, "result": result.turns}
                    path = arguments.png / f"{count}.png"
                    timeline(path, conversation.samples, conversation.sample_rate, rows, name)
    groups = [(str(count), [count]) for count in arguments.speakers]
    if middle := [count for count in arguments.speakers if 2 <= count <= 4]:
        groups.append((f"{min(middle)} to {max(middle)}", middle))
    rows = []
    for given in (False, True):
        for name, counts in groups:
            sums = defaultdict(float)
            for count in counts:
                for key, value in totals[count, given].items():
                    sums[key] += value
            parts = [sums[key] / sums["ref_length"] for key in ("miss", "false_alarm", "confusion")]
            collar = sum(sums[f"collar {key}"] for key in ("miss", "false_alarm", "confusion"))
            rows.append(
                [
                    name,
                    "given" if given else "estimated",
                    f"{sums['right'] / (arguments.conversations * len(counts)):.0%}",
                    *(f"{100 * part:.1f} %" for part in (*parts, sum(parts), collar / sums["collar ref_length"])),
                    f"{sums['seconds'] / sums['processor']:.0f}",
                ]
            )
    title = f"{len(lengths)} conversations of {min(lengths):.0f} to {max(lengths):.0f} s, two at once in "
    print_table(
        f"{title}{100 * np.mean(overlaps):.1f} % of the speech; model {arguments.model or 'bundled'}", rows, COLUMNS
    )


if __name__ == "__main__":
    main()
