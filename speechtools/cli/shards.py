"""``speechtools shards``."""

import functools
import os
from pathlib import Path

import click

from speechtools.cli.command import command
from speechtools.cli.common import check_output
from speechtools.core.errors import AudioError, ConfigError, printable


@command(
    examples=[
        "speechtools shards results/prepared/quality-0123456789ab shards",
        "speechtools shards valid.csv shards --shard_megabytes 20 --audio copy",
    ]
)
@click.argument("prepared", metavar="MANIFEST")
@click.argument("folder")
@click.option(
    "--shard_megabytes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="NUMBER",
    default=100.0,
    show_default=True,
    help="Size of a shard. Each process of a training needs one, and should have several.",
)
@click.option(
    "--audio",
    "form",
    type=click.Choice(["flac", "copy"]),
    default="flac",
    show_default=True,
    help="flac compresses PCM without loss, and copies other files; copy copies all.",
)
@click.option(
    "--seed", type=int, metavar="NUMBER", default=0, show_default=True, help="Of the order of the recordings."
)
@click.option("--overwrite", is_flag=True, help="Replace the shards of the same name in FOLDER.")
def shards(prepared: str, folder: str, shard_megabytes: float, form: str, seed: int, overwrite: bool) -> int:
    """Write labelled recordings to tar shards, from which a training reads on a cluster.

    MANIFEST is a CSV file of recordings with scores that a recipe has prepared, or the folder with its `train.csv`. The
    shards have the format of WebDataset: an audio file and a .json for each recording. They are written in a random
    order, with a CSV file of the rows beside each.
    """
    import numpy as np

    from speechtools.core.jobs import map_in_processes
    from speechtools.core.rows import read_rows
    from speechtools.core.shards import pattern_of, webdataset, write_shards
    from speechtools.quality.rows import QualityRow

    webdataset("speechtools shards")
    manifest = Path(prepared) / "train.csv" if os.path.isdir(prepared) else Path(prepared)
    check_output("FOLDER", folder)
    former = sorted(Path(folder).glob(f"{manifest.stem}-*.tar"))
    if former and not overwrite:
        raise ConfigError(f"{former[0]} exists. Choose another folder, or pass --overwrite.")
    rows = read_rows(manifest, QualityRow, check=True)
    rows = [rows[number] for number in np.random.default_rng(seed).permutation(len(rows))]
    for path in former:
        path.unlink()
        path.with_suffix(".csv").unlink(missing_ok=True)
    contents = map_in_processes(functools.partial(_content, form=form), rows, None, "Writing the shards")
    samples = ((row, *content) for row, content in zip(rows, contents, strict=True))
    written = write_shards(folder, manifest.stem, QualityRow, samples, shard_megabytes)
    megabytes = sum(path.stat().st_size for path in written) / 1e6
    print(f"{len(rows)} recordings in {len(written)} shards of {megabytes:.1f} MB in all.")
    print(f'Train on them with --train_shards="{printable(pattern_of(written))}"')
    return 0


def _content(row: object, form: str) -> tuple[str, bytes]:
    """The suffix and the content of the audio file in the shard."""
    from speechtools.audio.writing import as_flac

    path: Path = row.path  # type: ignore[attr-defined]
    if form == "flac" and path.suffix.lower() != ".flac" and (content := as_flac(path)) is not None:
        return "flac", content
    try:
        return path.suffix[1:].lower(), path.read_bytes()
    except OSError as error:
        raise AudioError(f"{path} cannot be read ({error.strerror}). Check its permissions.") from error
