"""Degrade files: :func:`degrade_files`.

What a recording gets depends on the seed and on its name alone, not on the other recordings, on their order or on the
number of processes.
"""

import functools
import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from speechtools import audio
from speechtools.audio.settings import as_comment
from speechtools.audio.sources import AudioSource, Channel
from speechtools.core.errors import AudioError, ConfigError, CorpusError, PluginError, SpeechtoolsError
from speechtools.core.files import fingerprint
from speechtools.core.jobs import map_in_processes
from speechtools.degradations.causes import format_causes
from speechtools.degradations.chain import Chain
from speechtools.degradations.noise import PEAK_LIMIT, read_noise_types

#: The rate in Hz of recordings at whose own rate a chain cannot run.
DEFAULT_RATE = 16000
#: Shorter recordings are refused.
MIN_SECONDS = 0.1
#: Seeds of recordings have so many bits, which programs that know no integers keep, too.
_SEED_BITS = 48
#: Recordings that a process takes at a time.
_CHUNK = 4


@dataclass(frozen=True)
class Task:
    """A recording to degrade.

    Attributes
    ----------
    path, output : Path
        The recording, and the file to write (.wav or .flac).
    chain : str
        Its chain, as in :func:`~speechtools.degradations.chain.parse_chain`.
    seed : int
        Of the random generator that the chain draws from.
    """

    path: Path
    output: Path
    chain: str
    seed: int


@dataclass(frozen=True)
class Degraded:
    """What became of a recording.

    Attributes
    ----------
    path, output, chain, seed
        As in :class:`Task`: ``Chain(chain, sample_rate)(samples, np.random.default_rng(seed))`` are the samples of the
        output, except for ``gain_db``.
    sample_rate : int or None
        Of the output, in Hz.
    has_other_rate : bool
        Whether the chain could not run at the recording's own rate.
    seconds : float or None
        Its length.
    causes : str or None
        What is to be heard in it, and when, as in :func:`~speechtools.degradations.causes.format_causes`.
    gain_db : float
        Gain in dB by which the result was scaled, at most 0, so that it does not clip.
    error : SpeechtoolsError or None
        Why the recording was not degraded: an AudioError if the recording is the reason, another if the chain is.
    """

    path: Path
    output: Path
    chain: str
    seed: int
    sample_rate: int | None = None
    has_other_rate: bool = False
    seconds: float | None = None
    causes: str | None = None
    gain_db: float = 0.0
    error: SpeechtoolsError | None = None


def degrade_files(
    files: Iterable[tuple[str | Path, str | Path]],
    chains: str | Sequence[str],
    seed: int = 0,
    *,
    folder: str | Path | None = None,
    sample_rate: int | None = None,
    channel: Channel = "mix",
    noise_folder: str | Path = "",
    num_workers: int | None = 1,
    progress: bool = False,
) -> Iterator[Degraded]:
    """Degrade recordings, and write them as mono 16-bit files of the same length.

    The comment of each file has its :func:`settings`.

    Parameters
    ----------
    files : iterable of (path, path)
        Recordings, and the files to write (.wav or .flac). Existing ones are replaced.
    chains : str or sequence of str
        Chains such as ``"reverb(rt60=0.5)+opus(kbps=12)"``. Each recording gets one of them, drawn by the seed.
    seed : int
        Together with a recording's path in ``folder``, it determines all that is drawn for it.
    folder : path, optional
        Folder of the recordings. Default: their names are used without folders.
    sample_rate : int, optional
        Rate in Hz at which the recordings are degraded and written. Default: each one's own, or 16 kHz for those at
        whose rate the chain cannot run.
    channel : int or "mix"
        A channel, counted from 0, or the mean of all.
    noise_folder : path
        Recordings for steps such as ``noise``, as :func:`~speechtools.degradations.noise.read_noise_types` reads them.
        Default: generated noises.
    num_workers : int, optional
        Processes; None for one per core.
    progress : bool
        Show a progress bar.

    Yields
    ------
    Degraded
        In the order of ``files``; a recording that could not be degraded has an ``error``.

    Raises
    ------
    ConfigError, PluginError
        A chain, or a name or parameter in it, is wrong.
    CorpusError
        The noise folder has no recordings, or a file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from speechtools import SAMPLE
    >>> output = Path(tempfile.mkdtemp(), "degraded.wav")
    >>> [result] = degrade_files([(SAMPLE, output)], "noise(snr_db=5)+gsm")
    >>> result.sample_rate, result.seconds, result.causes
    (16000, 2.965, 'noise; band-limit; processing')
    """
    chains = [chains] if isinstance(chains, str) else list(chains)
    return run_tasks(
        plan_tasks(files, chains, seed, folder),
        sample_rate=sample_rate,
        channel=channel,
        noise_folder=noise_folder,
        num_workers=num_workers,
        progress=progress,
    )


