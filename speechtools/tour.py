"""First steps with synthetic recordings: ``python -m speechtools.tour``.

Scores three recordings, enrolls two voices and verifies a third, with the bundled models. It runs the lines of Python
that it prints. The recordings (espeak-ng, extra ``recipes``) stay in the folder ``tour``.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

import speechtools
from speechtools.core.errors import SpeechtoolsError
from speechtools.inference import QualityReport

#: Voices that sound different, and their names in the built-in corpus of ``_SEED``.
VOICES = {"anna": "fdfh0", "ben": "mefn0", "clara": "fgkl0"}
RECORDINGS_OF_A_VOICE = 4
_SEED = 6

_SCORE = """\
from speechtools.inference import QualityNet

net = QualityNet.from_hparams()
reports = {}
for name in ["clean", "a_bit_noisy", "very_noisy"]:
    reports[name] = net.assess_file(f"{folder}/{name}.wav")
"""
_REGIONS = """\
regions = reports["very_noisy"].degraded_regions(below=2.0, min_duration=0.1)
"""
_ENROLL = """\
from speechtools.inference import SpeakerVerification

verifier = SpeakerVerification.from_hparams()
for name in ["anna", "ben"]:
    three = [f"{folder}/{name}_{number}.wav" for number in (1, 2, 3)]
    verifier.enroll(name, three)
"""
_VERIFY = """\
verdicts = {}
for recording in ["anna_4", "ben_4", "clara_4"]:
    verdicts[recording] = verifier.verify("anna", f"{folder}/{recording}.wav")
"""


def write_recordings(folder: str | Path) -> Path:
    """Write the recordings of the tour into a folder, as 16 kHz WAV files, and return the folder.

    ``clean.wav``, ``a_bit_noisy.wav`` (street noise at 15 dB) and ``very_noisy.wav`` (at -5 dB after the first third)
    are one sentence; ``anna_1.wav`` to ``clara_4.wav`` are four sentences of each voice. They are the same every time.

    Raises
    ------
    SpeechtoolsError
        The package espeakng-loader is not installed, or the folder cannot be written.
    """
    from speechtools import audio
    from speechtools.audio.noises import make_noise
    from speechtools.degradations.noise import partly_noisy

    folder = Path(folder)
    recordings: dict[str, list[np.ndarray]] = defaultdict(list)
    with TemporaryDirectory() as corpus:
        sizes = {"num_train_speakers": 2, "num_test_speakers": 1}
        for utterance in speechtools.build("corpus/builtin", sizes, data_folder=corpus, seed=_SEED, num_workers=1):
            recordings[utterance.speaker].append(audio.read(utterance.path))
    for voice, speaker in VOICES.items():
        for number, samples in enumerate(recordings[speaker][:RECORDINGS_OF_A_VOICE], start=1):
            audio.write(folder / f"{voice}_{number}.wav", samples)
    clean, street = recordings[VOICES["ben"]][-1], make_noise("street")
    audio.write(folder / "clean.wav", clean)
    for name, snr_db, start in (("a_bit_noisy", 15, 0), ("very_noisy", -5, len(clean) // 3)):
        audio.write(folder / f"{name}.wav", partly_noisy(clean, street, snr_db, start, len(clean)))
    return folder


def frame_bars(report: QualityReport, width: int) -> Text:
    """Draw frame scores as bars of eight heights: green above 3, yellow above 2, red below."""
    groups = np.array_split(report.frame_scores, min(width, len(report.frame_scores)))
    bars = Text()
    for score in map(np.mean, groups):
        height = int(np.clip((score - 1) / 3.5 * 8, 0, 7))
        bars.append("▁▂▃▄▅▆▇█"[height], style="green" if score > 3 else "yellow" if score > 2 else "red")
    return bars


def tour(folder: str | Path = "tour", png: str | Path | None = None, console: Console | None = None) -> dict:
    """Run the first steps, print them, and return the variables of the printed lines.

    Parameters
    ----------
    folder : str or Path
        Folder for the recordings.
    png : str or Path, optional
        File for a plot of the frame scores.

    Raises
    ------
    SpeechtoolsError
        As in :func:`write_recordings`.
    """
    console = console or Console(highlight=False)
    variables: dict = {}

    def run(code: str) -> None:
        console.print(Syntax(code.rstrip(), "python", background_color="default", word_wrap=True))
        exec(code, variables)
        console.print()

    console.print("[bold]1. Recordings[/bold] of synthetic voices")
    write_recordings(folder)
    console.print(f"{folder}: clean.wav, a_bit_noisy.wav, very_noisy.wav; anna_1.wav to clara_4.wav\n")

    console.print("[bold]2. How good does it sound?[/bold] PESQ (−0.5 to 4.5), predicted without a reference")
    run(f"folder = {Path(folder).as_posix()!r}\n{_SCORE}")
    table = Table("recording", "score", "frame scores, from start to end", box=None)
    for name, report in variables["reports"].items():
        table.add_row(name, f"{report.score:.2f}", frame_bars(report, max(console.width - 30, 20)))
    console.print(table)
    console.print("\nWhere is the quality low?")
    run(_REGIONS)
    for region in variables["regions"]:
        console.print(f"from {region.start:.2f} to {region.end:.2f} s: {region.score:.2f}")
    if png is not None:
        from speechtools import audio
        from speechtools.quality import plots

        reports = variables["reports"].items()
        recordings = [(name, audio.read(Path(folder) / f"{name}.wav"), report) for name, report in reports]
        console.print(f"Plot: {plots.frame_scores(png, recordings, variables['net'].sample_rate)}")

    console.print("\n[bold]3. Who is speaking?[/bold] Enroll two voices from three recordings each")
    run(_ENROLL)
    console.print("Is it anna? Another recording of her, one of ben, and one of clara, who is not enrolled")
    run(_VERIFY)
    table = Table("recording", "score", "threshold", "probability", "decision", box=None)
    for name, verdict in variables["verdicts"].items():
        numbers = f"{verdict.score:.2f}", f"{verdict.threshold:.2f}", f"{verdict.probability:.2f}"
        table.add_row(name, *numbers, "accepted as anna" if verdict.accepted else "rejected")
    console.print(table)

    console.print("\n[bold]4. Next[/bold], with your own recordings:")
    console.print(f"  speechtools score {folder}")
    console.print(f"  speechtools enhance {folder}/very_noisy.wav enhanced.wav")
    console.print(f"  speechtools verify {folder}/anna_1.wav {folder}/clara_4.wav")
    return variables


def main(argv: list[str] | None = None) -> int:
    """Run the tour and return its exit status: 0 or 1."""
    parser = argparse.ArgumentParser(prog="python -m speechtools.tour", description="First steps, in under a minute.")
    parser.add_argument("--folder", default="tour", help="folder for the recordings (tour)")
    parser.add_argument("--png", metavar="FILE", help="plot the frame scores and the spectrograms")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)  # fastest for small networks
    try:
        tour(arguments.folder, arguments.png)
    except (SpeechtoolsError, OSError) as error:  # such as a full disk
        print(f"speechtools: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
