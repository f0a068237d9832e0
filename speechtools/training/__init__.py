"""What every recipe repeats: start-up, bookkeeping, exact resume and export. It uses only :mod:`speechtools.core`.

The main block of a recipe's train.py is::

    hparams, run_opts = training.start()
    ...
    brain = MyBrain(hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"])
    brain.fit(hparams["epoch_counter"], train_loader, valid_loader)
    brain.evaluate_best(test_loader)
    if training.end_distributed():
        training.export(hparams, ["sample_rate", "scale", "features", "quality"], {"quality": brain.modules.quality})
"""

from speechtools.core.memory import keep_freed_memory
from speechtools.training.brain import (
    DVectorBrain,
    RecipeBrain,
    epoch_counter,
    fit_once,
    optimizer,
    running_average,
    seed_everything,
    take_weights,
)
from speechtools.training.check import check_recipe
from speechtools.training.checkpoints import AtomicCheckpointer, RandomState, Stopwatch
from speechtools.training.distributed import end_distributed, on_main_first, rank_and_size
from speechtools.training.export import export
from speechtools.training.loaders import LengthBatchSampler, batches_by_length, loaders_by_length, make_loader
from speechtools.training.reproduction import earlier_stage
from speechtools.training.shards import ShardBatchSampler, ShardDataset
from speechtools.training.start import start

__all__ = [
    "AtomicCheckpointer",
    "DVectorBrain",
    "LengthBatchSampler",
    "RandomState",
    "RecipeBrain",
    "ShardBatchSampler",
    "ShardDataset",
    "Stopwatch",
    "batches_by_length",
    "check_recipe",
    "earlier_stage",
    "end_distributed",
    "epoch_counter",
    "export",
    "fit_once",
    "keep_freed_memory",
    "loaders_by_length",
    "make_loader",
    "on_main_first",
    "optimizer",
    "rank_and_size",
    "running_average",
    "seed_everything",
    "start",
    "take_weights",
]