def plan_tasks(
    files: Iterable[tuple[str | Path, str | Path]], chains: Sequence[str], seed: int, folder: str | Path | None = None
) -> list[Task]:
    """Draw the chain of each recording, and the seed of its draws, which is the same for all chains.

    Parameters
    ----------
    files, chains, seed, folder
        As in :func:`degrade_files`.

    Raises
    ------
    ConfigError
        There is no chain.
    """
    if not chains:
        raise ConfigError("There is no chain. Pass at least one, as in 'reverb(rt60=0.5)+opus(kbps=12)'.")
    tasks = []
    for path, output in files:
        path = Path(path)
        is_inside = folder is not None and path.is_relative_to(folder)
        name = os.fsencode((path.relative_to(folder) if is_inside else Path(path.name)).as_posix())  # type: ignore[arg-type]
        own_seed = _digest(f"{seed}/".encode() + name)
        chain = chains[_digest(f"{seed}/chain/".encode() + name) % len(chains)]
        tasks.append(Task(path, Path(output), chain, own_seed))
    return tasks


def settings(task: Task, sample_rate: int | None, channel: Channel, noises: str) -> dict[str, str | int | None]:
    """What the samples of an output depend on, beside the recording, by option.

    Parameters
    ----------
    task : Task
    sample_rate : int or None
        As in :func:`degrade_files`, not the rate of the output.
    channel : int or "mix"
    noises : str
        :func:`noise_identity` of the noise folder.
    """
    noise: dict[str, str | int | None] = {"channel": channel, "noise": noises}
    return {"chain": task.chain, "seed": task.seed, "sample_rate": sample_rate, **noise}


def noise_identity(noise_folder: str | Path) -> str:
    """A name that changes with the names and sizes of the recordings in a noise folder; empty without a folder.

    Raises
    ------
    CorpusError
        The folder has no recordings.
    """
    paths = _noises(str(noise_folder))
    return fingerprint({os.path.relpath(path, noise_folder): path.stat().st_size for path in paths}) if paths else ""


def run_tasks(
    tasks: Sequence[Task],
    *,
    sample_rate: int | None = None,
    channel: Channel = "mix",
    noise_folder: str | Path = "",
    num_workers: int | None = 1,
    progress: bool = False,
) -> Iterator[Degraded]:
    """Degrade the recordings of tasks: the parameters, results and errors are those of :func:`degrade_files`."""
    noise_folder = str(noise_folder)
    _noises.cache_clear()
    _chain.cache_clear()
    errors: dict[str, SpeechtoolsError] = {}
    in_one_process = False
    for text in dict.fromkeys(task.chain for task in tasks):
        chain = check_chain(text, sample_rate, noise_folder)
        if isinstance(chain, SpeechtoolsError):
            errors[text] = chain
        else:
            in_one_process |= chain.in_one_process
    work = functools.partial(
        _degrade,
        sample_rate=sample_rate,
        channel=channel,
        noise_folder=noise_folder,
        noises=noise_identity(noise_folder),
    )
    return _run(work, tasks, errors, 1 if in_one_process else num_workers, progress)


def _run(
    work: Callable[[Task], Degraded],
    tasks: Sequence[Task],
    errors: dict[str, SpeechtoolsError],
    num_workers: int | None,
    progress: bool,
) -> Iterator[Degraded]:
    can_run = [task for task in tasks if task.chain not in errors]
    results = map_in_processes(work, can_run, num_workers, "degrading", progress, _CHUNK)
    for task in tasks:
        yield _failed(task, errors[task.chain]) if task.chain in errors else next(results)


