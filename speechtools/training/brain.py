"""The training loop that recipes share: logging, model selection, early stopping and exact resume."""

import functools
import io
import logging
import time
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import speechbrain as sb
import torch
from speechbrain.utils.epoch_loop import EpochCounterWithStopper

from speechtools.core import registry
from speechtools.core.checks import check_number
from speechtools.core.checksums import find_damaged, write_checksums
from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.files import disk_errors, write_aside
from speechtools.core.spelling import did_you_mean
from speechtools.training.checkpoints import RandomState, Stopwatch
from speechtools.training.distributed import on_main_first

logger = logging.getLogger(__name__)
#: The share of the initial weights in their running average, above which a warning says so.
_SHARE_OF_START = 0.1


class RecipeBrain(sb.Brain):
    """A SpeechBrain Brain that logs, keeps the best checkpoint, stops early and resumes exactly.

    A subclass defines ``compute_forward``, ``compute_objectives`` and ``validate``. Its ``train_batches`` is the batch
    sampler, whose order must depend only on ``set_position(epoch, batches_done)``, so that a killed run continues with
    the batches that it would have seen. If the yaml has a ``budget_seconds``, training ends after the epoch in which
    that time is used up.

    Attributes
    ----------
    selection_key : str
        The metric that selects the checkpoint; lower is better.
    has_valid_loss : bool
        Whether ``compute_objectives`` returns a loss in validation, too, which is then logged.
    """

    selection_key = "mse"
    has_valid_loss = True

    def __init__(self, *args, train_batches=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.train_batches = train_batches
        self.writer = None
        self.stopwatch = Stopwatch()
        self.budget_seconds = getattr(self.hparams, "budget_seconds", None)
        if self.budget_seconds is not None:
            check_number("budget_seconds", self.budget_seconds, 0, above=True)
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("random_state", RandomState())
            self.checkpointer.add_recoverable("stopwatch", self.stopwatch)

    def validate(self, stage: sb.Stage) -> dict[str, float]:
        """Return the metrics of the validation or test that has just run."""
        raise SpeechtoolsError(f"{type(self).__name__} does not define validate(stage). Add it to the recipe's Brain.")

    def fit(self, epoch_counter, train_set, *arguments, **options):
        """Train; see SpeechBrain. Warns if the running average of the weights would be far behind them."""
        decay, limit = getattr(self.hparams, "average_decay", 0), getattr(epoch_counter, "limit", None)
        steps = limit * len(train_set) if limit and hasattr(train_set, "__len__") else None
        if decay and steps and decay**steps > _SHARE_OF_START:
            logger.warning(
                "average_decay=%g averages the weights over about %d steps, and this training has only %d: the tested "
                "weights stay near the initial ones. Lower it (--average_decay=0 takes the last weights), or train "
                "longer.",
                decay,
                round(1 / (1 - decay)) if decay < 1 else steps,
                steps,
            )
        super().fit(epoch_counter, train_set, *arguments, **options)

    def on_stage_start(self, stage, epoch=None):
        """Set the position of the sampler: the start of the epoch, or the batches that a resumed run has done."""
        self.stage_began = time.time()
        if stage == sb.Stage.TRAIN and self.train_batches is not None:
            self.train_batches.set_position(epoch, self.step)

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of all parameters."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log; after a validation, also save a checkpoint and keep the best and the last one."""
        if stage == sb.Stage.TRAIN:
            self.stopwatch.seconds += time.time() - self.stage_began
            self.train_stats = {"loss": float(stage_loss), "total seconds": self.stopwatch.seconds}
            return
        metrics = {key: float(value) for key, value in self.validate(stage).items()}
        if self.selection_key not in metrics:
            raise SpeechtoolsError(
                f"{type(self).__name__}.validate() returns {', '.join(metrics) or 'nothing'}; selection_key is "
                f"{self.selection_key!r}. Set selection_key to the metric that chooses the checkpoint (lowest is best)."
            )
        if stage == sb.Stage.TEST:
            self.test_metrics = metrics
            return
        rate = self.optimizer.param_groups[0]["lr"]
        self.hparams.train_logger.log_stats(
            {"epoch": epoch, "lr": rate},
            train_stats=self.train_stats,
            valid_stats=({"loss": float(stage_loss)} if self.has_valid_loss else {}) | metrics,
        )
        self._tensorboard(epoch, {"loss/train": self.train_stats["loss"], "lr": rate})
        if self.has_valid_loss:
            self._tensorboard(epoch, {"loss/valid": float(stage_loss)})
        self._tensorboard(epoch, {f"valid/{key}": value for key, value in metrics.items()})
        counter = self.hparams.epoch_counter
        if hasattr(counter, "update_metric"):
            counter.update_metric(metrics[self.selection_key])
            if self.budget_seconds and self.stopwatch.seconds >= self.budget_seconds:
                counter.should_stop = True
        self.checkpointer.save_and_keep_only(
            meta={"epoch": epoch, **metrics}, min_keys=[self.selection_key], num_to_keep=1, keep_recent=True
        )

    def evaluate_best(self, test_loader) -> dict[str, float]:
        """Test the checkpoint with the best validation.

        Returns
        -------
        dict
            The metrics of the test, and the ``epoch`` of the checkpoint. ``self.validated`` has those of its
            validation.
        """
        checkpoint = self.checkpointer.find_checkpoint(min_key=self.selection_key)
        if checkpoint is None:
            raise ConfigError(
                f"No checkpoint in {self.checkpointer.checkpoints_dir} has a validated {self.selection_key}. Train "
                "first, with number_of_epochs of at least 1 and without --test_only."
            )
        if getattr(self.checkpointer, "damaged", None):
            logger.warning(
                "A damaged checkpoint is left out of the choice for the test, so the results may not be those of the "
                "best epoch: %s",
                ", ".join(map(str, self.checkpointer.damaged)),
            )
        logger.info("Testing the checkpoint of epoch %d", checkpoint.meta["epoch"])
        self.evaluate(test_loader, min_key=self.selection_key)
        self.validated = dict(checkpoint.meta)
        self.test_metrics["epoch"] = checkpoint.meta["epoch"]
        return self.test_metrics

    def evaluate_untrained(self, test_loader, name: str = "encoder", seed: int = 0) -> bool:
        """Test a module of the same architecture with random weights in the place of a trained one: a baseline.

        Results that ``validate`` stores, such as ``self.results``, are those of the random weights afterwards. The
        trained module, and the metrics of :meth:`evaluate_best`, stay as they are.

        Parameters
        ----------
        test_loader
            As for :meth:`evaluate_best`, which comes first.
        name : str
            The module in ``modules``; and with a running average of it, ``averaged``.
        seed : int
            Of the random weights.

        Returns
        -------
        bool
            False if the module was not built by :func:`speechtools.build`, so that it cannot be built again. Nothing
            is tested then.
        """
        definition = registry.definition(getattr(self.hparams, name))
        if definition is None:
            return False
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            random = registry.build(**definition).to(self.device).eval()
        holders = [(self.modules, name), (self.hparams, "averaged")]
        trained = [(holder, key, getattr(holder, key)) for holder, key in holders if hasattr(holder, key)]
        metrics = self.test_metrics
        try:
            for holder, key, _ in trained:
                setattr(holder, key, random)
            # The checkpoint is that of evaluate_best: it is loaded into the trained module again.
            self.evaluate(test_loader, min_key=self.selection_key)
        finally:
            for holder, key, module in trained:
                setattr(holder, key, module)
            self.test_metrics = metrics
        return True

    @sb.utils.distributed.main_process_only
    def _tensorboard(self, epoch: int, values: dict[str, float]) -> None:
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # Purge the events that a killed run wrote after the epoch from which this one resumes.
            self.writer = SummaryWriter(Path(self.hparams.output_folder) / "tensorboard", purge_step=epoch)
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, epoch)
        self.writer.flush()


