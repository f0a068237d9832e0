"""What every recipe repeats, and nothing of its science: start-up, bookkeeping, exact resume, export.

A recipe's train.py reads::

    hparams, run_opts = training.start()
    ...
    brain = MyBrain(hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"])
    brain.fit(hparams["epoch_counter"], train_loader, valid_loader)
    brain.evaluate_best(test_loader)
    if training.end_distributed():
        training.export(hparams, ["features", "quality"], {"quality": brain.modules.quality})
"""

import atexit
import functools
import io
import json
import logging
import os
import platform
import random
import shutil
import sys
import time
from datetime import datetime
from pathlib import Path

import filelock
import numpy as np
import ruamel.yaml
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml, resolve_references
from hyperpyyaml.core import recursive_update
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.checkpoints import Checkpointer, mark_as_loader, mark_as_saver, register_checkpoint_hooks
from speechbrain.utils.distributed import ddp_barrier, ddp_broadcast, if_main_process
from torch.utils.data import DataLoader

from speechtools.core import registry
from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.files import write_aside
from speechtools.core.jobs import cores_left, end_with_starter
from speechtools.training import options
from speechtools.training.allocation import keep_freed_memory
from speechtools.training.loaders import LengthBatchSampler
from speechtools.training.distributed import end_distributed
from speechtools.training.threads import use_free_cores

logger = logging.getLogger(__name__)

#: Options that a run may be continued with in spite of another value: they change how, not what, is computed; and
#: the published trials of a test, which a finished run is to score without being trained again.
FREE_TO_CHANGE = {
    "number_of_epochs",
    "num_workers",
    "ckpt_interval_steps",
    "ckpt_interval_minutes",
    "noprogressbar",
    "trials",
}


# ---------------------------------------------------------------------------------------------------------- start-up


def start(argv: list[str] | None = None) -> tuple[dict, sb.core.RunOptions]:
    """Read the recipe's yaml and the command line, and prepare the run's folder.

    A yaml that begins with ``base: other.yaml`` is a variant: it holds only what differs from the other one, which
    lies beside it. A list or a mapping that several variants share may stand in a file of its own, as in
    ``valid_noises: !include:../../../../hparams/real_speech/valid_noises.yaml``. Options on the command line come last.

    Returns
    -------
    hparams : dict
        The yaml, loaded: parts are built.
    run_opts : RunOptions
        SpeechBrain's own options (``--device``, ``--precision``, …), to be handed to the Brain.

    Raises
    ------
    ConfigError
        The yaml is missing, an option is not one of its keys, or the output folder holds a run with other options or
        one that is being trained. Uncaught, it ends the program with its message alone.
    """
    end_with_starter()
    sys.excepthook = _message_only(sys.excepthook)
    keep_freed_memory()
    for name in ("quirks", "train_logger"):
        logging.getLogger(f"speechbrain.utils.{name}").addFilter(_concerns_us)
    hparams_file, run_opts, given, typed = options.read_command_line(sys.argv[1:] if argv is None else argv)
    sb.utils.distributed.ddp_init_group(run_opts)
    atexit.register(end_distributed, wait=False)  # where a failure keeps the recipe from doing so
    text, overrides = read_variant(hparams_file, given)
    overrides = options.check(text, overrides, hparams_file, typed, run_opts)
    _import_plugins(text, overrides)
    try:
        resolved = resolve_references(text, overrides).getvalue()
        theirs = sorted(options.COMPUTING & run_opts.overridden_args - overrides.keys())
        resolved += "".join(f"{key}: {json.dumps(run_opts[key])}\n" for key in theirs)
        plain = _plain(resolved)
    except RecursionError as error:
        raise ConfigError(f"{hparams_file} cannot be put together: a !ref refers to itself. Mend it there.") from error
    except (ValueError, TypeError, OSError) as error:  # a placeholder left, a !ref or an !include: to nothing
        said = "".join(str(each) for each in error.args) if isinstance(error, ValueError) else error
        raise ConfigError(f"{hparams_file} cannot be put together: {said}. Mend it there.") from error
    if not isinstance(plain.get("output_folder"), str):
        raise ConfigError(f"{hparams_file} names no folder for the run. Add output_folder: results/<name>.")
    folder = Path(plain["output_folder"])
    _on_main(functools.partial(_take, folder, plain))
    sb.create_experiment_directory(folder, save_env_desc=True)
    sys.excepthook = _message_only(sys.excepthook)
    if rank_and_size()["world_size"] == 1 and not str(run_opts["device"]).startswith("cuda"):
        use_free_cores(folder)
    if if_main_process():
        # SpeechBrain copies the file that called it, which is this one; what made the run is the recipe's script.
        (folder / Path(__file__).name).unlink(missing_ok=True)
        script = getattr(sys.modules["__main__"], "__file__", None)
        if script:
            shutil.copy(script, folder)
        with write_aside(folder / "hyperparams.yaml") as aside:
            aside.write_text(f"# All options of this run, resolved from {hparams_file}\n{resolved}", encoding="utf-8")
    ddp_barrier()
    return _built(resolved, f"{hparams_file} with its options"), run_opts


