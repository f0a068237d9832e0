"""What the plugins of a kind take and return: one sentence with shapes, and laws that every plugin of the kind keeps.

A kind is declared by one file ``contract.py`` beside its plugins, or by any module of yours, which ends in::

    register_kind("my-kind", Contract("build(name)(wavs): …", laws=(law_1, law_2), modules=("my_package.my_plugins",)))

``check`` tests a plugin against the laws of its kind, as ``speechtools check plugin kind/name`` and the tests do.
:mod:`speechtools.core.laws` has functions for laws on tensors. A file with a contract imports torch inside its
functions only, so that listing the kinds is fast.
"""

import contextlib
import inspect
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from speechtools.core.errors import PluginError, SpeechtoolsError
from speechtools.core.registry import build, contract, contracts, find, place, register_kind

__all__ = ["Broken", "Contract", "Law", "Slot", "Subject", "check", "contract", "contracts", "law", "register_kind"]


class Broken(Exception):  # noqa: N818
    """A law does not hold; the message says what was seen. ``check`` turns it into a PluginError."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The plugin under test, and for kinds that read a folder the folder to read.

    Attributes
    ----------
    name : str
        ``kind/name``.
    data_folder : Path, optional
        The folder to read.
    """

    name: str
    data_folder: Path | None = None

    def build(self, **arguments: Any) -> Any:
        """Build the plugin."""
        return build(self.name, **arguments)

    def module(self, **arguments: Any):
        """Build the plugin in evaluation mode.

        Raises
        ------
        Broken
            It is not a ``torch.nn.Module``.
        """
        import torch

        module = self.build(**arguments)
        if not isinstance(module, torch.nn.Module):
            raise Broken(f"build returned a {type(module).__name__} instead of a torch.nn.Module")
        return module.eval()


@dataclass(frozen=True, slots=True)
class Law:
    """A property that every plugin of a kind has.

    Attributes
    ----------
    sentence : str
        The property.
    test : callable
        Takes a :class:`Subject`, and raises :class:`Broken` with what it saw.
    remedy : str
        What to do when it is broken: one sentence.
    applies : callable
        Whether the law can be tested on a subject.
    """

    sentence: str
    test: Callable[[Subject], None]
    remedy: str
    applies: Callable[[Subject], bool] = lambda subject: True


def law(
    sentence: str, remedy: str, applies: Callable[[Subject], bool] = lambda subject: True
) -> Callable[[Callable[[Subject], None]], Law]:
    """Decorator that turns the test of a law into the :class:`Law`."""
    return lambda test: Law(sentence, test, remedy, applies)


class Slot(NamedTuple):
    """A recipe that uses a plugin of the kind, its yaml file, and the option that names the plugin."""

    recipe: str
    yaml: str
    option: str


@dataclass(frozen=True, slots=True)
class Contract:
    """The declaration of a kind.

    Attributes
    ----------
    sentence : str
        How a plugin is built and called, and what it returns, with shapes.
    laws : tuple of Law
        What ``check`` tests, in this order.
    modules : tuple of str
        The modules that register plugins of the kind. They are imported when the kind is first used.
    slot : Slot, optional
        Where ``speechtools new plugin`` says that a plugin of the kind can be used.
    reads_folder : bool
        Whether plugins of the kind read a ``data_folder``, their first parameter. One whose ``data_folder`` has a
        default makes its own data, and is tested in a temporary folder.
    """

    sentence: str
    laws: tuple[Law, ...]
    modules: tuple[str, ...] = ()
    slot: Slot | None = None
    reads_folder: bool = False


def check(name: str, data_folder: str | Path | None = None, report: Callable[[str], None] | None = None) -> list[str]:
    """Test the plugin ``kind/name`` against the contract of its kind.

    Parameters
    ----------
    name : str
        ``kind/name`` of a registered plugin.
    data_folder : str or Path, optional
        For a kind that reads a folder (``corpus``): the folder. Without it, only the laws that need none are tested.
    report : callable, optional
        Called with the sentence of each law that holds, at once.

    Returns
    -------
    list of str
        The sentences of the laws that were tested.

    Raises
    ------
    PluginError
        The plugin is unknown, its kind has no contract, or a law is broken. The message has the plugin, the law, what
        was seen and what to do.

    Examples
    --------
    >>> check("features/magnitude")[0]
    'wavs (batch, samples) give float32 frames (batch, time, size), of one size for any batch'
    """
    plugin = find(name)
    kind = name.split("/")[0]
    kind_contract = contract(kind)
    if data_folder is not None and not kind_contract.reads_folder:
        raise PluginError(f"{name} reads no folder. Remove data_folder={str(data_folder)!r}.")
    passed = []
    with contextlib.ExitStack() as stack:
        if kind_contract.reads_folder and data_folder is None and makes_its_data(name):
            data_folder = stack.enter_context(temporary_folder())
        subject = Subject(name, None if data_folder is None else Path(data_folder))
        for law in kind_contract.laws:
            if not law.applies(subject):
                continue
            try:
                law.test(subject)
            except Exception as error:  # an exception of the plugin breaks the law as well
                is_refusal = isinstance(error, SpeechtoolsError) and not isinstance(error, PluginError)
                if kind_contract.reads_folder and is_refusal:  # the folder is at fault, not the plugin
                    raise PluginError(f"{name} could not be tested: {error}") from error
                result = str(error) if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
                remedy = law.remedy if isinstance(error, Broken) else "The plugin raised this error. Fix it first."
                raise PluginError(
                    f"{name} ({place(plugin)}) breaks a law of the kind {kind!r}: {law.sentence}. "
                    f"Seen: {result.rstrip('.')}. {remedy}"
                ) from error
            passed.append(law.sentence)
            if report is not None:
                report(law.sentence)
    return passed


def needs_data_folder(name: str) -> bool:
    """Whether ``check`` tests all laws of a plugin only with a ``data_folder``."""
    return contract(name.split("/")[0]).reads_folder and not makes_its_data(name)


def makes_its_data(name: str) -> bool:
    """Whether the first parameter of a plugin is a ``data_folder`` with a default."""
    first = first_parameter(name)
    return first is not None and first.name == "data_folder" and first.default is not first.empty


def first_parameter(name: str) -> inspect.Parameter | None:
    """The first parameter of a plugin."""
    return next(iter(inspect.signature(find(name)).parameters.values()), None)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """An empty folder, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="speechtools-check-") as folder:
        yield Path(folder).resolve()