def check_chain(text: str, sample_rate: int | None = None, noise_folder: str = "") -> Chain | SpeechtoolsError:
    """Build a chain, or return the reason why it cannot run here, such as a codec that is not installed.

    Raises
    ------
    ConfigError, PluginError, CorpusError
        The chain, a name or a parameter in it, or the noise folder is wrong.
    """
    noises = _noises(noise_folder)
    try:
        return Chain(text, sample_rate or DEFAULT_RATE, noises)
    except SpeechtoolsError as error:
        if isinstance(error, (AudioError, ConfigError, CorpusError, PluginError)):
            raise
        return SpeechtoolsError(f"The chain {text!r} cannot run here. {error}")


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> (64 - _SEED_BITS)


@functools.lru_cache(maxsize=4)
def _noises(folder: str) -> list[Path]:
    return [path for files in read_noise_types(folder).values() for path in files] if folder else []


@functools.lru_cache(maxsize=64)
def _chain(text: str, sample_rate: int, noise_folder: str) -> Chain:
    return Chain(text, sample_rate, _noises(noise_folder))


def _failed(task: Task, error: SpeechtoolsError) -> Degraded:
    return Degraded(task.path, task.output, task.chain, task.seed, error=error)


def _degrade(task: Task, sample_rate: int | None, channel: Channel, noise_folder: str, noises: str) -> Degraded:
    """Degrade a recording. Runs in a worker."""
    try:
        source = AudioSource(task.path, DEFAULT_RATE, channel, takes_pipes=True)
        rates = [sample_rate] if sample_rate else _rates(source)
        degraded, result = _at_first_rate(task, source, rates, noise_folder)
    except SpeechtoolsError as error:
        return _failed(task, error)
    except Exception as error:  # a chain, or the memory
        from speechtools.audio.recordings import as_audio_error  # torch

        return _failed(task, as_audio_error(error, task.path))
    assert result.sample_rate is not None
    try:
        comment = as_comment("degrade", settings(task, sample_rate, channel, noises))
        audio.write(task.output, degraded, result.sample_rate, comment)
    except AudioError as error:
        return _failed(task, error)
    return result


def _rates(source: AudioSource) -> list[int]:
    """The rate of a recording in Hz, unless that is not a whole number, and 16 kHz."""
    streams = source.streams()
    rate = next(streams).rate
    streams.close()  # type: ignore[attr-defined]
    return list(dict.fromkeys([int(rate) if rate == int(rate) else DEFAULT_RATE, DEFAULT_RATE]))


def _at_first_rate(
    task: Task, source: AudioSource, rates: Sequence[int], noise_folder: str
) -> tuple[np.ndarray, Degraded]:
    """Degrade a recording at the first of the rates at which its chain can run: samples (samples,), and the result."""
    for rate in rates:
        try:
            chain = _chain(task.chain, rate, noise_folder)
            clean = audio.read(source, rate, refuse_silence=True)
            degraded, result = _apply(task, chain, clean)
            return degraded, replace(result, has_other_rate=rate != rates[0])
        except (ConfigError, PluginError):
            if rate == rates[-1]:
                raise
    raise AssertionError("no rate")


def _apply(task: Task, chain: Chain, clean: np.ndarray) -> tuple[np.ndarray, Degraded]:
    rate = chain.sample_rate
    seconds = clean.size / rate
    if seconds < MIN_SECONDS:
        reason = f"is too short: {seconds:.3f} s, and {MIN_SECONDS:g} s are needed. Leave it out."
        raise AudioError(f"{task.path} {reason}")
    try:
        degraded, presence = chain.trace(clean, np.random.default_rng(task.seed))
    except AudioError as error:
        raise AudioError(f"{task.path}: {error}") from error
    peak = float(np.abs(degraded).max())
    if not math.isfinite(peak) or degraded.shape != clean.shape:
        reason = f"the chain {task.chain!r} returned samples that are not finite, or not as many as it got"
        raise AudioError(f"{task.path}: {reason}. `speechtools check plugin` tests its plugins.")
    result = Degraded(
        task.path, task.output, task.chain, task.seed, rate, seconds=round(seconds, 3), causes=format_causes(presence)
    )
    if peak > 1:
        gain = PEAK_LIMIT / peak
        degraded, result = degraded * np.float32(gain), replace(result, gain_db=round(20 * math.log10(gain), 2))
    return degraded, result