def read_variant(path: Path, overrides: str | dict = "", seen: tuple[Path, ...] = ()) -> tuple[io.StringIO, dict]:
    """A recipe's yaml as a stream that knows its file name, and the overrides of the variant and the command line.

    ``seen`` are the variants that build on it.

    Raises
    ------
    ConfigError
        The file or one that it includes does not exist, or is no yaml mapping.
    """
    parser = ruamel.yaml.YAML()
    if not path.is_file():
        folder = path if path.is_dir() else path.parent
        there = sorted(each.name for each in folder.glob("*.yaml"))
        said = f"{path} is a folder." if path == folder else f"There is no file {path}."
        raise ConfigError(
            f"{said}{registry.did_you_mean(path.name, there, quoted=False)} "
            + (f"{folder} has {', '.join(there)}." if there else "Give the path of a recipe's yaml.")
        )
    content = options.load_yaml(path)
    given = (parser.load(overrides) if isinstance(overrides, str) else overrides) or {}
    if not isinstance(content, dict) or not isinstance(given, dict):
        raise ConfigError(f"{path} must hold a yaml mapping (key: value), and options read --key=value.")
    if "base" in content:
        base = path.parent / str(content.pop("base"))
        seen = (*seen, path.resolve())
        if base.resolve() in seen[:-1]:
            raise ConfigError(f"{path} says base: {base.name}, which itself builds on {path.name}. Mend one of them.")
        if not base.is_file() or base.resolve() == path.resolve():
            there = sorted(each.name for each in path.parent.glob("*.yaml") if each.name != path.name)
            raise ConfigError(
                f"{path} says base: {base.name}, and there is no such other file beside it."
                f"{registry.did_you_mean(base.name, there, quoted=False)} There are: {', '.join(there) or 'none'}."
            )
        content = {key: _included(value, path) for key, value in content.items()}
        try:
            recursive_update(content, given)
        except TypeError as error:
            raise ConfigError(f"An option given with {path} is a mapping where it has none: {error}") from error
        return read_variant(base, content, seen)
    # A variant's own `__plugins: !module:my_net` must be imported before the parts that it holds are built.
    imports = ruamel.yaml.comments.CommentedMap(
        {key: given[key] for key in given if str(key).startswith("__") and key not in content}
    )
    stream = io.StringIO()
    if imports:
        parser.dump(imports, stream)
    stream.write(path.read_text(encoding="utf-8"))
    stream.seek(0)
    stream.name = str(path)  # !include: is looked up beside this file
    return stream, dict(given)


def _included(value, variant: Path):
    """What the file holds that a value of a variant includes, so that options change it; other values as they are."""
    name = getattr(getattr(value, "tag", None), "value", None) or ""
    if not name.startswith("!include:"):
        return value
    try:
        return options.load_yaml((variant.parent / name.removeprefix("!include:")).resolve())
    except ConfigError as error:
        raise ConfigError(f"{variant} says {name}: {error}") from error


