"""The option ``--dask``: recordings are scored and embedded by the workers of a Dask cluster."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from speechtools.core.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from speechtools.audio.sources import Channel


def dask_option(command: Callable) -> Callable:
    """Add ``--dask``."""
    return click.option(
        "--dask",
        "scheduler",
        metavar="ADDRESS",
        help="Compute on the Dask cluster of this scheduler, such as tcp://host:8786. Its workers must see the same "
        "files.",
    )(command)


class RemoteModel(NamedTuple):
    """A model that the workers load, each once.

    Attributes
    ----------
    interface : str
        Name of the class in :mod:`speechtools.inference`.
    model : str or None
        As :meth:`from_hparams` takes it.
    device : str or None
    trust : bool
        Load the model of an earlier version.
    model_id : str
        The fingerprint that it must have.
    """

    interface: str
    model: str | None
    device: str | None
    trust: bool
    model_id: str

    @classmethod
    def of(cls, interface: str, model: str | None, device: str | None, model_id: str) -> "RemoteModel":
        """The model that :func:`speechtools.cli.common.load_model` has loaded here."""
        from speechtools.cli.common import is_trusted

        path = os.path.abspath(model) if model is not None and os.path.exists(model) else model
        return cls(interface, path, device, is_trusted(), model_id)

    def load(self) -> Any:
        """Return the model. Runs in a worker.

        Raises
        ------
        ConfigError
            The worker has another model of that name.
        """
        net = _load(self.interface, self.model, self.device, self.trust)
        if net.model_id != self.model_id:
            raise ConfigError(
                f"--dask: the workers have another model {self.model or net.BUNDLED.name} than this machine. Install "
                "the same version of speechtools and the same models there."
            )
        return net


@functools.lru_cache(maxsize=4)
def _load(interface: str, model: str | None, device: str | None, trust: bool) -> Any:
    from speechtools import inference
    from speechtools.core.memory import keep_freed_memory

    keep_freed_memory()
    run_opts = {"device": device} if device else None
    return getattr(inference, interface).from_hparams(model, run_opts=run_opts, trust=trust)


def score_on_cluster(
    scheduler: str,
    blocks: Sequence[Sequence[Path]],
    remote: RemoteModel,
    make_row: Callable[..., Any],
    batch_size: int,
    settings: Mapping[str, Any],
    channel: "Channel",
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield a row and its details for each recording, as :func:`speechtools.cli.score.score_rows` does, in any order.

    Raises
    ------
    ConfigError, CorpusError, InstallationError
        The cluster cannot be used, as in :func:`~speechtools.core.cluster.run_on_cluster`.
    """
    from speechtools.core.cluster import run_on_cluster

    jobs = ((number, (remote, _absolute(block), batch_size, settings, channel)) for number, block in enumerate(blocks))
    for finished in run_on_cluster(scheduler, _score_block, jobs, "score"):
        outcome = finished.outcome
        for index, path in enumerate(blocks[finished.number]):
            if isinstance(outcome, str):
                yield make_row(file=str(path), error=f"{path}: {outcome}", **settings), {}
            else:
                cells, details = outcome[index]
                yield make_row(**cells | {"file": str(path)}), details


def _score_block(
    remote: RemoteModel, paths: list[Path], batch_size: int, settings: Mapping[str, Any], channel: "Channel"
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The cells and details of each recording. Runs in a worker."""
    from speechtools.cli.score import score_rows

    rows = score_rows(remote.load(), paths, batch_size, settings, {}, channel)
    return [(dataclasses.asdict(row), details) for row, details in rows]


def embed_on_cluster(
    scheduler: str,
    blocks: Sequence[Sequence[Path]],
    remote: RemoteModel,
    remote_quality: RemoteModel | None,
    batch_size: int,
    channel: "Channel",
) -> Iterator[tuple[Path, Any]]:
    """Yield each recording with its d-vector (embedding_size,) or error, in any order.

    Raises
    ------
    ConfigError, CorpusError, InstallationError
        The cluster cannot be used, as in :func:`~speechtools.core.cluster.run_on_cluster`.
    """
    from speechtools.core.cluster import run_on_cluster

    jobs = ((n, (remote, remote_quality, _absolute(block), batch_size, channel)) for n, block in enumerate(blocks))
    for finished in run_on_cluster(scheduler, _embed_block, jobs, "embed"):
        outcome = finished.outcome
        for index, path in enumerate(blocks[finished.number]):
            result = AudioError(f"{path}: {outcome}") if isinstance(outcome, str) else outcome[index]
            yield path, AudioError(result) if isinstance(result, str) else result


def _embed_block(
    remote: RemoteModel, quality: RemoteModel | None, paths: list[Path], batch_size: int, channel: "Channel"
) -> list[Any]:
    """The d-vector (embedding_size,) of each recording, or the reason why it has none. Runs in a worker."""
    encoder = remote.load()
    encoder.weigh_by_quality(None if quality is None else quality.load())  # a worker keeps its encoder
    results = encoder.encode_files(paths, batch_size, channel=channel)
    return [str(result) if isinstance(result, AudioError) else result.numpy() for _, result in results]


def _absolute(block: Sequence[Path]) -> list[Path]:
    """The paths for workers, which run in other folders."""
    return [Path(os.path.abspath(path)) for path in block]
