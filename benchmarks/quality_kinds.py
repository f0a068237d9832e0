"""How well quality models hear each kind of degradation: those of the toolkit and their peers, on the same files.

    python benchmarks/quality_kinds.py prepared/quality-…/test.csv --model quality-net mine=results/robust/1/pretrained

``test.csv`` is a test that ``recipes/TIMIT/quality`` has prepared with ``robust.yaml``. All models run on one thread.
``--only`` selects parts: ``kinds`` (correlation with the true scores by kind, and which cause is present),
``localisation``, ``enhance`` and ``speed``. ``--json`` and ``--csv`` write the results, and the scores of every file.
"""

import argparse
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from quality_frames import LOCALISED, cause_aucs, localisation, noisy_sets, selective_enhancement
from quality_models import PEERS, SAMPLE_RATE, Model, bench_speed, of_toolkit
from scipy.optimize import LinearConstraint, minimize
from timing import print_table

from speechtools import audio
from speechtools.core import metrics
from speechtools.core.errors import AudioError
from speechtools.core.files import write_aside
from speechtools.core.results import write_json
from speechtools.core.rows import read_rows
from speechtools.degradations.causes import CAUSES
from speechtools.measures import find_measure
from speechtools.quality.inference import QualityReport
from speechtools.quality.rows import QualityRow

#: Groups of kinds (subsets of the manifest). All other kinds are in the last group.
GROUPS = {
    "clean": ("clean",),
    "noise": ("noise", "noisy"),
    "enhanced": ("enhanced", "enhanced-spectral", "enhanced-network"),
    "reverb": ("reverb", "reverb-noise"),
    "loss": ("loss", "gaps", "clicks"),
    "codec": ("codec", "codec-unheard"),
    "clipping": ("clipping", "agc"),
    "band limit": ("band-limit", "equalizer", "resampling"),
}
CHAINS = "chains"
THRESHOLDS = (1.5, 2.0, 2.5, 3.0, 3.5)
PARTS = ("kinds", "localisation", "enhance", "speed")


# ----------------------------------------------------------------------------------------------------------- metrics


def group_of(kind: str) -> str:
    """The group of a kind."""
    return next((name for name, kinds in GROUPS.items() if kind in kinds), CHAINS)