def _built(resolved: str, what: str) -> dict:
    """The objects that a resolved yaml describes."""
    try:
        return load_hyperpyyaml(resolved)
    except SpeechtoolsError:
        raise
    except Exception as error:  # a class that is not there, an argument that it does not take, a value that cannot be
        said = ": ".join(str(each) for each in error.args) or type(error).__name__
        raise ConfigError(
            f"What {what} describes cannot be built: {said}. Mend the yaml or the option; log.txt in the run's folder "
            "has the traceback."
        ) from error


def _import_plugins(text: io.StringIO, overrides: dict) -> None:
    """Import the modules that ``__plugins`` names, ahead of all else: ``!module:my_net``, ``my_net``, or a list."""
    found = {**ruamel.yaml.YAML().load(text), **overrides}.get("__plugins") or []
    text.seek(0)
    for each in found if isinstance(found, list) else [found]:
        tag = getattr(getattr(each, "tag", None), "value", None)
        registry.import_module(tag.removeprefix("!module:") if tag else str(each))


def _plain(resolved: str) -> dict:
    """The scalars and lists of a resolved yaml, without the objects."""
    tree = ruamel.yaml.YAML().load(resolved)
    return {
        key: value
        for key, value in json.loads(json.dumps(tree, default=str)).items()
        if not getattr(getattr(tree[key], "tag", None), "value", None)
    }


def _take(folder: Path, plain: dict) -> None:
    """Have the folder to ourselves, and see that it holds no other run."""
    _claim(folder.absolute())
    _check_same_run(folder, plain)


