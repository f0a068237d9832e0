"""The start of a run: its options, its folder, and the process it runs in."""

import atexit
import functools
import logging
import os
import platform
import shutil
import sys
from datetime import datetime
from pathlib import Path

import filelock
import speechbrain as sb
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.excepthook import show_messages_only
from speechtools.core.files import write_aside
from speechtools.core.memory import keep_freed_memory
from speechtools.core.processes import end_with_starter
from speechtools.core.signals import raise_terminated_from_now
from speechtools.training import options
from speechtools.training.command_line import CommandLine, parse
from speechtools.training.distributed import end_distributed, on_main, rank_and_size
from speechtools.training.threads import use_free_cores
from speechtools.training.trees import plain

logger = logging.getLogger(__name__)

#: Uncaught errors that end a run with only their message; a RuntimeError only if it reports a lost process.
_EXPECTED = (SpeechtoolsError, OSError, RuntimeError, MemoryError, KeyboardInterrupt)


def start(argv: list[str] | None = None) -> tuple[dict, sb.core.RunOptions]:
    """Read the recipe's yaml and the command line, prepare the run's folder, and build what the yaml describes.

    Parameters
    ----------
    argv : list of str, optional
        The recipe's yaml and its options; by default, those of the command line. :func:`options.merge` describes how
        variants, shared fragments and options are merged.

    Returns
    -------
    hparams : dict
        The yaml, loaded: its objects are built.
    run_opts : RunOptions
        SpeechBrain's own options (``--device``, ``--precision``, …), which the Brain takes.

    Raises
    ------
    ConfigError
        The yaml is missing or not valid; an option is unknown, of the wrong type or without effect; the output folder
        contains a run with other options, or another process trains in it. Uncaught, it ends the program with only its
        message.
    """
    end_with_starter()
    raise_terminated_from_now()
    show_messages_only(*_EXPECTED)
    keep_freed_memory()
    options.hide_notices()
    command_line = parse(sys.argv[1:] if argv is None else argv)
    sb.utils.distributed.ddp_init_group(command_line.run_opts)
    atexit.register(end_distributed, wait=False)  # for a failure that keeps the recipe from calling it
    resolved = options.resolve(command_line)
    options.check(command_line)
    folder = _prepare_folder(resolved, command_line)
    show_messages_only(*_EXPECTED)  # SpeechBrain has installed its own hook
    if rank_and_size()["world_size"] == 1 and not str(command_line.run_opts["device"]).startswith("cuda"):
        use_free_cores(folder)
    return options.build(resolved, command_line.yaml), command_line.run_opts


def _prepare_folder(resolved: str, command_line: CommandLine) -> Path:
    """Create the folder of the run with its options, its script and its log; other runs and processes are refused."""
    values = plain(resolved)
    if not isinstance(values.get("output_folder"), str):
        raise ConfigError(f"{command_line.yaml} has no output_folder. Add output_folder: results/<name>.")
    folder = Path(values["output_folder"])
    on_main(functools.partial(_claim, folder, options.identity(resolved)))
    sb.create_experiment_directory(folder, save_env_desc=True)
    if if_main_process():
        (folder / Path(__file__).name).unlink(missing_ok=True)  # SpeechBrain has copied the file that called it
        script = getattr(sys.modules["__main__"], "__file__", None)
        if script:
            shutil.copy(script, folder)
        with write_aside(folder / "hyperparams.yaml") as aside:
            header = f"# All options of this run, resolved from {command_line.yaml}\n"
            aside.write_text(header + resolved, encoding="utf-8")
    ddp_barrier()
    return folder


def _claim(folder: Path, identity: dict) -> None:
    """Lock the folder, and check that it contains no run with other options."""
    lock(folder.absolute())
    earlier = folder / "hyperparams.yaml"
    if not earlier.is_file() or not any(folder.glob("save/*")):
        return
    before = options.identity(earlier.read_text(encoding="utf-8"))
    for key, value in identity.items():
        if key in before and before[key] != value:
            raise ConfigError(
                f"{folder} contains a run with {key}={before[key]!r}, and this run has {key}={value!r}. Choose another "
                "folder (--output_folder=…), or delete that one."
            )


@functools.cache
def lock(folder: Path) -> filelock.BaseFileLock | None:
    """Lock a folder for this process until it ends, however it ends.

    Returns
    -------
    FileLock
        The lock; None on a file system without locks, which is logged.

    Raises
    ------
    ConfigError
        Another process has locked the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # The kernel's lock, which forked processes do not inherit: it is free as soon as this process is killed.
    file_lock = filelock.FileLock(folder / ".lock", timeout=0, fallback_to_soft=False)
    try:
        file_lock.acquire()
    except filelock.Timeout:
        raise ConfigError(
            f"{folder} is locked by another training ({(folder / '.lock').read_text(encoding='utf-8')}). Wait until it "
            "has ended, or choose another folder (--output_folder=…)."
        ) from None
    except OSError as error:
        logger.warning("Cannot lock %s, so a second training could write to it: %s", folder, error)
        return None
    since = datetime.now().isoformat(" ", "seconds")
    (folder / ".lock").write_text(f"pid {os.getpid()} on {platform.node()}, since {since}", encoding="utf-8")
    return file_lock
