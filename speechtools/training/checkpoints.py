"""Checkpoints that appear whole or not at all, and the state that an exact resume needs besides the weights."""

import contextlib
import errno
import logging
import os
import random
import shutil
import tempfile
from pathlib import Path
from pickle import PickleError

import numpy as np
import torch
import yaml
from speechbrain.utils.checkpoints import (
    CKPT_PREFIX,
    METAFNAME,
    Checkpointer,
    ckpt_recency,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from speechtools.core.checksums import find_damaged, read_checksums, write_checksums
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.files import disk_errors

logger = logging.getLogger(__name__)


class AtomicCheckpointer(Checkpointer):
    """SpeechBrain's checkpointer with atomic checkpoints, whose files have checksums.

    The original first writes the file that marks a folder as a checkpoint, so a run that is killed while saving leaves
    a checkpoint that cannot be loaded. This one writes to a temporary folder and renames it. A checkpoint with a
    damaged file is left out with a warning, so that a run continues from the one before. Checkpoints of earlier
    versions, which have no checksums, still load.

    Examples
    --------
    >>> import tempfile
    >>> checkpointer = AtomicCheckpointer(tempfile.mkdtemp(), {"net": torch.nn.Linear(1, 1)})
    >>> checkpointer.save_checkpoint().path.name.startswith("CKPT")
    True
    """

    PREFIX = ".saving-"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.damaged: dict[Path, str] = {}  # checkpoints that cannot be loaded, and why
        self._intact: dict[Path, list] = {}  # those whose checksums are right, and the states of their files

    def save_checkpoint(self, *args, **kwargs):
        """Save as SpeechBrain does; return the checkpoint, or None on processes other than the first.

        Raises
        ------
        CorpusError
            The checkpoint cannot be written, for example because the disk is full.
        """
        verbosity = kwargs.pop("verbosity", logging.INFO)
        with self._removed_on_failure():
            checkpoint = super().save_checkpoint(*args, verbosity=logging.DEBUG, **kwargs)
            ddp_barrier()
            if checkpoint is not None:
                write_checksums(checkpoint.path, sorted(checkpoint.path.iterdir()))
                final = checkpoint.path.with_name(checkpoint.path.name.removeprefix(self.PREFIX))
                if final != checkpoint.path:
                    checkpoint.path.rename(final)
                self._intact[final] = _file_states(final)
        # The others list checkpoints after this barrier only: with different lists they would wait for each other.
        ddp_barrier()
        if checkpoint is None:
            return None
        logger.log(verbosity, "Saved a checkpoint in %s", final)
        files = {name: final / file.name for name, file in checkpoint.paramfiles.items()}
        return checkpoint._replace(path=final, paramfiles=files)

    def list_checkpoints(self):
        """List the checkpoints that are not damaged; warn about each of the others once."""
        checkpoints = []
        for path in sorted(self.checkpoints_dir.glob(f"{CKPT_PREFIX}*")):
            if path.is_dir() and path not in self.damaged:
                try:
                    self._check(path)
                    (checkpoint,) = self._construct_checkpoint_objects([path])
                    if not {"unixtime", "end-of-epoch"} <= checkpoint.meta.keys():
                        raise CorpusError(f"{METAFNAME} was cut short")
                    checkpoints.append(checkpoint)
                except (CorpusError, OSError, ValueError, AttributeError, yaml.YAMLError) as error:
                    self._leave_out(path, error)
        return checkpoints

    def recover_if_possible(self, importance_key=None, max_key=None, min_key=None, ckpt_predicate=None):
        """Load the checkpoint that SpeechBrain would choose, or the next one if a file of it is damaged.

        Raises
        ------
        ConfigError
            A checkpoint belongs to a model of another size, or all checkpoints are damaged.
        """
        for checkpoint in self.find_checkpoints(importance_key, max_key, min_key, ckpt_predicate):
            try:
                self.load_checkpoint(checkpoint)
                return checkpoint
            except _DamagedError as error:
                self._leave_out(checkpoint.path, error)
        if self.damaged:
            path, reason = next(iter(self.damaged.items()))
            raise ConfigError(
                f"Cannot load the checkpoint {path}: {reason}. No other is left. Delete that folder to train from the "
                "beginning."
            )
        return None

    def load_checkpoint(self, checkpoint):
        """Load as SpeechBrain does; raise ConfigError for a checkpoint that cannot be loaded."""
        try:
            super().load_checkpoint(checkpoint)
        except (RuntimeError, OSError, EOFError, ValueError, LookupError, AttributeError, PickleError) as error:
            reason = str(error).splitlines()[0] if str(error) else "truncated"
            if not read_checksums(checkpoint.path) and "loading state_dict" not in reason:
                raise _DamagedError(f"{type(error).__name__}: {reason}") from error
            raise ConfigError(
                f"Cannot load the checkpoint {checkpoint.path} ({type(error).__name__}: {reason}). It belongs to a "
                "model of another size, or to another version. Choose another folder (--output_folder=…), or delete "
                "that one."
            ) from error

    def delete_checkpoints(
        self,
        *,
        num_to_keep=1,
        min_keys=None,
        max_keys=None,
        importance_keys=(ckpt_recency,),
        ckpt_predicate=None,
        verbosity=logging.INFO,
    ):
        """Delete as SpeechBrain does, but so that a kill leaves no half of a checkpoint."""
        # SpeechBrain appends the same key at every save.
        keys = [{"importance_key": key} for key in dict.fromkeys(importance_keys)]
        keys += [{"min_key": key} for key in min_keys or ()] + [{"max_key": key} for key in max_keys or ()]
        ranked = [self.find_checkpoints(**key, ckpt_predicate=ckpt_predicate) for key in keys]
        kept = {checkpoint.path for checkpoints in ranked for checkpoint in checkpoints[:num_to_keep]}
        old = {checkpoint.path for checkpoints in ranked for checkpoint in checkpoints} - kept
        ddp_barrier()
        if if_main_process():
            for path in old:
                leftover = path.rename(path.with_name(self.PREFIX + path.name))
                shutil.rmtree(leftover)
                logger.log(verbosity, "Deleted the checkpoint in %s", path)
        ddp_barrier()

    def _check(self, path: Path) -> None:
        """Raise an error for a checkpoint with a damaged file. Its files are read again only if they have changed."""
        if not (path / METAFNAME).is_file():
            raise CorpusError(f"{METAFNAME} is missing")
        states = _file_states(path)
        if self._intact.get(path) != states:
            if damaged := find_damaged(path, full=True):
                raise CorpusError(", ".join(f"{name} {reason}" for name, reason in damaged.items()))
            self._intact[path] = states

    def _leave_out(self, path: Path, error: Exception) -> None:
        self.damaged[path] = " ".join(str(error).split()).rstrip(".")
        logger.warning(
            "The checkpoint %s is damaged and left out: %s. Delete it, or restore it from a copy.",
            path,
            self.damaged[path],
        )

    @contextlib.contextmanager
    def _removed_on_failure(self):
        """Remove what the block has saved if it fails, and report a full disk in one message."""
        try:
            yield
        except BaseException as error:
            folders = self.checkpoints_dir.glob(f"{CKPT_PREFIX}*")
            size = max((sum(file.stat().st_size for file in folder.iterdir()) for folder in folders), default=0) / 1e6
            self._remove_leftovers()
            if isinstance(error, OSError) or _is_failed_write(error):
                reason = error if isinstance(error, OSError) else OSError(*_why_not_writable(self.checkpoints_dir))
                remedy = "Free some space and start again: the training continues from the checkpoint before."
                with disk_errors(f"a checkpoint in {self.checkpoints_dir}", remedy, size):
                    raise reason from error
            raise

    def _remove_leftovers(self) -> None:
        if if_main_process():
            for leftover in self.checkpoints_dir.glob(f"{self.PREFIX}*"):
                shutil.rmtree(leftover, ignore_errors=True)

    def _new_checkpoint_dirpath(self):
        self._remove_leftovers()
        path = super()._new_checkpoint_dirpath()
        return path.with_name(self.PREFIX + path.name)


class _DamagedError(Exception):
    """A file of a checkpoint cannot be read."""


def _file_states(folder: Path) -> list[tuple[str, int, int]]:
    statuses = {path.name: path.stat() for path in sorted(folder.iterdir())}
    return [(name, status.st_size, status.st_mtime_ns) for name, status in statuses.items()]


def _is_failed_write(error: BaseException) -> bool:
    """Whether an error is torch's about a file that it cannot write; it does not say why."""
    signs = ("PytorchStreamWriter", "inline_container", "iostream error")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def _why_not_writable(folder: Path) -> tuple[int, str]:
    """The error of writing a megabyte to a folder; that of a full disk if it succeeds now."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(2**20))
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno or errno.EIO, str(error)
    return errno.ENOSPC, os.strerror(errno.ENOSPC)


@register_checkpoint_hooks
class RandomState:
    """Recoverable with the states of the random generators of Python, numpy and torch.

    SpeechBrain saves only on the first process, so only that one of several processes is restored. The others draw
    other dropout masks after a resume.
    """

    @mark_as_saver
    def save(self, path):
        """Write the states of this process."""
        state = {
            "python": random.getstate(),
            "numpy": np.random.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        torch.save(state, path)

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Restore the states on the first process."""
        if not if_main_process():
            return
        state = torch.load(path, weights_only=False)  # our own file, with tuples and numpy arrays besides tensors
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        torch.set_rng_state(state["torch"])
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])


@register_checkpoint_hooks
class Stopwatch:
    """Recoverable with the seconds spent in finished training epochs, without validations."""

    def __init__(self):
        self.seconds = 0.0

    @mark_as_saver
    def save(self, path):
        """Write the seconds as text."""
        Path(path).write_text(repr(self.seconds))

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Restore the seconds."""
        self.seconds = float(Path(path).read_text())
