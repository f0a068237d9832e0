"""The test of an enhancer: PESQ and STOI before and after, on speakers and noises that it has not heard."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rich.box
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from speechtools import audio
from speechtools.core import plots
from speechtools.core.errors import AudioError, CorpusError
from speechtools.core.results import print_outputs, write_json
from speechtools.enhancement import data as enhancement_data

#: How many test files are enhanced together.
BATCH_SIZE = 16
#: What a table calls the figures of a group.
_COLUMNS = {"pesq": "PESQ", "stoi": "STOI", "predicted": "predicted"}


def evaluate(
    enhancer, rows: Sequence[dict], folder: str | Path, scale: str = "raw_nb", quality_net=None, num_workers=None
) -> list[dict]:
    """Enhance the files of a test manifest and judge what comes out.

    Parameters
    ----------
    enhancer : SpeechEnhancer
        Or anything else with ``enhance_waveforms`` and ``sample_rate``.
    rows : sequence of dict
        Of the test manifest that :func:`speechtools.enhancement.data.prepare` writes.
    folder : str or Path
        Here ``<ID>.wav`` are written, and the PESQ labels; a file that cannot be judged is in ``rejected.csv``.
    scale : str
        Of PESQ.
    quality_net : QualityNet
        Where it is given, its scores are there too, as ``predicted``; rows of :func:`with_predicted` have those of the
        noisy files already.

    Returns
    -------
    list of dict
        The rows that could be judged, with ``before`` and ``after``: each a dict of ``pesq``, ``stoi`` and, with a
        ``quality_net``, ``predicted``.

    Raises
    ------
    CorpusError
        Not one file could be judged.
    """
    folder, rate = Path(folder), enhancer.sample_rate
    rows = sorted(rows, key=lambda row: float(row["duration"]))  # so that little is padded
    outputs = {row["ID"]: folder / f"{row['ID']}.wav" for row in rows}
    rejected = {}
    for first in tqdm(range(0, len(rows), BATCH_SIZE), "enhancing", unit="batch", disable=None):
        batch = rows[first : first + BATCH_SIZE]
        enhanced = enhancer.enhance_waveforms([audio.read(row["path"], rate) for row in batch])
        for row, samples in zip(batch, enhanced, strict=True):
            try:
                audio.write(outputs[row["ID"]], samples / max(1.0, float(np.abs(samples).max())), rate)
            except AudioError as error:
                rejected[row["ID"]] = str(error)
    pairs = {row["ID"]: (Path(row["speech"]), outputs[row["ID"]]) for row in rows}
    judged = enhancement_data.judge(pairs, folder / "labels.csv", scale, rate, num_workers, rejected)
    if not judged:
        raise CorpusError(f"Not one enhanced file could be judged; {folder}/rejected.csv gives the reasons.")
    rows = [row for row in rows if row["ID"] in judged]
    before = [{"pesq": float(row["pesq"]), "stoi": float(row["stoi"])} for row in rows]
    after = [judged[row["ID"]] for row in rows]
    if quality_net is not None:
        made = with_predicted([{"path": outputs[row["ID"]]} for row in rows], quality_net)
        noisy = rows if "predicted" in rows[0] else with_predicted(rows, quality_net)
        for figures, scored in ((before, noisy), (after, made)):
            for each, row in zip(figures, scored, strict=True):
                each["predicted"] = row["predicted"]
    return [row | {"before": b, "after": a} for row, b, a in zip(rows, before, after, strict=True)]


def with_predicted(rows: Sequence[dict], quality_net) -> list[dict]:
    """Rows with the score that a Quality-Net gives their file ``path``, as ``predicted``.

    Raises
    ------
    AudioError
        A file cannot be scored; what PESQ could judge has sound, and can be.
    """
    found = []
    for row, (_, report) in zip(rows, quality_net.assess_files([row["path"] for row in rows]), strict=True):
        if isinstance(report, AudioError):
            raise report
        found.append(row | {"predicted": report.score})
    return found


def enhancement_figures(rows: Sequence[dict]) -> dict:
    """Means before and after, and their difference, ``gain``: overall, by SNR and by noise type.

    ``unheard`` are noise types that the enhancer was not trained with, ``heard`` those that it was; the speakers are
    new in both.
    """
    figures = {}
    for name, heard in (("unheard", "no"), ("heard", "yes")):
        members = [row for row in rows if row["heard"] == heard]
        if members:
            figures[name] = {
                "overall": _means(members),
                "by_snr_db": _grouped(members, "snr_db", float),
                "by_noise": _grouped(members, "noise_type", str),
            }
    return figures


def _means(rows: Sequence[dict]) -> dict:
    means = {
        when: {name: float(np.mean([row[when][name] for row in rows])) for name in rows[0][when]}
        for when in ("before", "after")
    }
    gain = {name: means["after"][name] - means["before"][name] for name in means["before"]}
    return {"files": len(rows)} | means | {"gain": gain}


def _grouped(rows: Sequence[dict], key: str, order) -> dict:
    return {
        name: _means([row for row in rows if row[key] == name]) for name in sorted({r[key] for r in rows}, key=order)
    }


def print_enhancement(figures: dict, title: str, console: Console) -> None:
    """The figures of one model as a table."""
    names = list(next(iter(figures.values()))["overall"]["gain"])
    table = Table(title=title, title_style="bold", box=rich.box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("group", no_wrap=True)
    table.add_column("files", justify="right")
    for name in names:
        for when in ("before", "after", "gain"):
            table.add_column(f"{_COLUMNS[name]} {when}", justify="right")

    def add(label, each, end=False):
        cells = []
        for name in names:
            cells += [f"{each['before'][name]:.3f}", f"{each['after'][name]:.3f}", f"{each['gain'][name]:+.3f}"]
        table.add_row(label, str(each["files"]), *cells, end_section=end)

    for kind, groups in figures.items():
        add(f"{kind} noises", groups["overall"])
        parts = [(f"  {name} dB", each) for name, each in groups["by_snr_db"].items()]
        parts += [(f"  {name}", each) for name, each in groups["by_noise"].items()]
        for number, (label, each) in enumerate(parts, start=1):
            add(label, each, end=number == len(parts))
    console.print(table)


def verdict(figures: dict, other: dict, name: str) -> str:
    """In words, how far true and predicted quality went up from the ``other`` model, called ``name``, on new noises."""
    kind = "unheard" if "unheard" in figures else "heard"
    ours, theirs = (each[kind]["overall"]["after"] for each in (figures, other))
    change = {key: ours[key] - theirs[key] for key in ours}
    text = f"Against {name}, {kind} noises: true PESQ {change['pesq']:+.3f}, STOI {change['stoi']:+.3f}"
    if "predicted" not in change:
        return text + "."
    text += f", PESQ predicted by the Quality-Net {change['predicted']:+.3f}: "
    if change["pesq"] > 0:
        return text + "the true one went up."
    return text + ("only the predicted one went up." if change["predicted"] > 0 else "neither went up.")


def enhancement_report(
    run: str | Path, rows: Sequence[dict], models: Mapping[str, Any], facts: dict, quality_net=None, **judging
) -> dict:
    """Everything that a test of enhancers leaves: tables on the screen, ``results.json`` and an example, in ``run``.

    ``models`` are SpeechEnhancers by name: the one just trained last, and before it one to compare it with, if any.
    ``quality_net`` and ``judging`` go to :func:`evaluate`; ``facts`` must hold ``trained_on``. The last model's figures
    are returned.
    """
    # Into a file or a pipe, the table goes whole.
    run, console = Path(run), Console(width=None if sys.stdout.isatty() else 120)
    if quality_net is not None:
        rows = with_predicted(rows, quality_net)
    figures = {}
    for name, model in models.items():
        judged = evaluate(model, rows, run / "enhanced" / name, quality_net=quality_net, **judging)
        figures[name] = enhancement_figures(judged)
        print_enhancement(figures[name], f"{name}: new speakers, {facts['trained_on']}", console)
    last = figures.pop(name)
    for other, each in figures.items():
        console.print(verdict(last, each, other), soft_wrap=True)
    write_json(run / "results.json", facts | last | {"compared_with": figures})
    drawn = _example(run, judged, model.sample_rate, name)
    print_outputs(run, [drawn], console)
    return last


def _example(run: Path, judged: Sequence[dict], rate: int, name: str) -> Path:
    """Clean, noisy and enhanced versions of one test file of unheard noise, to listen to and as a figure."""
    unheard = [row for row in judged if row["heard"] == "no"] or list(judged)
    row = sorted(unheard, key=lambda each: (abs(float(each["snr_db"])), each["ID"]))[0]
    paths = {"clean": row["speech"], "noisy": row["path"], "enhanced": run / "enhanced" / name / f"{row['ID']}.wav"}
    recordings = []
    for kind, path in paths.items():
        samples = audio.read(path, rate)
        audio.write(run / "examples" / f"{kind}.wav", samples, rate)
        title = {"clean": "clean", "noisy": f"{row['noise_type']} noise at {row['snr_db']} dB"}.get(kind, kind)
        when = {"noisy": "before", "enhanced": "after"}.get(kind)
        recordings.append((title + (f", PESQ {row[when]['pesq']:.2f}" if when else ""), samples))
    return plots.spectrograms(run / "figures" / "example.png", recordings, rate)
