"""``speechtools enhance``."""

import sys
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
    output_options,
    print_problems,
    progress,
    recordings,
)
from speechtools.cli.lists import ListOptions, list_options
from speechtools.cli.outputs import check_settings, pair_listed, pair_outputs, remaining_pairs
from speechtools.core.checks import naming
from speechtools.core.errors import AudioError, ConfigError, CorpusError, printable

if TYPE_CHECKING:
    from speechtools.quality.selective import SelectiveEnhancer, Where


#: Recordings that are computed together.
_BATCH_SIZE = 8


@command(
    examples=[
        "speechtools enhance noisy.wav enhanced.wav",
        "speechtools enhance recordings enhanced",
        "speechtools enhance call.wav better.wav --where below=2.5     # only where the quality is bad",
        "speechtools enhance recordings enhanced --resume     # after an interruption",
        "speechtools enhance --list corpus.scp --shard 3/16 --out enhanced --resume",
    ]
)
@click.argument("source_path", metavar="FILE_OR_FOLDER", required=False)
@click.argument("target_path", metavar="OUTPUT", required=False)
@list_options
@click.option("--out", metavar="FOLDER", help="The output of --list, a folder.")
@model_options
@click.option(
    "--where",
    metavar="CONDITIONS",
    help="Enhance only the stretches whose quality is below a score (below=2.5), or that have a cause ('noise', "
    "'noise>0.7'), if the quality model predicts causes. Several, separated by commas, are alternatives.",
)
@click.option(
    "--quality_model",
    metavar="MODEL",
    help="The model of --where, as `speechtools score --model` takes it.  [default: the bundled one]",
)
@channel_option
@output_options
@module_option
def enhance(
    source_path: str | None,
    target_path: str | None,
    listed: ListOptions,
    out: str | None,
    model: str | None,
    device: str | None,
    where: str | None,
    quality_model: str | None,
    channel: int | str,
    resume: bool,
    overwrite: bool,
) -> int:
    """Remove the noise from a recording, or from all recordings in a folder.

    OUTPUT is a file (.wav or .flac) or, for a folder of recordings, a folder, in which the same subfolders are created.
    Enhanced recordings are mono, 16 bit, at the sample rate of the model.

    With --list, the recordings are those of a list, and the outputs in the folder --out are named after their ids or
    paths in it; with --shard, a part of them.

    With --where, Quality-Net scores the recording, and only its bad stretches are enhanced and cross-faded; the rest
    stays as it is. A line tells for each recording how many seconds were enhanced.

    Existing files are replaced with --overwrite only, and skipped with --resume, for which the other options and the
    model must be the same. A recording that cannot be enhanced is reported; the others are enhanced, and the exit
    status is 1.
    """
    from speechtools.audio.settings import as_comment

    files, target, note = _pairs(source_path, target_path, listed, out)
    conditions = _conditions(where, quality_model)
    remaining = remaining_pairs(files, resume, overwrite)
    enhancer = load_model("SpeechEnhancer", model, device)
    settings = {"model": enhancer.model_id, "channel": channel, "where": "", "quality_model": ""}
    selective = None
    if conditions is not None:
        from speechtools.quality.selective import SelectiveEnhancer

        net = load_model("QualityNet", quality_model, device, "--quality_model")
        with naming("--where"):
            selective = SelectiveEnhancer(conditions, enhancer, net)
        settings |= {"where": str(conditions), "quality_model": net.model_id}
    written = set(files) - set(remaining)
    check_settings("enhance", ((output, settings) for _, output in sorted(written)))
    comment = as_comment("enhance", settings)
    if selective is None:
        results = enhancer.enhance_files(remaining, _BATCH_SIZE, channel=channel, comment=comment)
    else:
        results = _enhance_where(remaining, selective, channel, comment)
    errors = [error for _, error in progress(results, "enhancing", len(remaining)) if error]
    earlier = f", {len(files) - len(remaining)} before" if len(remaining) < len(files) else ""
    if len(errors) < len(files):
        print(f"{recordings(len(remaining) - len(errors))} enhanced{earlier}: {printable(target)}")
    elif note:
        print(f"0 recordings enhanced ({note})")
    return print_problems(f"not enhanced: {error}" for error in errors)


def _pairs(
    source_path: str | None, target_path: str | None, listed: ListOptions, out: str | None
) -> tuple[list[tuple[Path, Path]], Path, str]:
    """Return the recordings, each with its output, where the outputs are, and a remark.

    Raises
    ------
    click.UsageError
        An argument is missing.
    ConfigError
        The arguments do not fit each other, or the outputs are wrong.
    """
    listed.check(source_path is not None)
    if listed.path is None:
        if out is not None:
            raise ConfigError(f"--out={out} is the output of --list. Pass OUTPUT behind the recordings.")
        if source_path is None or target_path is None:
            missing = "FILE_OR_FOLDER" if source_path is None else "OUTPUT"
            raise click.UsageError(f"Missing argument '{missing}'.")
        check_output("OUTPUT", target_path)
        return pair_outputs(Path(source_path), Path(target_path), "enhanced"), Path(target_path), ""
    if out is None:
        raise ConfigError("--list needs --out, the folder of the enhanced recordings.")
    from speechtools.audio.recordings import group_size

    check_output("--out", out)
    selection = listed.select(group_size(_BATCH_SIZE))
    return pair_listed(selection.names, Path(out)), Path(out), selection.note


def _conditions(where: str | None, quality_model: str | None) -> "Where | None":
    """Read --where.

    Raises
    ------
    ConfigError
        It has another form, or is missing beside ``--quality_model``.
    """
    if where is None:
        if quality_model is not None:
            raise ConfigError("--quality_model is the model of --where, such as --where below=2.5. Pass both.")
        return None
    from speechtools.quality.selective import Where

    with naming("--where"):
        return Where.parse(where)


def _enhance_where(
    files: list[tuple[Path, Path]], enhancer: "SelectiveEnhancer", channel: Any, comment: str
) -> Iterator[tuple[Path, AudioError | None]]:
    """Enhance the bad stretches of recordings, and print how much that was."""
    from tqdm import tqdm

    from speechtools.audio.recordings import as_audio_error

    for path, output in files:
        error = None
        try:
            result = enhancer.write(path, output, channel=channel, comment=comment)
        except CorpusError:  # the disk is full: the others would fail, too
            raise
        except Exception as reason:
            error = as_audio_error(reason, path)
        else:
            tqdm.write(f"{result.seconds:.1f} of {result.duration:.1f} s\t{printable(path)}", file=sys.stdout)
        yield path, error
