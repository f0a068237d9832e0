"""``speechtools diarize``."""

import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from speechtools.cli.command import command
from speechtools.cli.common import (
    channel_option,
    check_output,
    load_model,
    model_options,
    module_option,
    overwrite_option,
    plot_folder,
    print_message,
    print_problems,
    progress,
    recordings,
    refuse_inputs,
    unique_stems,
)
from speechtools.cli.tables import open_tables, print_summary, table_options, write_all
from speechtools.core.errors import AudioError, ConfigError, printable
from speechtools.core.files import is_stream
from speechtools.core.rows import Row

if TYPE_CHECKING:
    from speechtools.audio.turns import Turn
    from speechtools.speaker.diarization import Diarization

#: The RTTM file is written this often, so that a killed process loses no more.
SECONDS_BETWEEN_WRITES = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiarizeRow(Row):
    """A recording and its speakers, or why it has none: a row of the CSV file."""

    result_column = "num_speakers"

    file: str
    num_speakers: int | None = None
    seconds: float | None = None
    speech_seconds: float | None = None
    speakers: str | None = None
    error: str | None = None


@command(
    examples=[
        "speechtools diarize meeting.wav",
        "speechtools diarize meeting.wav --speakers 2 --rttm meeting.rttm --png plots",
        "speechtools diarize meetings --voices voices.npz --jsonl meetings.jsonl",
        "speechtools diarize meeting.wav --vad silero               # in noise; needs the extra vad",
    ]
)
@click.argument("paths", nargs=-1, required=True, metavar="FILE_OR_FOLDER...")
@click.option("--voices", metavar="FILE", help="A file of voices that `speechtools enroll` wrote: names for speakers.")
@click.option(
    "--threshold",
    type=float,
    metavar="SCORE",
    help="Name a speaker after an enrolled voice from this score on.  [default: the model's threshold]",
)
@click.option(
    "--speakers",
    "num_speakers",
    type=click.IntRange(1, 100),
    metavar="NUMBER",
    help="Number of speakers in each recording.  [default: it is estimated]",
)
@click.option(
    "--max_speakers",
    type=click.IntRange(1, 100),
    metavar="NUMBER",
    default=8,
    show_default=True,
    help="Largest number of speakers to estimate.",
)
@click.option("--vad", metavar="NAME", help="Find speech with this detector, such as silero.  [default: the model's]")
@click.option("--rttm", "rttm_path", metavar="FILE", help="Write the turns of all recordings as RTTM; - is the output.")
@table_options(DiarizeRow, details="the turns, and the times and scores of the speakers")
@click.option("--png", metavar="FOLDER", help="Draw the spectrogram and the turns of every recording in this folder.")
@overwrite_option
@model_options
@channel_option
@module_option
def diarize(
    paths: tuple[str, ...],
    voices: str | None,
    threshold: float | None,
    num_speakers: int | None,
    max_speakers: int,
    vad: str | None,
    rttm_path: str | None,
    csv_path: str | None,
    jsonl_path: str | None,
    png: str | None,
    overwrite: bool,
    model: str | None,
    device: str | None,
    channel: int | str,
) -> int:
    """Find who speaks when in recordings. Folders are searched for audio files.

    The output has a line for each recording, and a line for each turn below it: start and end, and the speaker, who is
    speaker_1, speaker_2 … or, with --voices, the enrolled voice that matches. Each moment is given to one speaker.

    A recording without speech has no turns, which a message says; that is not an error. A recording that cannot be
    read is reported; the others are processed, and the exit status is 1.
    """
    from tqdm import tqdm

    from speechtools.audio.recordings import find_recordings
    from speechtools.speaker.voices import read_voices

    files = find_recordings(paths)
    names = unique_stems(files)
    plots: dict[Path, Path] = {}
    if png:
        plots = dict(zip(files, plot_folder(png, [f"{name}.png" for name in names.values()], overwrite), strict=True))
    outputs = {"--csv": csv_path, "--jsonl": jsonl_path, "--rttm": rttm_path}
    refuse_inputs(
        [*files, *([voices] if voices else [])],
        {option: [path] for option, path in outputs.items() if path} | {"--png": plots.values()},
    )
    tables = open_tables(DiarizeRow, csv_path, jsonl_path, overwrite, resume=False)
    if rttm_path:
        _check_rttm(rttm_path, [path for path in (csv_path, jsonl_path) if path], overwrite)
    if voices and not read_voices(voices).voices:
        raise ConfigError(f"{voices} contains no voices. Enroll voices with `speechtools enroll`.")
    diarizer = load_model("SpeakerDiarization", model, device)
    if voices:
        diarizer.load_voices(voices)
    if vad:
        diarizer.use_vad(vad)
    rttm = _RttmFile(rttm_path)
    silent: list[str] = []

    def rows() -> Iterator[tuple[DiarizeRow, dict[str, Any]]]:
        results = diarizer.diarize_files(
            files, num_speakers, max_speakers=max_speakers, threshold=threshold, channel=channel
        )
        for path, result in progress(results, "diarizing", len(files)):
            if isinstance(result, AudioError):
                yield DiarizeRow(file=str(path), error=str(result)), {}
                continue
            if result.no_speech:
                silent.append(result.no_speech)
            rttm.add(names[path], result.turns)
            error = _draw(plots[path], path, result, diarizer.sample_rate, channel) if path in plots else None
            if not tables and rttm_path != "-":
                tqdm.write("\n".join(_lines(printable(path), result)), file=sys.stdout)
            yield _row(path, result, error), _details(result) | ({"figure": str(plots[path])} if path in plots else {})

    try:
        done = list(write_all(rows(), tables))
    finally:
        if rttm.turns:  # not after an error before the first recording
            rttm.write()
    print_summary(f"{recordings(sum(row.num_speakers is not None for row in done))} diarized", tables)
    if rttm_path and rttm_path != "-" and rttm.turns:
        print(f"turns: {printable(rttm_path)}")
    for message in silent:
        print_message(message)
    return print_problems(f"not diarized: {row.error}" for row in done if row.error)


