"""Checkpoints that appear whole or not at all, and the state that an exact resume needs besides the weights."""

import logging
import random
import shutil
from pathlib import Path

import numpy as np
import torch
from speechbrain.utils.checkpoints import Checkpointer, mark_as_loader, mark_as_saver, register_checkpoint_hooks
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from speechtools.core.errors import ConfigError

logger = logging.getLogger(__name__)


class AtomicCheckpointer(Checkpointer):
    """SpeechBrain's checkpointer with atomic checkpoints.

    The original first writes the file that marks a folder as a checkpoint, so a run that is killed while saving leaves
    a checkpoint that cannot be loaded. This one writes to a temporary folder and renames it.

    Examples
    --------
    >>> import tempfile
    >>> checkpointer = AtomicCheckpointer(tempfile.mkdtemp(), {"net": torch.nn.Linear(1, 1)})
    >>> checkpointer.save_checkpoint().path.name.startswith("CKPT")
    True
    """

    PREFIX = ".saving-"

    def save_checkpoint(self, *args, **kwargs):
        """Save as SpeechBrain does; return the checkpoint, or None on processes other than the first."""
        verbosity = kwargs.pop("verbosity", logging.INFO)
        checkpoint = super().save_checkpoint(*args, verbosity=logging.DEBUG, **kwargs)
        ddp_barrier()
        if checkpoint is not None:
            final = checkpoint.path.with_name(checkpoint.path.name.removeprefix(self.PREFIX))
            if final != checkpoint.path:
                checkpoint.path.rename(final)
        # The others list checkpoints after this barrier only: with different lists they would wait for each other.
        ddp_barrier()
        if checkpoint is None:
            return None
        logger.log(verbosity, "Saved a checkpoint in %s", final)
        files = {name: final / file.name for name, file in checkpoint.paramfiles.items()}
        return checkpoint._replace(path=final, paramfiles=files)

    def load_checkpoint(self, checkpoint):
        """Load as SpeechBrain does; raise ConfigError for a checkpoint that cannot be loaded."""
        try:
            super().load_checkpoint(checkpoint)
        except (RuntimeError, OSError, EOFError, ValueError, KeyError, AttributeError) as error:
            reason = str(error).splitlines()[0] if str(error) else "truncated"
            raise ConfigError(
                f"Cannot load the checkpoint {checkpoint.path} ({type(error).__name__}: {reason}). It is damaged or "
                "belongs to a model of another size. Delete that folder to continue from the previous checkpoint."
            ) from error

    def _new_checkpoint_dirpath(self):
        for leftover in self.checkpoints_dir.glob(f"{self.PREFIX}*"):
            shutil.rmtree(leftover)
        path = super()._new_checkpoint_dirpath()
        return path.with_name(self.PREFIX + path.name)


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
