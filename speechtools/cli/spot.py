"""``speechtools spot``."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from speechtools.cli.command import command
from speechtools.cli.common import (
    channel_option,
    load_model,
    model_options,
    module_option,
    overwrite_option,
    print_problems,
    progress,
    recordings,
    refuse_inputs,
)
from speechtools.cli.live import live_blocks, live_options, name_of
from speechtools.cli.tables import open_tables, print_summary, table_options, write_all
from speechtools.core.errors import AudioError, ConfigError, printable
from speechtools.core.rows import Row

if TYPE_CHECKING:
    from speechtools.keyword.matching import VoiceHit
    from speechtools.keyword.search import Hit


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpotRow(Row):
    """A keyword in a recording, or why it could not be searched; without ``keyword``, it has none."""

    result_column = "score"

    file: str
    start: float | None = None
    end: float | None = None
    keyword: str | None = None
    score: float | None = None
    speaker: str | None = None
    speaker_score: float | None = None
    probability: float | None = None
    error: str | None = None


@command(
    examples=[
        'speechtools spot kitchen.wav --keyword "ok google" --keyword "hey computer:0.6"',
        'speechtools spot recordings --keyword "ok google" --csv hits.csv',
        'speechtools spot kitchen.wav --keyword "ok google" --voices voices.npz',
        'speechtools spot --live --keyword "ok google"       # needs the extra live',
        'arecord -t raw -f S16_LE -r 16000 | speechtools spot --raw 16000 --keyword "ok google"',
    ]
)
@click.argument("paths", nargs=-1, metavar="[FILE_OR_FOLDER...]")
@click.option(
    "--keyword",
    "keywords",
    multiple=True,
    required=True,
    metavar="TEXT[:THRESHOLD]",
    help="An English phrase, and the score from which it counts as heard. May be repeated.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="SCORE",
    help="The score from which keywords without one of their own count as heard.  [default: the model's threshold]",
)
@click.option(
    "--debounce",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="How long a hit waits for a better one.",
)
@click.option("--voices", metavar="FILE", help="A file of voices that `speechtools enroll` wrote: who spoke it.")
@click.option(
    "--voice_model",
    metavar="MODEL",
    help="The model of --voices, as for `speechtools verify`.  [default: the bundled one]",
)
@live_options
@table_options(SpotRow)
@overwrite_option
@model_options
@channel_option
@module_option
def spot(
    paths: tuple[str, ...],
    keywords: tuple[str, ...],
    threshold: float | None,
    debounce: float,
    voices: str | None,
    voice_model: str | None,
    live: bool,
    raw: int | None,
    csv_path: str | None,
    jsonl_path: str | None,
    overwrite: bool,
    model: str | None,
    device: str | None,
    channel: int | str,
) -> int:
    """Find keywords in recordings, or in what is being spoken. Folders are searched for audio files.

    The output has a line for each hit: the recording, start and end in seconds, the keyword and its score from 0 to 1,
    separated by tabs. With --voices, the speaker follows, or `unknown`, and the score of the voice.

    A recording that cannot be read is reported; the others are searched, and the exit status is 1.
    """
    from tqdm import tqdm

    from speechtools.audio.recordings import find_recordings

    if sum((bool(paths), live, raw is not None)) != 1:
        raise click.UsageError("Pass recordings, or --live, or --raw HZ.")
    if channel != "mix" and not paths:
        raise click.UsageError("--channel is for recordings; --live and --raw have one channel.")
    files = find_recordings(paths) if paths else []
    outputs = {"--csv": csv_path, "--jsonl": jsonl_path}
    refuse_inputs([*files, *([voices] if voices else [])], {option: [path] for option, path in outputs.items() if path})
    tables = open_tables(SpotRow, csv_path, jsonl_path, overwrite, resume=False)
    spotter = _Spotter(keywords, threshold, debounce, voices, voice_model, model, device)
    name = name_of(raw)
    results = _live_rows(spotter, name, raw) if not paths else _rows(spotter, files, channel)
    searched, errors = set(), []
    for row in write_all(((row, {}) for row in results), tables):
        if row.error and row.keyword is None:
            errors.append(row.error)
            continue
        searched.add(row.file)
        if not tables and row.keyword is not None:
            tqdm.write(_line(row, voices is not None), file=sys.stdout)
            sys.stdout.flush()
    print_summary(f"{recordings(len(searched))} searched", tables)
    return print_problems(f"not searched: {error}" for error in errors)


class _Spotter:
    """The models of the command."""

    def __init__(
        self,
        keywords: tuple[str, ...],
        threshold: float | None,
        debounce: float,
        voices: str | None,
        voice_model: str | None,
        model: str | None,
        device: str | None,
    ):
        if voice_model and not voices:
            raise ConfigError("--voice_model is the model of --voices. Pass both.")
        self.keywords, self.threshold, self.debounce = keywords, threshold, debounce
        self.detector = load_model("KeywordDetector", model, device)
        self.detector.phrases(keywords, threshold)  # before anything is read
        self.verifier = None
        if voices:
            from speechtools.speaker.voices import read_voices

            if not read_voices(voices).voices:
                raise ConfigError(f"{voices} contains no voices. Enroll voices with `speechtools enroll`.")
            self.verifier = load_model("SpeakerVerification", voice_model, device, "--voice_model")
            self.verifier.load_voices(voices)

    def stream(self, sample_rate: int | None = None) -> Any:
        """Begin a stream with ``feed`` and ``finish``."""
        if self.verifier is None:
            return self.detector.stream(self.keywords, sample_rate, self.threshold, self.debounce)
        from speechtools.keyword.matching import VoiceMatch

        return VoiceMatch(
            self.detector,
            self.verifier,
            self.keywords,
            threshold=self.threshold,
            debounce=self.debounce,
            sample_rate=sample_rate,
        )


def _rows(spotter: _Spotter, files: list[Path], channel: Any) -> Iterator[SpotRow]:
    from speechtools.audio.io import decode
    from speechtools.audio.recordings import as_audio_error, open_source

    for path in progress(files, "searching", len(files)):
        stream, rate, count = spotter.stream(), spotter.detector.sample_rate, 0
        try:
            for segment in decode(open_source(path, rate, channel=channel), rate):
                for hit in stream.feed(segment):
                    count += 1
                    yield _row(str(path), hit)
            for hit in stream.finish():
                count += 1
                yield _row(str(path), hit)
        except AudioError as error:
            yield SpotRow(file=str(path), error=str(error))
            continue
        except RuntimeError as error:  # such as too little memory: the other recordings are searched
            yield SpotRow(file=str(path), error=str(as_audio_error(error, path)))
            continue
        if not count:
            yield SpotRow(file=str(path))


def _live_rows(spotter: _Spotter, name: str, raw: int | None) -> Iterator[SpotRow]:
    stream = spotter.stream(raw)
    for block in live_blocks(spotter.detector.sample_rate, raw):
        for hit in stream.feed(block):
            yield _row(name, hit)
    for hit in stream.finish():
        yield _row(name, hit)


def _row(name: str, found: "Hit | VoiceHit") -> SpotRow:
    from speechtools.keyword.matching import VoiceHit

    known: dict[str, Any] = {}
    hit: Any
    if isinstance(found, VoiceHit):
        hit, match = found.hit, found.match
        known["speaker"] = found.speaker
        if match is None:
            known["error"] = found.reason
        else:
            probability = match.probability
            known["speaker_score"] = round(match.score, 4)
            known["probability"] = None if probability is None else round(probability, 4)
    else:
        hit = found
    times = {"start": round(hit.start, 2), "end": round(hit.end, 2)}
    return SpotRow(file=name, keyword=hit.keyword, score=round(hit.score, 4), **times, **known)


def _line(row: SpotRow, has_voices: bool) -> str:
    cells = [
        printable(row.file),
        f"{row.start:.2f}",
        f"{row.end:.2f}",
        printable(row.keyword or ""),
        f"{row.score:.3f}",
    ]
    if has_voices:
        cells.append(printable(row.speaker or "unknown"))
        cells.append("-" if row.speaker_score is None else f"{row.speaker_score:.4f}")
        cells += [] if row.probability is None else [f"{row.probability:.4f}"]
    return "\t".join(cells)
