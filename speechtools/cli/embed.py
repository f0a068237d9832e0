"""``speechtools embed``."""

import io
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from speechtools.cli.cluster import RemoteModel, dask_option, embed_on_cluster
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
    quality_options,
    refuse_inputs,
    weigh_by_quality,
)
from speechtools.cli.lists import ListOptions, Selection, list_options
from speechtools.core.errors import AudioError, ConfigError, printable
from speechtools.core.files import is_stream, write_aside

if TYPE_CHECKING:
    import numpy as np

    from speechtools.audio.sources import Channel

#: The file of d-vectors is written this often, so that a killed process loses no more.
SECONDS_BETWEEN_WRITES = 10.0
#: Recordings that are computed together.
BATCH_SIZE = 32


@command(
    examples=[
        "speechtools embed recordings --out d-vectors.npz",
        "speechtools embed --list corpus.scp --shard 3/16 --out d-vectors-3.npz --resume",
    ]
)
@click.argument("paths", nargs=-1, metavar="[FILE_OR_FOLDER]...")
@list_options
@dask_option
@click.option(
    "--out", required=True, metavar="FILE", help="The .npz file to write. Its folder is created if it does not exist."
)
@quality_options
@model_options
@channel_option
@output_options
@module_option
def embed(
    paths: tuple[str, ...],
    listed: ListOptions,
    scheduler: str | None,
    out: str,
    quality: tuple[str | None] | None,
    model: str | None,
    device: str | None,
    channel: "Channel",
    resume: bool,
    overwrite: bool,
) -> int:
    """Write the d-vectors of recordings to a file. Folders are searched for audio files.

    A d-vector describes the voice in a recording. The .npz file contains `files` (n,), `dvectors` (n, size) and
    `model`, which identifies the encoder, `channel`, and `quality`, which identifies the model of --weigh-by-quality.
    In Python, numpy.load reads it.

    A recording that cannot be embedded is reported; the others are embedded, and the exit status is 1.
    """
    import numpy as np

    listed.check(bool(paths))
    if not paths and listed.path is None:
        raise click.UsageError("Nothing to embed. Pass files or folders, or --list.")
    if os.path.isdir(out):
        raise ConfigError(f"--out={out} is a folder. Pass the name of a file, such as d-vectors.npz.")
    check_output("--out", out)
    selection = _select(paths, listed)
    files = selection.files
    refuse_inputs(files, {"--out": [out]})
    refuse_inputs(filter(None, [listed.path]), {"--out": [out]}, "lists")
    if os.path.exists(out) and not is_stream(out) and (resume or not overwrite):
        earlier, model_id, earlier_channel, earlier_quality = read_dvectors(out)
    else:
        earlier, model_id, earlier_channel, earlier_quality = {}, "", "", ""
    encoder = load_model("SpeakerEncoder", model, device)
    net = weigh_by_quality(encoder, quality, device)
    quality_id = net.model_id if net else ""
    if resume and earlier and model_id != encoder.model_id:
        raise ConfigError(f"The d-vectors in {out} are those of another model. Use that, or choose another --out.")
    if resume and earlier and earlier_channel not in ("", str(channel)):
        raise ConfigError(
            f"The d-vectors in {out} are those of --channel={earlier_channel}, not {channel}. Use that, or choose "
            "another --out."
        )
    if resume and earlier and earlier_quality != quality_id:
        how = "weighed by another model, or not at all" if net else "weighed by quality"
        raise ConfigError(
            f"The d-vectors in {out} are {how}. Use the same --weigh-by-quality and --quality_model, or choose another "
            "--out."
        )
    dvectors = {str(path): earlier[str(path)] for path in files if resume and str(path) in earlier}
    before, errors, written = len(dvectors), [], time.monotonic()
    finished = {path for path in files if str(path) in dvectors}
    remaining = selection.to_compute(finished.__contains__)
    try:
        if scheduler is None:
            results = encoder.encode_files(remaining, BATCH_SIZE, channel=channel)
        else:
            remote = RemoteModel.of("SpeakerEncoder", model, device, encoder.model_id)
            remote_net = RemoteModel.of("QualityNet", quality[0], device, quality_id) if quality else None
            blocks = selection.blocks(remaining)
            results = embed_on_cluster(scheduler, blocks, remote, remote_net, BATCH_SIZE, channel)
        for path, result in progress(results, "embedding", len(remaining)):
            if path in finished:
                continue
            if isinstance(result, AudioError):
                errors.append(result)
                continue
            dvectors[str(path)] = np.asarray(result)
            if time.monotonic() - written > SECONDS_BETWEEN_WRITES and not is_stream(out):
                write_dvectors(out, dvectors, encoder.model_id, channel, quality_id)
                written = time.monotonic()
    finally:
        if len(dvectors) > before:
            write_dvectors(out, dvectors, encoder.model_id, channel, quality_id)
    if dvectors:
        earlier_count = f" ({before} of them embedded before)" if before else ""
        print(f"{len(dvectors)} d-vectors of size {encoder.embedding_size}{earlier_count}: {printable(out)}")
    else:
        reason = f" ({selection.note})" if selection.note else ""
        print(f"No d-vectors, so {printable(out)} was not written{reason}.")
    return print_problems(f"not embedded: {error}" for error in errors)


def _select(paths: tuple[str, ...], listed: ListOptions) -> Selection:
    """The recordings to embed."""
    from speechtools.audio.recordings import find_recordings, group_size

    block_size = group_size(BATCH_SIZE)
    if listed.path is not None:
        return listed.select(block_size)
    return Selection(find_recordings(paths), block_size, is_list=False)


def write_dvectors(
    path: str | Path,
    dvectors: "dict[str, np.ndarray]",
    model_id: str,
    channel: int | str = "mix",
    quality_id: str = "",
) -> None:
    """Write d-vectors (size,) by file, their channel and the fingerprints of their models to an .npz file."""
    import numpy as np

    with write_aside(path) as aside, open(aside, "wb") as stream:
        names = np.array(list(dvectors), dtype=np.str_)
        content = io.BytesIO() if is_stream(path) else stream  # zip files do not work in devices
        stacked = np.stack(list(dvectors.values()))
        np.savez(content, files=names, dvectors=stacked, model=model_id, channel=str(channel), quality=quality_id)
        if isinstance(content, io.BytesIO):
            stream.write(content.getbuffer())


def read_dvectors(path: str | Path) -> "tuple[dict[str, np.ndarray], str, str, str]":
    """Read the file of :func:`write_dvectors`: d-vectors by file, model, channel and model of quality.

    What earlier versions did not store is empty.

    Raises
    ------
    ConfigError
        The file is of another kind, or damaged.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as content:
            files, dvectors = content["files"], content["dvectors"]
            texts = [content[name] if name in content else np.array("") for name in ("model", "channel", "quality")]
        kinds = [(text.dtype.kind, text.ndim) for text in texts]
        if (files.dtype.kind, files.ndim, dvectors.ndim) != ("U", 1, 2) or kinds != 3 * [("U", 0)]:
            raise ValueError("arrays of other shapes or types")
        if dvectors.dtype != np.float32 or not np.isfinite(dvectors).all() or len(set(files.tolist())) < len(files):
            raise ValueError("d-vectors that no encoder returns, or a recording twice")
        return dict(zip(files.tolist(), dvectors, strict=True)), str(texts[0]), str(texts[1]), str(texts[2])
    except Exception as error:  # whatever NumPy raises for a damaged file
        reason = "exists and is not a file of d-vectors"
        raise ConfigError(f"--out={path} {reason}. Choose another output, or pass --overwrite.") from error
