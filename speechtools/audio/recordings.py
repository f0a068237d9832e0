"""What all pretrained interfaces do with recordings: find, check and pad them, and process many of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from speechtools.audio.io import duration, find_audio, read
from speechtools.core.errors import AudioError, ConfigError

Result = TypeVar("Result")


def find_recordings(paths: Iterable[str | Path]) -> list[Path]:
    """List files, and the audio files in folders, each once. A missing file is listed; reading it reports it.

    Raises
    ------
    ConfigError
        A folder contains no audio file.
    """
    recordings: dict[Path, None] = {}
    for path in map(Path, paths):
        inside = find_audio(path) if path.is_dir() else [path]
        if not inside:
            raise ConfigError(f"The folder {path} contains no audio file. Pass files, or a folder of recordings.")
        recordings.update(dict.fromkeys(inside))
    return list(recordings)


def check_waveforms(wavs: Tensor | np.ndarray) -> Tensor:
    """Return waveforms (batch, samples) or (samples,) as float32 (batch, samples). Gradients flow through.

    Raises
    ------
    AudioError
        The waveforms have another shape or type, are empty, or contain NaN or infinite samples.

    Examples
    --------
    >>> check_waveforms(torch.zeros(100)).shape
    torch.Size([1, 100])
    """
    wavs = torch.as_tensor(wavs)
    if wavs.dim() not in (1, 2) or 0 in wavs.shape or not wavs.is_floating_point():
        expected = "floating-point mono waveforms (batch, samples) or (samples,) with at least one sample"
        raise AudioError(f"Expected {expected}, got shape {tuple(wavs.shape)} of {wavs.dtype}.")
    if not torch.isfinite(wavs).all():
        raise AudioError("The waveforms contain NaN or infinite samples.")
    return torch.atleast_2d(wavs).float()


def check_lens(lens: Tensor | Sequence[float] | None, wavs: Tensor) -> Tensor:
    """Return relative lengths (batch,) of waveforms (batch, samples) on their device; None means that all are full.

    Raises
    ------
    AudioError
        There is not one length per waveform, or a length is not in (0, 1].

    Examples
    --------
    >>> check_lens(None, torch.zeros(2, 100))
    tensor([1., 1.])
    """
    lens = torch.ones(len(wavs)) if lens is None else torch.as_tensor(lens)
    if lens.shape != (len(wavs),) or not ((lens > 0) & (lens <= 1)).all():
        raise AudioError(f"Expected {len(wavs)} relative lengths in (0, 1], got {lens.tolist()}.")
    return lens.to(wavs.device)


def pad(waveforms: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Pad waveforms on the right: (batch, samples), and their relative lengths (batch,).

    Examples
    --------
    >>> wavs, lens = pad([np.ones(4), np.ones(2)])
    >>> wavs.shape, lens.tolist()
    (torch.Size([2, 4]), [1.0, 0.5])
    """
    tensors = [torch.from_numpy(np.asarray(samples, dtype=np.float32)) for samples in waveforms]
    wavs = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)
    # float64, since a relative length in float32 can miss a sample of a long recording
    return wavs, torch.tensor([len(samples) for samples in waveforms], dtype=torch.float64) / wavs.shape[1]


def map_recordings(
    paths: Iterable[str | Path],
    sample_rate: int,
    process: Callable[[list[Any]], Sequence[Result]],
    process_long: Callable[[Path], Result],
    max_seconds: float,
    batch_size: int = 32,
    prepare: Callable[[np.ndarray, Path], Sized] | None = None,
) -> Iterator[tuple[Path, Result | AudioError]]:
    """Process many recordings in batches of similar length, while the next ones are read, in bounded memory.

    Parameters
    ----------
    process : callable
        Process a batch of recordings of at most ``max_seconds``, and return a list of results. A recording is an array
        (samples,), or what ``prepare`` returns.
    process_long : callable
        Process a longer recording.
    prepare : callable, optional
        Prepare a recording in the thread that reads it. The length of what it returns sorts the batches.

    Yields
    ------
    path : Path
        In the order of ``paths``.
    result : Result or AudioError
        The result, or the reason why this recording has none.

    Raises
    ------
    ConfigError
        ``batch_size`` is less than 1.
    """
    if batch_size < 1:
        raise ConfigError(f"Invalid batch_size={batch_size}: it must be at least 1.")

    def load(path: Path) -> Sized | None:
        if duration(path) > max_seconds:
            return None
        samples = read(path, sample_rate, refuse_silence=True)
        return samples if prepare is None else prepare(samples, path)

    def read_ahead() -> list[tuple[Path, Future]]:
        return [(path, pool.submit(load, path)) for path in islice(remaining, 2 * batch_size)]

    remaining = map(Path, paths)
    pool = ThreadPoolExecutor(2)
    try:
        ahead = read_ahead()
        while ahead:  # two groups are in memory at a time
            group, ahead = ahead, read_ahead()
            yield from _process_group(group, process, process_long, batch_size)
    finally:
        pool.shutdown(cancel_futures=True)


def _process_group(
    group: list[tuple[Path, Future]],
    process: Callable[[list[Any]], Sequence[Result]],
    process_long: Callable[[Path], Result],
    batch_size: int,
) -> Iterator[tuple[Path, Result | AudioError]]:
    results: dict[int, Result | AudioError] = {}
    numbered_items: list[tuple[int, Sized]] = []
    for number, (path, future) in enumerate(group):
        try:
            if (item := future.result()) is None:
                results[number] = process_long(path)
            else:
                numbered_items.append((number, item))
        except AudioError as error:
            results[number] = error
    numbered_items.sort(key=lambda pair: len(pair[1]))
    for first in range(0, len(numbered_items), batch_size):
        numbers, items = zip(*numbered_items[first : first + batch_size], strict=True)
        results.update(zip(numbers, process(list(items)), strict=True))
    for number, (path, _) in enumerate(group):
        yield path, results[number]
