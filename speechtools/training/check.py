"""Check that each yaml file of a recipe resolves and builds."""

import os
import sys
import tempfile
from pathlib import Path

import ruamel.yaml

from speechtools.core import registry
from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.training import command_line, options, trees


def check_recipe(folder: str | Path) -> list[str]:
    """Check that every yaml of a recipe resolves with its base and builds, without preparing data or training.

    Functions that a yaml applies are called only if they belong to ``speechtools.build`` or ``speechtools.training``.

    Returns
    -------
    list of str
        The problems, with file and key.

    Raises
    ------
    ConfigError
        The folder has no train.py or no yaml in ``hparams/``.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "hparams").mkdir()
    >>> _ = (folder / "hparams" / "a.yaml").write_text("output_folder: a\\nnet: !new:torch.nn.Linear {in_size: 1}\\n")
    >>> _ = (folder / "train.py").write_text("")
    >>> print(check_recipe(folder)[0].replace(f"{folder}/", ""))
    Cannot build net in hparams/a.yaml: Invalid argument to class ...
    """
    folder = Path(folder).absolute()
    paths = sorted((folder / "hparams").glob("*.yaml"))
    if not (folder / "train.py").is_file() or not paths:
        raise ConfigError(f"{folder} is not a recipe. A recipe is a folder with train.py and hparams/*.yaml.")
    options.hide_notices()
    before = Path.cwd(), list(sys.path)
    os.chdir(folder)
    sys.path.insert(0, str(folder))  # as for train.py, beside which a recipe's own modules lie
    try:
        with registry.forget_modules_of(folder):  # another recipe may have modules and plugins of the same names
            return [problem for path in paths for problem in _problems(path)]
    finally:
        os.chdir(before[0])
        sys.path[:] = before[1]


def _problems(path: Path) -> list[str]:
    problems = []
    with tempfile.TemporaryDirectory() as temporary:
        try:
            run = command_line.parse([str(path), f"--output_folder={temporary}"])
            resolved = options.resolve(run)
        except SpeechtoolsError as error:
            return [str(error) if str(path) in str(error) else f"{path}: {error}"]
        if problem := options.unused_corpus_options(run, trees.plain(resolved)):
            problems.append(problem)
        tree = ruamel.yaml.YAML().load(resolved)
        for key, value in tree.items():
            tag = trees.tag(value)
            if tag.startswith("!apply:") and not tag.startswith(options.APPLIED):
                continue
            text = trees.dump({key: value})
            try:
                options.build(text, f"{key} in {path}")
            except SpeechtoolsError as error:
                problems.append(str(error) if str(path) in str(error) else f"{key} in {path}: {error}")
    return problems
