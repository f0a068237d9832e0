"""``speechtools verify`` and ``identify``."""

import dataclasses
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import click

from speechtools.cli.command import command
from speechtools.cli.common import (
    batch_size_option,
    channel_option,
    load_model,
    model_options,
    module_option,
    overwrite_option,
    print_problems,
    progress,
    quality_options,
    recordings,
    refuse_inputs,
    weigh_by_quality,
)
from speechtools.cli.tables import open_tables, print_summary, table_options, write_all
from speechtools.cli.voice_files import voices_option
from speechtools.core.errors import AudioError, ConfigError, SpeechtoolsError, printable
from speechtools.core.rows import Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identification(Row):
    """A voice that a recording may be of; without ``name``, it is of none of the enrolled voices."""

    file: str
    rank: int | None = None
    name: str | None = None
    score: float | None = None
    probability: float | None = None
    usable_seconds: float | None = None
    speech_seconds: float | None = None
    error: str | None = None


def prior_option(command: Callable) -> Callable:
    """Add ``--prior``."""
    return click.option(
        "--prior",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        metavar="NUMBER",
        default=0.5,
        show_default=True,
        help="Probability of the same voice before the comparison, for a calibrated model.",
    )(command)


# --------------------------------------------------------------------------------------------------------------- enroll


@command(
    examples=[
        "speechtools verify one.wav other.wav",
        "speechtools verify anna call.wav --voices voices.npz",
        "if speechtools verify --quiet anna call.wav --voices voices.npz; then …; fi",
    ]
)
@click.argument("claimed", metavar="RECORDING_OR_NAME")
@click.argument("recording")
@click.option("--voices", metavar="FILE", help="A file of voices that `speechtools enroll` wrote.")
@click.option(
    "--threshold",
    type=float,
    metavar="SCORE",
    help="Accept from this score on.  [default: the model's threshold, if it has one]",
)
@prior_option
@click.option("--quiet", "-q", is_flag=True, help="Print no decision; the exit status is 0 (accepted) or 1 (rejected).")
@quality_options
@model_options
@channel_option
@module_option
def verify(
    claimed: str,
    recording: str,
    voices: str | None,
    threshold: float | None,
    prior: float,
    quiet: bool,
    quality: tuple[str | None] | None,
    model: str | None,
    device: str | None,
    channel: int | str,
) -> int:
    """Decide whether a recording is of the same voice as another, or of an enrolled voice.

    Without --voices, pass two recordings. With --voices, pass the name of an enrolled voice, then a recording. The
    output is accepted or rejected, the score (a cosine, from -1 to 1), and the threshold with the number of recordings
    that it is for, separated by tabs. Of a calibrated model, the probability of the same voice follows, and with
    --weigh-by-quality how much of the speech is usable, of two recordings in the worse one.

    The threshold of a calibrated model is the score at which the probability is one half. It depends on the number of
    recordings that the voice was enrolled from, on the seconds of speech, and on both sides. With --threshold, only the
    score counts.

    The exit status is 0 for both decisions and 1 for an error. With --quiet, it is 0 if the voice is accepted, 1 if it
    is rejected, and 2 for an error, such as a recording without speech.
    """
    if not quiet:
        verdict, kind = _decide(claimed, recording, voices, threshold, prior, quality, model, device, channel)
        decision = "accepted" if verdict.accepted else "rejected"
        calibrated = threshold is None and verdict.probability is not None
        known = f"\tprobability {verdict.probability:.4f}" if calibrated else ""
        known += f"\t{verdict.usable}" if verdict.usable else ""
        print(f"{decision}\tscore {verdict.score:.4f}\tthreshold {verdict.threshold:.4f}{kind}{known}")
        return 0
    try:
        verdict, _ = _decide(claimed, recording, voices, threshold, prior, quality, model, device, channel)
    except (SpeechtoolsError, OSError) as error:
        print_problems([error])
        return 2
    except Exception:  # Python would exit with 1, which is a rejection
        traceback.print_exc()
        return 2
    return 0 if verdict.accepted else 1


def _decide(
    claimed: str,
    recording: str,
    voices: str | None,
    threshold: float | None,
    prior: float,
    quality: tuple[str | None] | None,
    model: str | None,
    device: str | None,
    channel: int | str,
) -> tuple[Any, str]:
    """Verify a recording, and return the verdict and what its threshold is for."""
    from speechtools.speaker.voices import read_voices, unknown_voice

    enrolled = read_voices(voices).voices if voices else {}  # before the model, which takes seconds to load
    if voices and claimed not in enrolled and (recording in enrolled or os.path.exists(claimed)):
        remedy = "To compare two recordings, leave out --voices."
        if recording in enrolled:
            command = shlex.join(["speechtools", "verify", recording, claimed, "--voices", voices])
            remedy = f"The name comes first: `{printable(command)}`."
        raise ConfigError(f"{claimed} is not the name of an enrolled voice. {remedy}")
    if voices and claimed not in enrolled:
        raise ConfigError(unknown_voice(claimed, enrolled))
    if not voices and claimed != "-" and not os.path.exists(claimed):
        raise ConfigError(
            f"The recording {claimed} does not exist. For an enrolled voice, pass its file with --voices."
        )
    if not voices and recording != "-" and not os.path.exists(recording):
        raise ConfigError(
            f"The recording {recording} does not exist. For an enrolled voice, pass its name first, and its file: "
            "`speechtools verify NAME RECORDING --voices FILE`."
        )
    verifier = load_model("SpeakerVerification", model, device)
    weigh_by_quality(verifier, quality, device)
    if voices:
        verifier.load_voices(voices)
        verdict = verifier.verify(claimed, recording, threshold, channel=channel, prior=prior)
        count = verifier.details(claimed).recordings
    else:
        verdict = verifier.verify_files(claimed, recording, threshold, channel=channel, prior=prior)
        count = 1
    if threshold is not None:
        return verdict, ""
    if verifier.calibration is not None:
        return verdict, f" for {recordings(count)}" if count else ""
    if "converted_from" in verifier.facts:  # its threshold is that of whoever converted it
        return verdict, ""
    enrolled_from = verifier.facts.get("num_enrolment")
    known = isinstance(enrolled_from, int) and enrolled_from > 0
    return verdict, f" for {recordings(enrolled_from) if known else 'several recordings'}"


