"""Runs of the recipes' scripts for the tests, each in a process of its own.

The processes are forked from one that has already imported what takes ``python train.py`` seconds to import.
"""

import faulthandler
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

#: Seconds after which a process of a test prints the stacks of its threads and ends.
TIMEOUT = 100
#: Small nets run fastest on one thread. Only the tests of a GPU use one.
ALONE = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
FORKS = multiprocessing.get_context("forkserver")
_ROOMS = ("enhancement.evaluation", "keyword.evaluation", "quality.evaluation", "quality.stages", "speaker.evaluation")
_SLOW = ("matplotlib.backends.backend_agg", "matplotlib.pyplot", "tensorboard.compat.proto", "torch._dynamo")
FORKS.set_forkserver_preload([*_SLOW, "torch.utils.tensorboard", *(f"speechtools.{room}" for room in _ROOMS)])


def run(*arguments, cwd, script="train.py", **how):
    """What ``python <script> <arguments>`` does and prints, in the folder ``cwd``.

    Parameters
    ----------
    kill_after : int, optional
        The process kills itself with SIGKILL after so many optimizer steps.
    before : function, optional
        Called in the process, ahead of the script.
    after : function, optional
        Called in the process with the names that the script has left.
    variables : dict, optional
        Of the environment.
    """
    (done,) = run_processes(1, *arguments, cwd=cwd, script=script, **how)
    return done


def run_processes(count, *arguments, cwd, script="train.py", variables=None, **how):
    """The same in several processes at once, which find each other as those that ``torchrun`` starts do."""
    together = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    arguments = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as aside:
        started = []
        for rank in range(count):
            environment = {**os.environ, **ALONE, **(variables or {})}
            if count > 1:
                environment |= together | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            streams = [os.path.join(aside, f"{rank}.{name}") for name in ("stdout", "stderr")]
            process = FORKS.Process(
                target=_work, args=(str(script), arguments, str(cwd), environment, streams), kwargs=how
            )
            process.start()
            started.append((process, streams))
        deadline = time.monotonic() + TIMEOUT + 5
        try:
            for process, _ in started:
                process.join(deadline - time.monotonic())
        finally:
            for process, _ in started:
                process.kill()
                process.join(10)
        return [
            subprocess.CompletedProcess(arguments, process.exitcode, *(Path(stream).read_text() for stream in streams))
            for process, streams in started
        ]


def start_together(function, arguments, count):
    """Call ``function(rank, *arguments)`` in so many processes; what one of them raises is raised here."""
    import torch.multiprocessing

    torch.multiprocessing.start_processes(_call, (function, arguments), count, start_method="forkserver")


def _call(rank, function, arguments):
    faulthandler.dump_traceback_later(TIMEOUT, exit=True)
    function(rank, *arguments)


