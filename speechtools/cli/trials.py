"""``speechtools trials``."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from speechtools.cli.command import command
from speechtools.cli.common import (
    batch_size_option,
    channel_option,
    load_model,
    model_options,
    module_option,
    overwrite_option,
    plot_folder,
    print_problems,
    progress,
    quality_options,
    recordings,
    refuse_inputs,
    weigh_by_quality,
)
from speechtools.cli.tables import csv_option, open_tables, write_all
from speechtools.core.errors import ConfigError, CorpusError, printable
from speechtools.core.rows import Row

if TYPE_CHECKING:
    from speechtools.audio.sources import Channel
    from speechtools.speaker.inference import SpeakerEncoder
    from speechtools.speaker.pairs import Pair, RatedPairs


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialRow(Row):
    """A trial and its score, or why it has none: a row of the CSV file."""

    line: int
    target: int
    first: str
    second: str
    score: float | None = None
    llr: float | None = None
    error: str | None = None


@command(
    examples=[
        "speechtools trials trials.txt",
        "speechtools trials veri_test.txt --root voxceleb1/wav --csv scores.csv --png plots",
    ]
)
@click.argument("path", metavar="LIST")
@click.option("--root", metavar="FOLDER", help="The folder of the recordings.  [default: the folder of the list]")
@csv_option(TrialRow)
@click.option("--png", metavar="FOLDER", help="Draw a DET curve, det.png, and a histogram of the scores, scores.png.")
@overwrite_option
@click.option(
    "--p_target",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="NUMBER",
    default=0.01,
    show_default=True,
    help="Prior probability of a target trial in minDCF, between 0 and 1.",
)
@batch_size_option
@quality_options
@model_options
@channel_option
@module_option
def trials(
    path: str,
    root: str | None,
    csv_path: str | None,
    png: str | None,
    overwrite: bool,
    p_target: float,
    batch_size: int,
    quality: tuple[str | None] | None,
    model: str | None,
    device: str | None,
    channel: "Channel",
) -> int:
    """Score a list of trials of speaker verification, and print error rates.

    The rates are the equal error rate (EER), the minimum of the detection cost (minDCF), and the cost of the best
    log-likelihood ratios that the scores could give (min Cllr). A calibrated model also has ratios of its own, which
    are rated, too (Cllr).

    LIST is a text file with a trial on each line, as those of VoxCeleb: `1 a.wav b.wav` if both recordings
    are of the same speaker, `0 a.wav b.wav` otherwise. Fields are separated by spaces, tabs or commas.

    Each recording is embedded once. Trials of a recording that cannot be used are left out; it is reported, and the
    exit status is 1.
    """
    pairs, folder, files = read_list(path, root)
    plots = plot_folder(png, ("det.png", "scores.png"), overwrite) if png else []
    refuse_inputs([*files, path], {"--csv": [csv_path] if csv_path else [], "--png": plots})
    tables = open_tables(TrialRow, csv_path, None, overwrite, resume=False)
    encoder = load_model("SpeakerEncoder", model, device)
    weigh_by_quality(encoder, quality, device)
    rated = rate_list(encoder, pairs, folder, batch_size, channel)
    errors = rated.errors
    rows = []
    for number, pair in enumerate(pairs):
        row = TrialRow(line=pair.line, target=int(pair.target), first=pair.first, second=pair.second)
        if error := errors.get(pair.first) or errors.get(pair.second):
            rows.append(dataclasses.replace(row, error=str(error)))
            continue
        llr = None if rated.llrs is None else round(float(rated.llrs[number]), 6)
        rows.append(dataclasses.replace(row, score=round(float(rated.scores[number]), 6), llr=llr))
    rows = list(write_all(((row, {}) for row in rows), tables))
    scored = [(row.target, row.score) for row in rows if row.score is not None]
    targets, nontargets = ([score for target, score in scored if target == kind] for kind in (1, 0))
    if not targets or not nontargets:
        kind = "target" if not targets else "non-target"
        raise CorpusError(f"No {kind} trial of {path} has a score, so there are no error rates. Check the recordings.")
    threshold = _print_rates(targets, nontargets, p_target)
    if rated.llrs is not None:
        _print_calibration(*([row.llr for row in rows if row.llr is not None and row.target == k] for k in (1, 0)))
    print(f"trials\t{len(scored)}\t{len(targets)} target, {len(nontargets)} non-target")
    left_out = f"{len(rows) - len(scored)}\tof {len(rows)} trials, for {recordings(len(errors))} of {len(files)}"
    print(f"left out\t{left_out}")
    if plots:
        from speechtools.speaker.plots import det, score_histogram

        title = f"{printable(Path(path).name)}, {len(files) - len(errors)} recordings"
        det(plots[0], {"trials": (targets, nontargets)}, title)
        score_histogram(plots[1], targets, nontargets, threshold, title)
        print(f"plots\t{plots[0]}\t{plots[1]}")
    return 1 if errors else 0


def read_list(path: str, root: str | None) -> tuple[list["Pair"], Path, list[Path]]:
    """Read a list of trials, and return it with the folder of the recordings, and these."""
    from speechtools.speaker.pairs import pair_recordings, read_pairs

    pairs = read_pairs(path)
    folder = Path(path).parent if root is None else Path(root)
    if root is not None and not folder.is_dir():
        raise ConfigError(f"--root={root} is not a folder.")
    files = list(pair_recordings(pairs, folder).values())
    if not any(os.path.exists(file) for file in files):
        remedy = "Pass the folder of the recordings with --root."
        raise ConfigError(f"None of the {len(files)} recordings of {path} exists, such as {files[0]}. {remedy}")
    return pairs, folder, files


def rate_list(
    encoder: "SpeakerEncoder", pairs: list["Pair"], folder: Path, batch_size: int, channel: "Channel"
) -> "RatedPairs":
    """Rate the trials of a list with a progress bar, and report the recordings that cannot be used."""
    from speechtools.speaker.pairs import pair_recordings, rate_pairs

    encoder.assess_for_calibration()
    count = len(pair_recordings(pairs, folder))
    rated = rate_pairs(
        encoder,
        pairs,
        folder,
        batch_size,
        channel=channel,
        progress=lambda results: progress(results, "embedding", count),
    )
    print_problems(f"not embedded: {error}" for error in rated.errors.values())
    return rated


def _print_rates(targets: list[float], nontargets: list[float], p_target: float) -> float:
    """Print the error rates, and return the threshold at the EER."""
    from speechtools.core import metrics

    rate, threshold = metrics.eer(targets, nontargets)
    low, high = metrics.eer_interval(rate, len(targets), len(nontargets))
    cost = metrics.min_dcf(targets, nontargets, p_target=p_target)
    print(f"EER\t{100 * rate:.2f} %\t95 % interval {100 * low:.2f} to {100 * high:.2f} %")
    print(f"threshold\t{threshold:.4f}\tat the EER")
    print(f"minDCF\t{cost:.4f}\tnormalised, p_target {p_target:g}")
    print(f"min Cllr\t{metrics.min_cllr(targets, nontargets):.4f}\tin bits, at best")
    return threshold


def _print_calibration(targets: list[float], nontargets: list[float]) -> None:
    """Print the cost and the error rates of log-likelihood ratios."""
    from speechtools.core import metrics

    cost, least = metrics.cllr(targets, nontargets), metrics.min_cllr(targets, nontargets)
    misses = sum(ratio < 0 for ratio in targets) / len(targets)
    alarms = sum(ratio >= 0 for ratio in nontargets) / len(nontargets)
    rate = metrics.eer(targets, nontargets)[0]
    print(f"Cllr\t{cost:.4f}\tof the calibration; {least:.4f} at best, EER {100 * rate:.2f} %")
    print(f"calibrated\t{100 * misses:.2f} %\tmisses, and {100 * alarms:.2f} % false alarms at probability 0.5")