def mapped(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Predicted scores (files,) on the scale of the true ones, by the best monotonic polynomial of third order.

    ITU-T P.1401 (2020), section 7.4. Where no rising polynomial fits better than a constant, it is a constant.
    """
    if len(true) < 5 or np.ptp(predicted) == 0:
        return predicted
    low, high = predicted.min(), predicted.max()
    # (files, 4) and (points, 4)
    powers = np.vander(2 * (predicted - low) / (high - low) - 1, 4, increasing=True)
    points = np.vander(np.linspace(-1, 1, 33), 3, increasing=True)
    slopes = np.column_stack([np.zeros(33), points * [1, 2, 3]])
    result = minimize(
        lambda weights: np.square(powers @ weights - true).mean(),
        [true.mean(), 0.01, 0, 0],
        jac=lambda weights: 2 * (powers @ weights - true) @ powers / len(true),
        constraints=LinearConstraint(slopes, 0, np.inf),
        method="SLSQP",
    )
    return powers @ result.x


def correlations(predicted: np.ndarray, true: np.ndarray, of_mos: bool) -> dict[str, float | int | None]:
    """LCC and SRCC of scores (files,); errors of a model of the true scale, and LCC after mapping of one of MOS."""
    values: dict[str, float | int | None] = {
        "files": len(true),
        "lcc": metrics.lcc(predicted, true),
        "srcc": metrics.srcc(predicted, true),
    }
    if of_mos:
        on_scale = mapped(predicted, true)
        values["lcc_mapped"] = metrics.lcc(on_scale, true) if np.ptp(on_scale) > 1e-3 else None
    else:
        values["mean_error"] = float(np.mean(predicted - true))
        values["mae"] = float(np.mean(np.abs(predicted - true)))
    return {name: None if value is not None and np.isnan(value) else value for name, value in values.items()}


def by_kind(rows: Sequence[QualityRow], predicted: np.ndarray, of_mos: bool) -> dict[str, dict]:
    """The metrics ``overall``, of each ``kind`` and of each ``group``."""
    true = np.array([row.score for row in rows])
    kinds = np.array([row.subset for row in rows])
    groups = np.array([group_of(row.subset) for row in rows])

    def of_each(labels: np.ndarray, order: Iterable[str]) -> dict:
        return {label: correlations(predicted[labels == label], true[labels == label], of_mos) for label in order}

    return {
        "overall": correlations(predicted, true, of_mos),
        "kinds": of_each(kinds, dict.fromkeys(row.subset for row in rows)),
        "groups": of_each(groups, [name for name in (*GROUPS, CHAINS) if name in groups]),
    }


# ----------------------------------------------------------------------------------------------------------- scoring


def score_files(
    rows: Sequence[QualityRow], models: Sequence[Model], peer_scores: Path | None
) -> tuple[list[QualityRow], dict[str, np.ndarray], dict[str, list[QualityReport]]]:
    """Score files by all models.

    ``peer_scores`` keeps those of the peers, which take about a second a file: what it has is not computed again.

    Returns
    -------
    rows : list of QualityRow
        Without files that a model cannot score.
    scores : dict
        (files,) by output.
    reports : dict
        Of every file, by model of the toolkit.
    """
    known = _PeerScores(peer_scores)
    scored: list[QualityRow] = []
    scores: dict[str, list[float]] = {output: [] for model in models for output in model.outputs}
    reports: dict[str, list[QualityReport]] = {model.outputs[0]: [] for model in models if model.net}
    for number, row in enumerate(rows, 1):
        try:
            samples = audio.read(row.path, SAMPLE_RATE)
            new_reports = {model.outputs[0]: model.net.assess_samples(samples) for model in models if model.net}
        except AudioError as error:
            print(f"{row.ID} is left out: {error}")
            continue
        for model in models:
            values = (new_reports[model.outputs[0]].score,) if model.net else known.score(model, row.ID, samples)
            for output, value in zip(model.outputs, values, strict=True):
                scores[output].append(float(value))
        for name, report in new_reports.items():
            reports[name].append(report)
        scored.append(row)
        if number % 100 == 0:
            print(f"{number} of {len(rows)} files", flush=True)
    return scored, {output: np.array(values) for output, values in scores.items()}, reports


class _PeerScores:
    """Scores of peers, in a table to which new ones are added at once."""

    def __init__(self, path: Path | None):
        self.path, self.known = path, {}
        if path is not None and path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                self.known = {(name, output): float(score) for name, output, score in csv.reader(file)}

    def score(self, model: Model, name: str, samples: np.ndarray) -> Sequence[float]:
        """Scores (outputs,) of samples (samples,), of the file of that id."""
        keys = [(name, output) for output in model.outputs]
        if not all(key in self.known for key in keys):
            values = model.score(samples)
            self.known |= dict(zip(keys, map(float, values), strict=True))
            if self.path is not None:
                with open(self.path, "a", newline="", encoding="utf-8") as file:
                    csv.writer(file).writerows([*key, f"{self.known[key]:.6g}"] for key in keys)
        return [self.known[key] for key in keys]


def write_scores(path: Path, rows: Sequence[QualityRow], scores: dict[str, np.ndarray]) -> None:
    """Write the scores of every file."""
    with write_aside(path) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["ID", "subset", "group", "speaker", "score", *scores])
        for number, row in enumerate(rows):
            values = (f"{column[number]:.6g}" for column in scores.values())
            writer.writerow([row.ID, row.subset, group_of(row.subset), row.speaker, row.score, *values])


def some_of_each_kind(rows: Sequence[QualityRow], count: int | None) -> list[QualityRow]:
    """The first rows of each kind; None takes all."""
    numbers: dict[str, int] = {}
    chosen = []
    for row in rows:
        numbers[row.subset] = numbers.get(row.subset, 0) + 1
        if count is None or numbers[row.subset] <= count:
            chosen.append(row)
    return chosen


# ------------------------------------------------------------------------------------------------------------ tables


def print_correlations(results: dict[str, dict]) -> None:
    """Print LCC and SRCC of all models, and the errors of those on the true scale."""
    columns = ("", "files", *results)
    first = next(iter(results.values()))
    lines = [("all", "overall", None)]
    lines += [(f"group {name}", "groups", name) for name in first["groups"]]
    lines += [(name, "kinds", name) for name in first["kinds"]]

    def values(model: dict, part: str, name: str | None) -> dict:
        return model[part] if name is None else model[part][name]

    def cell(value: dict) -> str:
        text = f"{_number(value['lcc'])} / {_number(value['srcc'])}"
        return text + (f" ({_number(value['lcc_mapped'])})" if "lcc_mapped" in value else "")

    rows = []
    for label, part, name in lines:
        of_models = [values(model, part, name) for model in results.values()]
        rows.append((label, str(of_models[0]["files"]), *map(cell, of_models)))
    print_table("LCC / SRCC with the true scores (LCC after mapping, P.1401)", rows, columns)
    own = {name: model for name, model in results.items() if "mae" in model["overall"]}
    rows = []
    for label, part, name in lines:
        of_models = [values(model, part, name) for model in own.values()]
        rows.append((label, *(f"{value['mean_error']:+.3f} / {value['mae']:.3f}" for value in of_models)))
    if own:
        print_table("Mean error / mean absolute error", rows, ("", *own))


def print_causes(results: dict[str, dict]) -> None:
    """Print the AUC of each cause."""
    rows = [(cause, *(_number(model[cause]["auc"]) for model in results.values())) for cause in CAUSES]
    print_table("AUC of the causes, per frame", rows, ("cause", *results))


def print_localisation(results: dict[str, dict]) -> None:
    """Print the AUC of the frame scores."""
    rows = [
        (name, kind, *(f"{values[key]:.3f}" for key in ("auc", "auc_within", "auc_changed", "auc_within_changed")))
        for name, kinds in results.items()
        for kind, values in kinds.items()
    ]
    columns = ("model", "a third has", "AUC", "within", "AUC, changed frames", "within")
    print_table("Localisation: " + "; ".join(LOCALISED.values()), rows, columns)


def print_enhancement(results: dict[str, dict]) -> None:
    """Print what is kept of the gain by enhancement."""
    rows = []
    for name, models in results.items():
        full = models["full"]
        rows.append((name, str(full["files"]), "", "all", "100%", f"{full['pesq']:+.3f}", "", f"{full['stoi']:+.4f}"))
        for model, thresholds in models.items():
            for below, values in thresholds.items() if model != "full" else ():
                share = f"{values['enhanced']:.0%}"
                kept = "–" if values["kept"] is None else f"{values['kept']:.0%}"
                rows.append(("", "", model, below, share, f"{values['pesq']:+.3f}", kept, f"{values['stoi']:+.4f}"))
    columns = ("files", "number", "model", "below", "time enhanced", "PESQ", "of the gain", "STOI")
    print_table("Enhancement of the stretches with frame scores below a threshold", rows, columns)


def print_speed(results: dict[str, dict]) -> None:
    """Print the speeds."""
    rows = [
        (
            name,
            f"{values['parameters']:,}",
            f"{values['one_by_one']:.0f}×",
            f"{values['batch']:.0f}×" if values["batch"] else "",
        )
        for name, values in results.items()
    ]
    print_table("Times real time, one thread", rows, ("model", "parameters", "one by one", "in batches"))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


# -------------------------------------------------------------------------------------------------------------- main


def main() -> None:
    """Run the selected parts and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", nargs="+", default=["quality-net"], help="bundled names, folders, or label=folder")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--noise", nargs="*", type=Path, default=[], help="recordings that no model was trained on")
    parser.add_argument("--street", nargs="*", type=Path, default=[], help="recordings of street noise")
    parser.add_argument("--per_kind", type=int, help="use only so many files of each kind")
    parser.add_argument("--examples", type=int, default=100, help="utterances of localisation and enhancement")
    parser.add_argument("--thresholds", nargs="+", type=float, default=THRESHOLDS)
    parser.add_argument("--peer_scores", type=Path, help="keep scores of the peers in this table, for later runs")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = some_of_each_kind(read_rows(arguments.manifest, QualityRow), arguments.per_kind)
    models = [*map(of_toolkit, arguments.model), *(PEERS[name]() for name in arguments.peers)]
    nets = {model.outputs[0]: model.net for model in models if model.net}
    results: dict[str, dict] = {}
    if "kinds" in arguments.only:
        scored, scores, reports = score_files(rows, models, arguments.peer_scores)
        measure = find_measure(scored[0].measure).name
        on_scale = {name for name, net in nets.items() if find_measure(net.scale).name == measure}
        results["kinds"] = {name: by_kind(scored, values, name not in on_scale) for name, values in scores.items()}
        print_correlations(results["kinds"])
        with_causes = {name: found for name, found in reports.items() if getattr(found[0], "causes", None) is not None}
        results["causes"] = {name: cause_aucs(scored, found) for name, found in with_causes.items()}
        if with_causes:
            print_causes(results["causes"])
        if arguments.csv:
            write_scores(arguments.csv, scored, scores)
    noises = _recordings(arguments.noise) or sorted({row.noise for row in rows if row.noise})
    if not noises and {"localisation", "enhance"} & set(arguments.only):
        print("Without --noise, the generated training noises are used, which the models may know.")
    if "localisation" in arguments.only:
        results["localisation"] = localisation(nets, rows, noises, arguments.examples)
        print_localisation(results["localisation"])
    if "enhance" in arguments.only:
        sets = noisy_sets(rows, noises, _recordings(arguments.street), arguments.examples)
        results["enhance"] = {
            name: selective_enhancement(nets, pairs, arguments.thresholds) for name, pairs in sets.items()
        }
        print_enhancement(results["enhance"])
    if "speed" in arguments.only:
        waveforms = [audio.read(row.path, SAMPLE_RATE) for row in rows[:: max(1, len(rows) // 32)][:32]]
        results["speed"] = bench_speed(models, waveforms, repeats=3)
        print_speed(results["speed"])
    if arguments.json:
        write_json(arguments.json, {"manifest": arguments.manifest.name, "files": len(rows)} | results)


def _recordings(paths: Sequence[Path]) -> list[Path]:
    return [file for path in paths for file in (audio.find_audio(path) if path.is_dir() else [path])]


if __name__ == "__main__":
    main()
