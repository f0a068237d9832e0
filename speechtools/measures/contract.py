"""The contract of the kind ``measure``."""

import inspect
import math
import pickle

import numpy as np

from speechtools.core.contract import Broken, Contract, Slot, Subject, law, register_kind
from speechtools.core.errors import AudioError
from speechtools.core.laws import bursts
from speechtools.core.registry import find

_SNRS_DB = (30, 10, -5)


def _is_computed(subject: Subject) -> bool:
    return not getattr(subject.build(), "from_listeners", False)


def _rate(measure) -> int:
    return 16000 if measure.sample_rates is None or 16000 in measure.sample_rates else max(measure.sample_rates)


def _signals(measure) -> tuple[np.ndarray, np.ndarray]:
    """Bursts and noise of the same power, both (samples,)."""
    reference = bursts(3.0, _rate(measure))
    noise = np.random.default_rng(1).standard_normal(len(reference)) * reference.std()
    return reference, noise.astype(np.float32)


def _scores(measure) -> list[float]:
    """The scores of the reference itself, and with more and more noise."""
    reference, noise = _signals(measure)
    degraded = [reference, *(reference + np.float32(10 ** (-snr_db / 20)) * noise for snr_db in _SNRS_DB)]
    return [measure(reference, signal, _rate(measure)) for signal in degraded]


@law(
    "build(name) has no arguments and returns a callable, unless only listeners give the scores",
    "A measure is a class with __call__ (or returns a callable), and its parameters have defaults.",
)
def _is_built_alone(subject: Subject) -> None:
    parameters = inspect.signature(find(subject.name)).parameters.values()
    if names := [
        p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]:
        raise Broken(f"the plugin needs {', '.join(names)}")
    measure = subject.build()
    if not callable(measure) and not getattr(measure, "from_listeners", False):
        raise Broken(f"build returned a {type(measure).__name__}")


@law(
    "name, a finite range, direction and sample rates are attributes",
    "Set name, minimum, maximum, higher_is_better and sample_rates on the class.",
)
def _describes_itself(subject: Subject) -> None:
    measure = subject.build()
    for attribute in ("name", "minimum", "maximum", "higher_is_better", "sample_rates"):
        if not hasattr(measure, attribute):
            raise Broken(f"no attribute {attribute}")
    if f"measure/{measure.name}" != subject.name:
        raise Broken(f"name={measure.name!r}")
    if not (math.isfinite(measure.minimum) and math.isfinite(measure.maximum) and measure.minimum < measure.maximum):
        raise Broken(f"minimum={measure.minimum!r}, maximum={measure.maximum!r}")
    if not isinstance(measure.higher_is_better, bool):
        raise Broken(f"higher_is_better={measure.higher_is_better!r}")
    if measure.sample_rates is not None and not measure.sample_rates:
        raise Broken(f"sample_rates={measure.sample_rates!r}")


def _limit_text(measure, scores: list[float]) -> str:
    """What to do if several of these scores are on a limit of the measure."""
    for name in ("maximum", "minimum"):
        if scores.count(getattr(measure, name)) > 1:
            change = "raise" if name == "maximum" else "lower"
            return f"; several are clipped to {name}={getattr(measure, name):g}: {change} it"
    return ""


@law(
    "scores are floats within the range",
    "Return float(…), and clip, or correct minimum and maximum.",
    applies=_is_computed,
)
def _scores_in_range(subject: Subject) -> None:
    measure = subject.build()
    margin = 0.05 * (measure.maximum - measure.minimum)
    for score in _scores(measure):
        if not isinstance(score, float):
            raise Broken(f"a score of type {type(score).__name__}")
        if not measure.minimum - margin <= score <= measure.maximum + margin:
            raise Broken(f"{score:g} outside of {measure.minimum:g} to {measure.maximum:g}")


@law(
    "a signal scores best against itself",
    "Correct maximum (minimum where lower is better) or the formula, or set higher_is_better = False for a distance.",
    applies=_is_computed,
)
def _itself_is_best(subject: Subject) -> None:
    measure = subject.build()
    best = measure.maximum if measure.higher_is_better else measure.minimum
    score = _scores(measure)[0]
    if not abs(score - best) <= 0.01 * (measure.maximum - measure.minimum):
        raise Broken(f"{score:g} instead of {best:g}")


@law(
    "more noise scores worse",
    "Set higher_is_better = False for a distance, or correct the formula.",
    applies=_is_computed,
)
def _noise_is_worse(subject: Subject) -> None:
    measure = subject.build()
    scores = _scores(measure)
    if scores != sorted(set(scores), reverse=measure.higher_is_better):
        text = ", ".join(f"{score:g}" for score in scores)
        where = f"without noise and at {', '.join(map(str, _SNRS_DB))} dB"
        raise Broken(f"scores {text} {where}{_limit_text(measure, scores)}")


@law(
    "a call changes nothing, and a pickled copy gives the same score",
    "Copy inputs before changing them, seed random draws, and keep only what can be pickled.",
    applies=_is_computed,
)
def _pure(subject: Subject) -> None:
    measure = subject.build()
    reference, noise = _signals(measure)
    before = reference.copy(), noise.copy()
    first = measure(reference, noise, _rate(measure))
    if not (np.array_equal(reference, before[0]) and np.array_equal(noise, before[1])):
        raise Broken("a call changed its input")
    second = pickle.loads(pickle.dumps(measure))(reference, noise, _rate(measure))
    if first != second:
        raise Broken(f"{first!r}, and {second!r} from a pickled copy")


@law(
    "signals of different lengths, NaN and silence raise AudioError",
    "Call speechtools.measures.check_pair first.",
    applies=_is_computed,
)
def _refuses(subject: Subject) -> None:
    measure = subject.build()
    reference, noise = _signals(measure)
    for what, degraded in (
        ("another length", noise[:-1]),
        ("NaN", np.full_like(noise, np.nan)),
        ("digital silence", np.zeros_like(noise)),
    ):
        try:
            score = measure(reference, degraded, _rate(measure))
        except AudioError:
            continue
        raise Broken(f"{score!r} for a degraded signal of {what}")


register_kind(
    "measure",
    Contract(
        "build(name)(reference, degraded, sample_rate): two (samples,) float arrays of one length, aligned in time -> "
        "float; with name, minimum, maximum, higher_is_better and sample_rates (None: any); from_listeners = True if "
        "only listeners give scores",
        modules=(
            "speechtools.measures.pesq",
            "speechtools.measures.stoi",
            "speechtools.measures.si_sdr",
            "speechtools.measures.mos",
        ),
        slot=Slot("TIMIT/quality", "qnet.yaml", "scale"),
        laws=(_is_built_alone, _describes_itself, _scores_in_range, _itself_is_best, _noise_is_worse, _pure, _refuses),
    ),
)
