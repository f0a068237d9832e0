"""Reports of a test: figures of merit overall and by group, on the screen and as JSON."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from speechtools import audio
from speechtools.core import metrics, plots
from speechtools.core.errors import ConfigError
from speechtools.core.results import print_outputs, write_json
from speechtools.core.rows import write_rows
from speechtools.degradations import mixing
from speechtools.quality import localization

logger = logging.getLogger(__name__)


def quality_figures(predicted, true, rows: Sequence[dict], clean_variances: Sequence[float]) -> dict:
    """MSE, LCC and SRCC overall, by subset, by noise type and by SNR (Quality-Net paper, section 3).

    Parameters
    ----------
    predicted, true : array-like
        Utterance scores (utterances,).
    rows : sequence of dict
        Their manifest rows, in the same order: ``subset``, ``noise_type``, ``snr_db``.
    clean_variances : sequence of float
        For every clean utterance the variance of its frame scores; their mean is table 1's last column.

    Returns
    -------
    dict
        ``overall``, and ``by_subset``, ``by_noise``, ``by_snr_db``, each a mapping from the group to its figures; and
        ``clean_frame_variance``. An undefined correlation (of a constant) is None.
    """
    predicted, true = metrics.validate(predicted, true)
    return {
        "overall": _figures(predicted, true),
        "by_subset": _grouped(predicted, true, [row["subset"] for row in rows]),
        "by_noise": _grouped(predicted, true, [row["noise_type"] for row in rows]),
        "by_snr_db": _grouped(predicted, true, [row["snr_db"] for row in rows], order=float),
        "clean_frame_variance": float(np.mean(clean_variances)) if len(clean_variances) else None,
    }


def _figures(predicted: np.ndarray, true: np.ndarray) -> dict:
    values = {"mse": metrics.mse(predicted, true), "lcc": metrics.lcc(predicted, true)}
    values["srcc"] = metrics.srcc(predicted, true)
    return {"utterances": len(true)} | {key: None if math.isnan(v) else v for key, v in values.items()}


def _grouped(predicted: np.ndarray, true: np.ndarray, groups: list[str], order=str) -> dict:
    # Clean utterances have neither noise nor SNR.
    names = sorted({str(name) for name in groups if name != ""}, key=order)
    of = {name: np.asarray(groups) == name for name in names}
    return {name: _figures(predicted[chosen], true[chosen]) for name, chosen in of.items()}


def print_quality(figures: dict, title: str, console: Console | None = None) -> None:
    """The figures as a table."""
    table = Table(title=title, title_style="bold")
    table.add_column("group")
    for column in ("utterances", "MSE", "LCC", "SRCC"):
        table.add_column(column, justify="right")

    def add(name, values, end=False):
        cells = ("–" if values[key] is None else f"{values[key]:.4f}" for key in ("mse", "lcc", "srcc"))
        table.add_row(name, str(values["utterances"]), *cells, end_section=end)

    add("all", figures["overall"], end=True)
    for key, unit in (("by_subset", ""), ("by_noise", ""), ("by_snr_db", " dB")):
        items = list(figures[key].items())
        for number, (name, values) in enumerate(items, start=1):
            add(name + unit, values, end=number == len(items))
    console = console or Console()
    console.print(table)
    if figures["clean_frame_variance"] is not None:
        console.print(f"Variance of frame scores on clean speech (mean): {figures['clean_frame_variance']:.4f}")
    if found := figures.get("localization"):
        console.print(
            f"Noise at 0 dB in the middle of clean speech: AUC of its frames {found['auc']:.4f}, within an utterance "
            f"{found['auc_within']:.4f}; drop of the clean frames beside it {found['clean_drop']:.4f}"
        )


def quality_report(run: str | Path, figures: dict, predicted, true, rows: Sequence[dict], net, facts: dict) -> None:
    """Everything that a test of Quality-Net leaves: a table on the screen, and in ``run`` the figures drawn,
    ``results.json``, and ``predictions.csv``, which is the test manifest with the predicted scores.

    ``net`` is the exported model, loaded again; ``facts`` say what was trained on what, and must hold ``trained_on``.
    ``localization`` in ``results.json`` is that of :func:`localization.localization_figures`, on the clean utterances
    of the test with its noises; null where it has none to make them of, as a warning says.
    """
    run = Path(run)
    figures = figures | {"localization": _localization(net, rows)}
    scores = [row | {"predicted": f"{score:.6f}"} for row, score in zip(rows, predicted, strict=True)]
    write_rows(run / "predictions.csv", list(scores[0]), scores)
    write_json(run / "results.json", facts | {"scale": net.scale} | figures)
    drawn = quality_figures_drawn(run / "figures", predicted, true, rows, net, facts["trained_on"])
    console = Console()
    print_quality(figures, f"Test on {facts['trained_on']}", console)
    print_outputs(run, drawn, console)


def _localization(net, rows: Sequence[dict]) -> dict | None:
    try:
        return localization.localization_figures(net, localization.partly_noisy_set(rows, net.sample_rate))
    except ConfigError as error:
        logger.warning("Whether the frame scores tell where the noise is was not tested. %s", error)
        return None


def quality_figures_drawn(folder: str | Path, predicted, true, rows: Sequence[dict], net, origin: str) -> list[Path]:
    """The paper's figure 4 of a test, and its figures 2 and 3 for one of its utterances, clean and partly noisy.

    ``net`` is a QualityNet, ``rows`` the manifest rows in the order of the scores. The noise fills the middle third, at
    0 dB there; it is street noise where the test has it.
    """
    folder = Path(folder)
    subsets = [row["subset"] for row in rows]
    scatter = plots.score_scatter(folder / "scatter.png", predicted, true, subsets, net.scale, f"Test on {origin}")
    noisy = [row for row in rows if row["noise"]]
    noisy = [row for row in noisy if row["noise_type"] == "street"] or noisy
    clean = [row for row in rows if row["subset"] == "clean"]
    if not noisy or not clean:
        return [scatter]
    rate = net.sample_rate
    speech = audio.read(clean[0]["path"], rate)
    start, end = len(speech) // 3, 2 * len(speech) // 3
    partly = mixing.partly_noisy(speech, audio.read(noisy[0]["noise"], rate), 0.0, start, end)
    name = f"{noisy[0]['noise_type']} noise at 0 dB inside the dashed frame"
    recordings = [
        (title, samples, net.assess_samples(samples)) for title, samples in (("clean speech", speech), (name, partly))
    ]
    # The recordings of the figures, to listen to and to try the model on.
    audio.write(folder.parent / "examples" / "clean.wav", speech, rate)
    audio.write(folder.parent / "examples" / "partly_noisy.wav", partly, rate)
    whole = mixing.partly_noisy(speech, audio.read(noisy[0]["noise"], rate), 0.0, 0, len(speech))
    audio.write(folder.parent / "examples" / "noisy_0dB.wav", whole, rate)
    examples = plots.frame_scores(
        folder / "frame_scores.png", recordings, rate, marked={name: (start / rate, end / rate)}
    )
    return [scatter, examples]
