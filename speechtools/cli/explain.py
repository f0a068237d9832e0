"""What ``speechtools score --explain`` prints and stores: regions with their causes and costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from speechtools.core.errors import ConfigError

if TYPE_CHECKING:
    from speechtools.quality.regions import CauseRegion
    from speechtools.quality.report import QualityReport

#: Regions of a recording of up to a minute are shown if they cost as much. In a longer one, each costs less, but those
#: that cost 0.00 are not shown.
_MIN_COST = 0.05
_MIN_COST_SECONDS = 60.0
_ROUNDED = 0.005
#: Lines for the regions that are not shown, by their causes.
_MOST_GROUPS = 3


def explain_options(command: Callable) -> Callable:
    """Add ``--explain``, ``--regions`` and ``--order``."""
    command = click.option(
        "--order",
        type=click.Choice(["cost", "time"]),
        help="Order of the regions of --explain: the worst first, or as they follow.  [default: cost]",
    )(command)
    command = click.option(
        "--regions",
        "num_regions",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        help="Regions of a recording that --explain shows at most.  [default: 6]",
    )(command)
    help_text = (
        "Tell where the recording is bad, why if the model knows causes, and how much that costs of its score. "
        "--jsonl and --png contain it, too."
    )
    return click.option("--explain", is_flag=True, help=help_text)(command)


def make_explainer(explain: bool, num_regions: int | None, order: str | None, net: Any, below: float | None) -> Any:
    """Return the :class:`Explainer` of the options, or None without ``--explain``.

    Raises
    ------
    ConfigError
        The best score of the model's scale is not known, or ``--explain`` is missing.
    """
    if not explain:
        option = "--regions" if num_regions else "--order" if order else None
        if option:
            raise ConfigError(f"{option} is an option of --explain. Pass both.")
        return None
    if net.measure is None:
        raise ConfigError(f"--explain: the best score of the scale {net.scale} is not known, so nothing has a cost.")
    return Explainer(6 if num_regions is None else num_regions, order or "cost", below)


@dataclass
class Explainer:
    """Explain the scores of recordings.

    Parameters
    ----------
    num_regions : int
        Regions to show at most.
    order : str
        ``cost``, the worst first, or ``time``.
    below : float, optional
        Frames that score worse are degraded, for models that do not know causes.
    """

    num_regions: int = 6
    order: str = "cost"
    below: float | None = None
    #: Lines by recording, until they are printed.
    lines: dict[str, list[str]] = field(default_factory=dict)

    def explain(self, file: str, report: "QualityReport") -> dict[str, Any]:
        """Return the regions of a recording for its JSON line, and keep the lines to print for it."""
        from speechtools.quality.regions import best_score

        regions = report.regions(None, below=self.below)
        self.lines[file] = self.format(regions, report)
        return {
            "best": best_score(report),
            "regions": [
                {
                    "start": round(region.start, 3),
                    "end": round(region.end, 3),
                    "score": round(region.score, 4),
                    "cost": round(region.cost, 6),
                    "causes": list(region.causes),
                    "probabilities": {name: round(value, 3) for name, value in region.probabilities.items()},
                }
                for region in regions
            ],
        }

    def shown(self, regions: Sequence["CauseRegion"], report: "QualityReport") -> list["CauseRegion"]:
        """The regions to show, in their order."""
        min_cost = max(_MIN_COST * min(1.0, _MIN_COST_SECONDS / report.duration), _ROUNDED)
        worst = sorted(regions, key=lambda region: -region.cost)[: self.num_regions]
        shown = [region for region in worst if region.cost >= min_cost]
        return sorted(shown, key=lambda region: region.start) if self.order == "time" else shown

    def format(self, regions: Sequence["CauseRegion"], report: "QualityReport") -> list[str]:
        """Lines such as ``3.2–4.1 s  clipping  costs 0.31``; what is left out is summed up by its causes."""
        shown = self.shown(regions, report)
        groups: dict[str, list[float]] = {}
        times, causes, costs = [], [], []
        for region in shown:
            times.append(f"{region.start:.1f}–{region.end:.1f} s")
            causes.append(describe_causes(region, report, self.below))
            costs.append(region.cost)
        for region in regions:
            if region not in shown:
                groups.setdefault(describe_causes(region, report, self.below), []).append(region.cost)
        rest = sorted(groups.items(), key=lambda group: -sum(group[1]))
        if len(rest) > _MOST_GROUPS:
            others = [cost for _, group in rest[_MOST_GROUPS - 1 :] for cost in group]
            rest = [*rest[: _MOST_GROUPS - 1], ("of other kinds", others)]
        for name, group in rest:
            if abs(sum(group)) >= _ROUNDED or not times:
                number = f"{len(group)} {'other' if shown else 'region'}"
                times.append(number if len(group) == 1 else f"{number}s")
                causes.append(name)
                costs.append(sum(group))
        widths = max(map(len, times)), max(map(len, causes))
        rows = zip(times, causes, costs, strict=True)
        return [f"  {time:{widths[0]}}  {cause:{widths[1]}}  costs {cost:.2f}" for time, cause, cost in rows]


def describe_causes(region: "CauseRegion", report: "QualityReport", below: float | None) -> str:
    """The causes of a region in words."""
    if region.causes:
        return ", ".join(region.causes)
    if report.causes is not None:
        return "no cause found"
    if below is None:
        return "whole recording"
    is_worse = region.score < below if report.higher_is_better else region.score > below
    return "degraded" if is_worse else "not degraded"