@command(
    examples=[
        "speechtools identify call.wav --voices voices.npz",
        "speechtools identify calls --voices voices.npz --top 3 --threshold 0.5",
        "speechtools identify calls --voices voices.npz --csv who.csv",
    ]
)
@click.argument("paths", nargs=-1, required=True, metavar="FILE_OR_FOLDER...")
@voices_option
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    default=1,
    show_default=True,
    help="List at most this many voices for each recording.",
)
@click.option(
    "--threshold",
    type=float,
    metavar="SCORE",
    help="List voices from this score on.  [default: the model's threshold, if it has one]",
)
@prior_option
@table_options(Identification)
@overwrite_option
@batch_size_option
@quality_options
@model_options
@channel_option
@module_option
def identify(
    paths: tuple[str, ...],
    voices: str,
    top: int,
    threshold: float | None,
    prior: float,
    csv_path: str | None,
    jsonl_path: str | None,
    overwrite: bool,
    batch_size: int,
    quality: tuple[str | None] | None,
    model: str | None,
    device: str | None,
    channel: int | str,
) -> int:
    """Find the enrolled voice in each recording. Folders are searched for audio files.

    The output has a line for each recording: its path, the name of the most similar voice, and the score (a cosine,
    from -1 to 1), separated by tabs. With --top 3, it has up to three lines. If no voice reaches the threshold, the
    name is `nobody`, and empty in a CSV file; the score is the highest. With a calibrated model, the probability of the
    voice follows, and with --weigh-by-quality how much of the speech is usable.

    A recording that cannot be used is reported; the others are identified, and the exit status is 1.
    """
    from tqdm import tqdm

    from speechtools.audio.recordings import find_recordings
    from speechtools.speaker.voices import read_voices
    from speechtools.speaker.weighing import Usable

    files = find_recordings(paths)
    outputs = {option: [path] for option, path in (("--csv", csv_path), ("--jsonl", jsonl_path)) if path}
    refuse_inputs([*files, voices], outputs)
    tables = open_tables(Identification, csv_path, jsonl_path, overwrite, resume=False)
    if not read_voices(voices).voices:
        raise ConfigError(f"{voices} contains no voices. Enroll voices with `speechtools enroll`.")
    verifier = load_model("SpeakerVerification", model, device)
    weigh_by_quality(verifier, quality, device)
    verifier.load_voices(voices)
    calibrated = verifier.calibration is not None and threshold is None
    used = "of each voice" if calibrated else f"{verifier.resolve_threshold(threshold):.4f}"

    def rows() -> Iterator[Identification]:
        results = verifier.identify_files(files, top, threshold, batch_size, channel=channel, prior=prior)
        for path, result in progress(results, "identifying", len(files)):
            if isinstance(result, AudioError):
                yield Identification(file=str(path), error=str(result))
                continue
            usable = {}
            if result[0].usable:
                usable = {key: round(value, 3) for key, value in dataclasses.asdict(result[0].usable).items()}
            for rank, match in enumerate(result, start=1):
                known = dict(usable)
                if match.probability is not None:
                    known["probability"] = round(match.probability, 4)
                if match.accepted:
                    score = round(match.score, 4)
                    yield Identification(file=str(path), rank=rank, name=match.name, score=score, **known)
                elif rank == 1:
                    yield Identification(file=str(path), score=round(match.score, 4), **known)

    if not tables and sys.stdout.isatty():
        columns = ["file", "name", "score", *["probability"] * calibrated, *["usable"] * (quality is not None)]
        print(f"# threshold {used}\n# {chr(9).join(columns)}")
    identified, errors = set(), []
    for row in write_all(((row, {}) for row in rows()), tables):
        if row.error:
            errors.append(row.error)
            continue
        identified.add(row.file)
        if not tables:
            name = "nobody" if row.name is None else printable(row.name)
            line = f"{printable(row.file)}\t{name}\t{row.score:.4f}"
            line += f"\t{row.probability:.4f}" if calibrated else ""
            if row.usable_seconds is not None and row.speech_seconds is not None:
                line += f"\t{Usable(row.usable_seconds, row.speech_seconds)}"
            tqdm.write(line, file=sys.stdout)
    print_summary(f"{recordings(len(identified))} identified", tables)
    return print_problems(f"not identified: {error}" for error in errors)