@functools.cache
def _claim(folder: Path) -> filelock.BaseFileLock | None:
    """Keep other processes from training in a folder until this one ends, however it ends. Asked again, it has it."""
    folder.mkdir(parents=True, exist_ok=True)
    # The kernel's lock, which no process that this one forks has: it is free when this process is killed.
    lock = filelock.FileLock(folder / ".lock", timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ConfigError(
            f"Another process ({(folder / '.lock').read_text(encoding='utf-8')}) trains in {folder}: two would spoil "
            "each other's checkpoints. Wait until it is done, or end it, or give this run a folder of its own "
            "(--output_folder=…)."
        ) from None
    except OSError as error:
        logger.warning("Nothing keeps a second training out of %s, which cannot be locked: %s", folder, error)
        return None
    since = datetime.now().isoformat(" ", "seconds")
    (folder / ".lock").write_text(f"pid {os.getpid()} on {platform.node()}, since {since}", encoding="utf-8")
    return lock


def _check_same_run(folder: Path, plain: dict) -> None:
    """A folder in which anything is saved is continued only by a run with the same options."""
    earlier = folder / "hyperparams.yaml"
    if not earlier.is_file() or not any(folder.glob("save/*")):
        return
    defaults = {key: getattr(sb.core.RunOptions, key) for key in options.COMPUTING}
    before = defaults | _plain(earlier.read_text(encoding="utf-8"))
    for key, value in (defaults | plain).items():
        if key not in FREE_TO_CHANGE and key in before and before[key] != value:
            raise ConfigError(
                f"{folder} holds a run with {key}={before[key]!r}, and this one has {key}={value!r}: its checkpoints "
                "would be continued with other options. Give this run a folder of its own (--output_folder=…), or "
                "delete that one."
            )


def _concerns_us(record: logging.LogRecord) -> bool:
    """Whether a line of SpeechBrain's is about the run: not its switches of torch, nor figures that we draw."""
    said = record.getMessage()
    return "quirks" not in said and "torchvision" not in said


def _message_only(otherwise):
    """An excepthook that shows our own errors as one message, and hands every other to ``otherwise``."""

    def hook(kind, error, traceback):
        if issubclass(kind, SpeechtoolsError):
            # What a loader process met arrives with its whole traceback in the message.
            message = str(error)
            if "Original Traceback" in message:
                message = message.rstrip().rpartition("Error: ")[2]
            print(f"error: {message}", file=sys.stderr)
            logger.debug("%s", message, exc_info=(kind, error, traceback))  # into the run's log.txt alone
        elif issubclass(kind, OSError):  # a full disk, a folder without permission: nothing a traceback would help with
            print(f"error: {error}. Mend this and start again: what is finished is kept.", file=sys.stderr)
            logger.debug("%s", error, exc_info=(kind, error, traceback))
        elif rank_and_size()["world_size"] > 1 and "by peer" in str(error):
            rank = rank_and_size()["rank"]
            print(
                f"error: Process {rank} lost the connection to another process of this run, which has ended. The "
                "output of that process says why.",
                file=sys.stderr,
            )
            logger.debug("%s", error, exc_info=(kind, error, traceback))
        else:
            otherwise(kind, error, traceback)

    return hook


# ------------------------------------------------------------------------------------------------------ exact resume


class AtomicCheckpointer(Checkpointer):
    """SpeechBrain's checkpointer, whose checkpoints appear whole or not at all.

    The original writes the file that marks a folder as a checkpoint first, so a run that is killed while it saves
    leaves one that cannot be loaded. Here a checkpoint is written aside and renamed.

    Example
    -------
    >>> import tempfile
    >>> checkpointer = AtomicCheckpointer(tempfile.mkdtemp(), {"net": torch.nn.Linear(1, 1)})
    >>> checkpointer.save_checkpoint().path.name.startswith("CKPT")
    True
    """

    ASIDE = ".saving-"

    def save_checkpoint(self, *args, **kwargs):
        """As SpeechBrain's; returns the checkpoint, or None on other processes than the first."""
        verbosity = kwargs.pop("verbosity", logging.INFO)
        checkpoint = super().save_checkpoint(*args, verbosity=logging.DEBUG, **kwargs)
        ddp_barrier()
        if checkpoint is not None:
            final = checkpoint.path.with_name(checkpoint.path.name.removeprefix(self.ASIDE))
            if final != checkpoint.path:
                checkpoint.path.rename(final)
        # Only now may the others list the checkpoints: with different lists, they would wait for each other for ever.
        ddp_barrier()
        if checkpoint is None:
            return None
        logger.log(verbosity, "Saved a checkpoint in %s", final)
        files = {name: final / file.name for name, file in checkpoint.paramfiles.items()}
        return checkpoint._replace(path=final, paramfiles=files)

    def load_checkpoint(self, checkpoint):
        """As SpeechBrain's; a checkpoint that cannot be loaded is a ConfigError that says what to do."""
        try:
            super().load_checkpoint(checkpoint)
        except (RuntimeError, OSError, EOFError, ValueError, KeyError, AttributeError) as error:
            raise ConfigError(
                f"The checkpoint {checkpoint.path} cannot be loaded ({type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else 'cut short'}). It was cut short or belongs to a model "
                "of another size. Delete that folder, and the run goes on from the checkpoint before it, or anew."
            ) from error

    def _new_checkpoint_dirpath(self):
        for leftover in self.checkpoints_dir.glob(f"{self.ASIDE}*"):
            shutil.rmtree(leftover)
        path = super()._new_checkpoint_dirpath()
        return path.with_name(self.ASIDE + path.name)


@register_checkpoint_hooks
class RandomState:
    """The states of Python's, numpy's and torch's random generators, as a recoverable.

    SpeechBrain saves on the first process alone, so of several processes only that one is restored: the others draw
    other dropout after a resumed start than they would have.
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
        """Restore them on the process that saved them."""
        if not if_main_process():
            return
        # Our own file, which holds tuples and numpy arrays besides tensors.
        state = torch.load(path, weights_only=False)
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        torch.set_rng_state(state["torch"])
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])


# ------------------------------------------------------------------------------------------------------- the run


@register_checkpoint_hooks
class Stopwatch:
    """Seconds spent in finished training epochs, validations not counted, as a recoverable."""

    def __init__(self):
        self.seconds = 0.0

    @mark_as_saver
    def save(self, path):
        """Write the seconds as text."""
        Path(path).write_text(repr(self.seconds))

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Go on from where the checkpoint was."""
        self.seconds = float(Path(path).read_text())


class RecipeBrain(sb.Brain):
    """A Brain that logs, keeps the best checkpoint, stops early and resumes exactly; the science is a subclass's.

    Where the yaml has a ``budget_seconds``, training ends with the epoch in which so many seconds of training are over.

    The subclass defines ``compute_forward``, ``compute_objectives`` and ``validate(stage)``, which returns the figures
    of a validation or test as a dict of floats; ``selection_key`` names the one (lower is better) that chooses the
    checkpoint. ``train_batches`` is the batch sampler, whose order must depend on its ``set_position(epoch, batches)``
    alone: a run that was killed then goes on with the very batches it would have seen.
    """

    selection_key = "mse"

    def __init__(self, *args, train_batches=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.train_batches = train_batches
        self.writer = None
        self.stopwatch = Stopwatch()
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("random_state", RandomState())
            self.checkpointer.add_recoverable("stopwatch", self.stopwatch)

    def validate(self, stage: sb.Stage) -> dict[str, float]:
        """Figures of the validation or test that has just been run."""
        raise SpeechtoolsError(f"{type(self).__name__} does not define validate(stage). Add it to the recipe's Brain.")

    def on_stage_start(self, stage, epoch=None):
        """Put the sampler where the run is: at the epoch's start, or behind the batches a resumed run has done."""
        self.stage_began = time.time()
        if stage == sb.Stage.TRAIN and self.train_batches is not None:
            self.train_batches.set_position(epoch, self.step)

    def set_rate(self, rate: float) -> None:
        """Let all parameters learn at this rate from now on."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log; after a validation also save a checkpoint and keep the best and the last."""
        if stage == sb.Stage.TRAIN:
            self.stopwatch.seconds += time.time() - self.stage_began
            self.train_stats = {"loss": float(stage_loss), "seconds": self.stopwatch.seconds}
            return
        figures = {key: float(value) for key, value in self.validate(stage).items()}
        if stage == sb.Stage.TEST:
            self.test_figures = figures
            return
        rate = self.optimizer.param_groups[0]["lr"]
        self.hparams.train_logger.log_stats(
            {"epoch": epoch, "lr": rate},
            train_stats=self.train_stats,
            valid_stats={"loss": float(stage_loss)} | figures,
        )
        self._tensorboard(epoch, {"loss/train": self.train_stats["loss"], "loss/valid": float(stage_loss), "lr": rate})
        self._tensorboard(epoch, {f"valid/{key}": value for key, value in figures.items()})
        counter = self.hparams.epoch_counter
        if hasattr(counter, "update_metric"):
            counter.update_metric(figures[self.selection_key])
            budget = getattr(self.hparams, "budget_seconds", None)
            if budget and self.stopwatch.seconds >= budget:
                counter.should_stop = True
        # The epoch is over: what a later run must know is that none of the next one's batches is done.
        self.checkpointer.save_and_keep_only(
            meta={"epoch": epoch, **figures}, min_keys=[self.selection_key], num_to_keep=1, keep_recent=True
        )

    def evaluate_best(self, test_loader) -> dict[str, float]:
        """Test the checkpoint that validated best, and return its figures.

        ``self.validated`` are then those of its validation.
        """
        checkpoint = self.checkpointer.find_checkpoint(min_key=self.selection_key)
        if checkpoint is None:
            raise ConfigError(
                f"{self.checkpointer.checkpoints_dir} holds no checkpoint with a validated {self.selection_key}, so "
                "there is nothing to test. Train first (number_of_epochs of at least 1, without --test_only)."
            )
        logger.info("Testing the checkpoint of epoch %d", checkpoint.meta["epoch"])
        self.evaluate(test_loader, min_key=self.selection_key)
        self.validated = dict(checkpoint.meta)
        self.test_figures["epoch"] = checkpoint.meta["epoch"]
        return self.test_figures

    @sb.utils.distributed.main_process_only
    def _tensorboard(self, epoch: int, values: dict[str, float]) -> None:
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # Events after the epoch that a resumed run starts from were written by the run that was killed.
            self.writer = SummaryWriter(Path(self.hparams.output_folder) / "tensorboard", purge_step=epoch)
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, epoch)
        self.writer.flush()


class DVectorBrain(RecipeBrain):
    """What the recipes of d-vectors share: the halved learning rate, the averaged encoder, d-vectors kept for the test.

    The yaml has ``lr``, ``halve_every`` (steps; GE2E paper, section 3), ``encoder`` and ``averaged``; the subclass adds
    what it embeds in a validation or test to ``embedded``, from which ``validate`` computes the EER.
    """

    selection_key = "eer"

    def on_fit_batch_start(self, batch, should_step):
        """The learning rate of this step."""
        halvings = self.optimizer_step // self.hparams.halve_every
        self.set_rate(self.hparams.lr * 0.5**halvings)

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """The running average of the weights."""
        self.hparams.averaged.update_parameters(self.hparams.encoder)

    def on_stage_start(self, stage, epoch=None):
        """Begins with no d-vectors."""
        super().on_stage_start(stage, epoch)
        self.embedded = []


def optimizer(name: str, lr: float, **arguments):
    """An optimizer of ``torch.optim`` by its name, as a Brain takes it: a function of the parameters.

    The name is a scalar of the yaml, and so can be given on the command line and in a variant.

    Raises
    ------
    ConfigError
        torch has no such optimizer, or it does not take such a learning rate.

    Example
    -------
    >>> optimizer("SGD", lr=0.1)([torch.nn.Parameter(torch.zeros(2))]).param_groups[0]["lr"]
    0.1
    """
    known = [each for each in dir(torch.optim) if isinstance(getattr(torch.optim, each), type) and each != "Optimizer"]
    if name not in known:
        raise ConfigError(
            f"torch.optim has no optimizer {name!r}.{registry.did_you_mean(name, known, quoted=False)} "
            f"It has: {', '.join(known)}."
        )
    chosen = functools.partial(getattr(torch.optim, name), lr=lr, **arguments)
    try:
        trial = torch.nn.Parameter(torch.zeros(1))
        trial.grad = torch.zeros(1)
        chosen([trial]).step()
    except (TypeError, ValueError, RuntimeError) as error:
        told = ", ".join(f"{key}={value!r}" for key, value in {"lr": lr, **arguments}.items())
        raise ConfigError(f"The optimizer {name} cannot work with {told}: {error}. Give it another value.") from error
    return chosen


def take_weights(module: torch.nn.Module, trained: torch.nn.Module, option: str) -> None:
    """Let a module start from the weights of a trained one, which the yaml's ``option`` names.

    Raises
    ------
    ConfigError
        The two are of different sizes or kinds.
    """
    try:
        module.load_state_dict(trained.state_dict())
    except RuntimeError as error:
        raise ConfigError(
            f"The model that {option} names does not fit this one: {str(error).splitlines()[-1].strip()} "
            "Give this run the options of that model's training, or leave it out."
        ) from error


def fit_once(module: torch.nn.Module, path: str | Path, fit) -> None:
    """Call ``fit``, which trains ``module`` ahead of the run; or take the weights from ``path``, where it was done.

    For the first stage of a model of two: a run that goes on after a kill does not repeat it.
    """
    path = Path(path)

    def stage():
        if path.is_file():
            module.load_state_dict(torch.load(path, weights_only=True))
            return
        fit()
        with write_aside(path) as aside:
            torch.save(module.state_dict(), aside)

    on_main_first(stage)


def on_main_first(prepare):
    """The result of ``prepare``, called on the first process while the others wait; they then find its work done.

    Raises
    ------
    SpeechtoolsError
        On the others, where it failed on the first, which raises what it raised.
    """
    result = _on_main(prepare)
    return result if if_main_process() else prepare()


def _on_main(work):
    """The result of ``work`` on the first process, and None on the others; where it fails, all of them do."""
    if if_main_process():
        try:
            result = work()
        except Exception as error:
            ddp_broadcast(f"{type(error).__name__}: {error}")
            raise
        ddp_broadcast(None)
        return result
    failure = ddp_broadcast(None)
    if failure is not None:
        raise SpeechtoolsError(
            f"Process {torch.distributed.get_rank()} ends, since the first one, which it waited for, failed: {failure}"
        )
    return None


def rank_and_size() -> dict[str, int]:
    """This process's ``rank`` and the ``world_size``; 0 and 1 without torchrun."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return {
        "rank": torch.distributed.get_rank() if distributed else 0,
        "world_size": torch.distributed.get_world_size() if distributed else 1,
    }


def make_loader(dataset, batches, num_workers: int = 0) -> DataLoader:
    """A DataLoader of SpeechBrain's PaddedBatches, in the order of ``batches``: a batch sampler or lists of indices.

    ``num_workers`` processes read ahead where cores are left for them. Without a GPU, torch's threads compute on all
    cores, and would wait for the one that a reading process takes from them: there the main process reads by itself.
    """
    if not torch.cuda.is_available():
        num_workers = max(0, min(num_workers, cores_left(torch.get_num_threads())))
    if sys.platform != "linux":
        num_workers = 0  # a recipe's pipelines are functions within a function, which only a fork carries over
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=PaddedBatch,
        num_workers=num_workers,
        multiprocessing_context="fork" if num_workers else None,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        # Its own, since a resumed run makes its loader anew: drawing from the global generator would shift dropout.
        generator=torch.Generator(),
    )


def loaders_by_length(
    datasets: dict, rows: dict, batch_size: int, seed: int, num_workers: int = 0
) -> dict[str, DataLoader]:
    """A loader a split, of batches of similar length: ``train`` shuffled anew every epoch, the others longest first.

    Parameters
    ----------
    datasets, rows : dict
        By split: the items, and of each its row of a manifest, which has its ``duration``.
    batch_size, seed : int
        Of the batches and of their shuffling; on several processes, each gets its share of the training batches.
    num_workers : int
        As :func:`make_loader` takes it.
    """
    durations = {split: [row.duration for row in members] for split, members in rows.items()}
    shuffled = LengthBatchSampler(durations["train"], batch_size, seed, **rank_and_size())
    batches = {split: batches_by_length(each, batch_size) for split, each in durations.items()} | {"train": shuffled}
    return {split: make_loader(datasets[split], batches[split], num_workers) for split in datasets}


def batches_by_length(durations, batch_size: int) -> list[list[int]]:
    """All indices in batches of similar length, longest first: for validation and test, where the order is free."""
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size} makes no batches. Give 1 or more.")
    order = np.argsort(-np.asarray(durations, dtype=np.float64), kind="stable")
    return [order[i : i + batch_size].tolist() for i in range(0, len(order), batch_size)]


# --------------------------------------------------------------------------------------------------------- export


def export(hparams: dict, keys: list[str], modules: dict[str, torch.nn.Module], facts: dict | None = None) -> Path:
    """Write ``pretrained/``, a folder that ``from_hparams`` of the pretrained interfaces loads as it is.

    To be called on the first process alone.

    Parameters
    ----------
    hparams : dict
        The run's, for its output folder; the parts are copied from the ``hyperparams.yaml`` there.
    keys : list of str
        Its keys that inference needs: the definitions of parts, rates, scales.
    modules : dict
        Trained modules, which are among the keys, by name.
    facts : dict
        Further keys: how the model was trained and what it reached.
    """
    run = Path(hparams["output_folder"])
    yaml = ruamel.yaml.YAML()
    tree = yaml.load((run / "hyperparams.yaml").read_text(encoding="utf-8"))
    chosen = ruamel.yaml.comments.CommentedMap({key: tree[key] for key in keys})
    for value in chosen.values():
        if hasattr(value, "ca"):  # comments that stood between this key and the next
            value.ca.comment = None
            value.ca.items.clear()
    text = io.StringIO()
    yaml.dump(chosen, text)
    yaml.dump(json.loads(json.dumps(facts or {}, default=str)), text) if facts else None
    folder = run / "pretrained"
    references = {depth: "".join(f"\n{depth * ' '}{name}: !ref <{name}>" for name in modules) for depth in (4, 8)}
    with write_aside(folder / "hyperparams.yaml") as aside:
        aside.write_text(
            "# Written by the recipe at the end of its training; load it with from_hparams(source=<this folder>).\n"
            f"{text.getvalue()}modules:{references[4]}\n"
            "pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer\n"
            f"    loadables:{references[8]}\n",
            encoding="utf-8",
        )
    for name, module in modules.items():
        module = getattr(module, "module", module)  # out of its DDP wrapper
        with write_aside(folder / f"{name}.ckpt") as aside:
            torch.save({key: value.cpu() for key, value in module.state_dict().items()}, aside)
    return folder