def call(command, limit=TIMEOUT, **how):
    """What a command printed, as ``subprocess.run`` returns it.

    Raises
    ------
    TimeoutExpired
        It took more than ``limit`` seconds, and was killed with all processes that it started.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **how
    )
    try:
        output, errors = process.communicate(timeout=limit)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate(timeout=30)
        if isinstance(error, subprocess.TimeoutExpired):
            raise subprocess.TimeoutExpired(command, limit, output + errors) from error
        raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _work(script, arguments, folder, environment, streams, kill_after=None, before=None, after=None):
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    faulthandler.dump_traceback_later(TIMEOUT, exit=True, file=2)
    os.chdir(folder)
    os.environ.update(environment)
    sys.path.insert(0, folder)
    from speechbrain.utils import logger

    # pip would list all packages for a run's env.log, which takes seconds.
    logger.get_environment_description = lambda: ""
    _record_keys()
    if kill_after:
        killed_after(kill_after)
    if before:
        before()
    _run_script(script, arguments, after)


def _run_script(script, arguments, after=None):
    sys.argv = [script, *arguments]
    try:
        left = runpy.run_path(script, run_name="__main__")
        if _Recorder.read and os.environ.get("RANK", "0") == "0":
            (_Recorder.folder / "keys_read.txt").write_text("\n".join(map(str, _Recorder.read)))
        if after:
            after(left)
    except SystemExit:
        raise
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.exit(1)


def killed_after(steps):
    """Let this process kill itself with SIGKILL after so many optimizer steps."""
    from speechtools import training

    step = training.RecipeBrain.optimizers_step

    def count(brain):
        step(brain)
        if brain.optimizer_step == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    training.RecipeBrain.optimizers_step = count


def trainings_are_forked():
    """``before`` of a ``reproduce.py``: its trainings are forked too, one after the other."""
    from speechtools.training import reproduction

    def fork(command, cwd, env=None, stdout=None, stderr=None):
        child = os.fork()
        if child == 0:
            signal.alarm(TIMEOUT)  # ends it; faulthandler would wait for its thread, which the fork left behind
            if stdout:  # a log file, which takes both streams
                os.dup2(stdout.fileno(), 1)
                os.dup2(stdout.fileno(), 2)
            os.chdir(cwd)
            sys.path[0] = str(cwd)
            status = 1
            try:
                _run_script(command[1], command[2:])
                status = 0
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != 0:
            raise subprocess.CalledProcessError(status, command)

    reproduction.run_until_exit = fork


def torchrun(*command, processes=2):
    """The arguments of Python that run a script by torchrun."""
    return ("-m", "torch.distributed.run", f"--nproc_per_node={processes}", f"--master_port={free_port()}", *command)


class _Recorder(dict):
    """hparams that record the keys a recipe reads, in a set that the Brain's namespace shares."""

    read: ClassVar[set] = set()
    folder = Path()

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)

    def __contains__(self, key):
        self.read.add(key)
        return super().__contains__(key)

    def get(self, key, default=None):
        self.read.add(key)
        return super().get(key, default)


def _record_keys():
    """Record the keys that the script, its Brain and its export read, in ``keys_read.txt`` of the run."""
    import types

    import speechbrain as sb

    from speechtools import training

    class Namespace(types.SimpleNamespace):
        def __getattribute__(self, name):
            _Recorder.read.add(name)
            return super().__getattribute__(name)

    def start(*arguments, original=training.start):
        hparams, run_opts = original(*arguments)
        _Recorder.folder = Path(hparams["output_folder"]).absolute()
        return _Recorder(hparams), run_opts

    def export(hparams, keys, *arguments, original=training.export):
        _Recorder.read.update(key for key in keys if key in hparams)
        return original(hparams, keys, *arguments)

    training.start, training.export, sb.core.SimpleNamespace = start, export, Namespace


def unused_keys(yaml, *folders):
    """The keys of a recipe's yaml that no run in ``folders`` has read, directly or through a reference."""
    from speechtools.training import options, trees
    from speechtools.training.command_line import parse

    tree = options.merge(parse([str(yaml)]))
    used = {key for key in tree if str(key).startswith("__")}
    for folder in folders:
        used |= set((folder / "keys_read.txt").read_text().split())
    todo = [key for key in used if key in tree]
    while todo:
        for name in trees.references(tree[todo.pop()]):
            if name not in used:
                used.add(name)
                todo.append(name)
    return set(tree) - used


def copy_hparams(recipe, folder):
    """Copy the yaml files of a recipe into another folder, from which they still find what they include."""
    hparams = Path(__file__).parents[1] / "hparams"
    (folder / "hparams").mkdir(parents=True)
    for path in (recipe / "hparams").glob("*.yaml"):
        (folder / "hparams" / path.name).write_text(path.read_text().replace("../../../../hparams", str(hparams)))


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def succeeded(done):
    """What a run printed, which ended well."""
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def one_message(done, message):
    """The run ended with a message to a person, not with a traceback."""
    assert done.returncode == 1, (done.stdout + done.stderr)[-3000:]
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