class DVectorBrain(RecipeBrain):
    """A Brain for d-vectors: the learning rate is halved regularly, and a running average of the encoder is kept.

    The yaml has ``lr``, ``halve_every`` (steps; GE2E paper, section 3), ``encoder`` and ``averaged``. The subclass
    appends the d-vectors of a validation or test to ``embedded``, from which ``validate`` computes the EER.
    """

    selection_key = "eer"
    has_valid_loss = False  # the EER validates

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        check_number("halve_every", self.hparams.halve_every, 0, above=True)

    def on_fit_batch_start(self, batch, should_step):
        """Set the learning rate of this step."""
        halvings = self.optimizer_step // self.hparams.halve_every
        self.set_rate(self.hparams.lr * 0.5**halvings)

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """Update the running average of the weights."""
        self.hparams.averaged.update_parameters(self.hparams.encoder)

    def on_stage_start(self, stage, epoch=None):
        """Begin without d-vectors."""
        super().on_stage_start(stage, epoch)
        self.embedded = []


# ----------------------------------------------------------------------------------------- what a recipe's yaml builds


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch. SpeechBrain takes seeds out of range for 0; this refuses them."""
    check_number("seed", seed, 0, 2**32 - 1, whole=True)
    sb.utils.seed_everything(seed, verbose=False)


def epoch_counter(number_of_epochs: int, patience: int) -> EpochCounterWithStopper:
    """Count epochs, and stop after ``patience`` epochs without a better validation."""
    check_number("number_of_epochs", number_of_epochs, 1, whole=True)
    check_number("patience", patience, 0, whole=True)
    return EpochCounterWithStopper(number_of_epochs, patience, limit_warmup=0, direction="min")


def running_average(model: torch.nn.Module, decay: float) -> torch.optim.swa_utils.AveragedModel:
    """Make a copy of a model with an exponential moving average of its weights; with decay 0, the last weights."""
    check_number("average_decay", decay, 0, 1)
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
    return torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=average)


def optimizer(name: str, lr: float, **arguments) -> Callable:
    """Look up an optimizer of ``torch.optim`` by its name: a function of the parameters, as a Brain takes it.

    Raises
    ------
    ConfigError
        torch has no such optimizer, or it does not accept the learning rate or the arguments.

    Examples
    --------
    >>> optimizer("SGD", lr=0.1)([torch.nn.Parameter(torch.zeros(2))]).param_groups[0]["lr"]
    0.1
    """
    known = [key for key, value in vars(torch.optim).items() if isinstance(value, type) and key != "Optimizer"]
    if name not in known:
        raise ConfigError(
            f"Invalid value for optimizer_name: torch.optim has no {name!r}.{did_you_mean(name, known, quoted=False)} "
            f"It has {', '.join(known)}."
        )
    check_number("lr", lr, 0)
    make = functools.partial(getattr(torch.optim, name), lr=lr, **arguments)
    try:
        trial = torch.nn.Parameter(torch.zeros(1))
        trial.grad = torch.zeros(1)
        make([trial]).step()
    except (TypeError, ValueError, RuntimeError) as error:
        settings = ", ".join(f"{key}={value!r}" for key, value in {"lr": lr, **arguments}.items())
        raise ConfigError(f"The optimizer {name} does not accept {settings}: {error}.") from error
    return make


# ------------------------------------------------------------------------------------------------ weights to begin with


def take_weights(module: torch.nn.Module, trained: torch.nn.Module, option: str, optional: str = "") -> None:
    """Copy the weights of a trained model, which the yaml's ``option`` names, into a module.

    Parameters that only one of them has are no error if their names begin with ``optional``: those of the module keep
    their values, those of the trained model are left out, and both are logged.

    Raises
    ------
    ConfigError
        The two have different parameters or sizes.
    """
    own, weights = module.state_dict(), trained.state_dict()
    if optional:
        new = [name for name in own if name not in weights and name.startswith(optional)]
        unused = [name for name in weights if name not in own and name.startswith(optional)]
        for names, what in ((new, "keep their initial values"), (unused, "of the trained model are left out")):
            if names:
                logger.info("%s: the weights %s %s.", option, ", ".join(names), what)
        weights = {name: own[name] for name in new} | {k: v for k, v in weights.items() if k not in unused}
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(
            f"The model that {option} names does not fit this one: {str(error).splitlines()[-1].strip()} Use the "
            f"options that it was trained with, or leave {option} out."
        ) from error


def fit_once(module: torch.nn.Module, path: str | Path, fit: Callable[[], None]) -> None:
    """Run the first stage of a two-stage training: call ``fit``, which trains ``module``, and save the weights.

    If ``path`` exists, the weights are loaded from there instead, so a resumed run does not repeat the stage.

    Raises
    ------
    ConfigError
        The file is damaged.
    CorpusError
        It cannot be written, for example because the disk is full.
    """
    path = Path(path)

    def stage():
        if path.is_file():
            _load_weights(module, path)
            return
        fit()
        content = io.BytesIO()  # written by Python, since torch does not say why a write fails
        torch.save(module.state_dict(), content)
        remedy = "Free some space and start again: this stage is repeated."
        with disk_errors(str(path), remedy, content.tell() / 1e6):
            with write_aside(path) as aside:
                aside.write_bytes(content.getbuffer())
            write_checksums(path.parent, [path])

    on_main_first(stage)


def _load_weights(module: torch.nn.Module, path: Path) -> None:
    problem = find_damaged(path.parent, full=True).get(path.name)
    try:
        if problem is None:
            module.load_state_dict(torch.load(path, weights_only=True))
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, UnpicklingError) as error:
        problem = f"cannot be loaded ({str(error).splitlines()[0] if str(error) else 'truncated'})"
    if problem:
        raise ConfigError(f"{path} {problem}. Delete it and start again: the first stage of the training is repeated.")