class _RttmFile:
    """The file of ``--rttm``, if there is one; whatever ends the command, it has the recordings so far."""

    def __init__(self, path: str | None):
        self.path, self.turns, self.written = path, dict[str, list["Turn"]](), time.monotonic()

    def add(self, recording: str, turns: "list[Turn]") -> None:
        """Add a recording."""
        self.turns[recording] = turns
        if self.path and not self._is_stream and time.monotonic() - self.written > SECONDS_BETWEEN_WRITES:
            self.write()

    @property
    def _is_stream(self) -> bool:
        return self.path == "-" or is_stream(self.path or "-")

    def write(self) -> None:
        """Write the file, or print it."""
        from speechtools.audio.turns import rttm_lines, write_rttm

        if self.path == "-":
            for recording, turns in self.turns.items():
                sys.stdout.writelines(rttm_lines(recording, turns))
        elif self.path:
            write_rttm(self.path, self.turns)
        self.written = time.monotonic()


def _check_rttm(path: str, others: list[str], overwrite: bool) -> None:
    """Raise a :class:`ConfigError` if the RTTM file cannot be written, or exists: it may be somebody's reference."""
    if path == "-":
        if "-" in others:
            raise ConfigError("Two outputs are the standard output. Choose a file for one of them.")
        return
    if os.path.isdir(path):
        raise ConfigError(f"--rttm={path} is a folder. Pass the name of a file.")
    check_output("--rttm", path)
    if os.path.realpath(path) in map(os.path.realpath, others):
        raise ConfigError(f"Two outputs are both {path}. Choose two files.")
    if os.path.isfile(path) and os.path.getsize(path) and not overwrite:
        raise ConfigError(f"--rttm={path} exists. Pass --overwrite to replace it, or choose another name.")


def _row(path: Path, result: "Diarization", error: str | None) -> DiarizeRow:
    return DiarizeRow(
        file=str(path),
        num_speakers=len(result.speakers),
        seconds=round(result.seconds, 3),
        speech_seconds=round(result.speech_seconds, 3),
        speakers="; ".join(result.speakers),
        error=error,
    )


def _details(result: "Diarization") -> dict[str, Any]:
    """What JSON lines have beside the columns."""
    voices = {
        name: {"voice": match.name, "score": round(match.score, 4), "accepted": match.accepted}
        for name, match in result.matches.items()
    }
    turns = [{"start": round(t.start, 3), "end": round(t.end, 3), "speaker": t.speaker} for t in result.turns]
    talk_times = {name: round(seconds, 3) for name, seconds in result.talk_times.items()}
    return {"talk_times": talk_times, "voices": voices, "turns": turns}


def _lines(name: str, result: "Diarization") -> Iterator[str]:
    """Lines such as ``3.21–4.10 s  anna`` below one that names the recording and sums them up."""
    count, speech = len(result.speakers), result.speech_seconds
    speakers = "no speech" if not count else f"{count} speaker{'s' if count > 1 else ''}, {speech:.1f} s of speech"
    yield f"{name}: {speakers} in {result.seconds:.1f} s"
    times = [f"{turn.start:.2f}–{turn.end:.2f} s" for turn in result.turns]
    width = max(map(len, times), default=0)
    for turn, text in zip(result.turns, times, strict=True):
        yield f"  {text:{width}}  {printable(turn.speaker)}"


def _draw(plot: Path, path: Path, result: "Diarization", sample_rate: int, channel: Any) -> str | None:
    """Draw the turns of a recording; return why they cannot be drawn."""
    from speechtools.audio import read
    from speechtools.speaker.timeline import timeline

    try:
        samples = read(path, sample_rate, channel=channel)
        timeline(plot, samples, sample_rate, {"": result.turns}, printable(path.name))
    except Exception as reason:  # whatever it is, the turns and the other recordings are kept
        return f"{path} was diarized, but {plot} cannot be plotted: {reason}"
    return None
