"""Classes that are imported when they are used."""

from collections.abc import Callable
from typing import Any


class StandIn:
    """Stands for a class whose module takes long to import, such as torch does.

    The class is imported when an attribute is used, an object is made, or a type is checked. ``from_onnx``, which needs
    no torch, is called without it.

    Parameters
    ----------
    name : str
        Name of the class.
    load : callable
        Imports the class, and returns it.
    from_onnx : callable
        What ``from_onnx`` of the class does.

    Examples
    --------
    >>> import decimal
    >>> number = StandIn("Decimal", lambda: decimal.Decimal, lambda path: path)
    >>> number.from_onnx("q.onnx"), isinstance(number("0.5"), number)
    ('q.onnx', True)
    """

    from_onnx: Callable[..., Any]

    def __init__(self, name: str, load: Callable[[], type], from_onnx: Callable[..., Any]):
        vars(self).update(_name=name, _load=load, from_onnx=from_onnx)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_load"](), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(vars(self)["_load"](), name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make an object of the class."""
        return vars(self)["_load"]()(*args, **kwargs)

    def __mro_entries__(self, bases: tuple) -> tuple[type]:
        return (vars(self)["_load"](),)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, vars(self)["_load"]())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, vars(self)["_load"]())

    def __or__(self, other: Any) -> Any:
        return vars(self)["_load"]() | other

    def __ror__(self, other: Any) -> Any:
        return other | vars(self)["_load"]()

    def __repr__(self) -> str:
        return f"<{vars(self)['_name']}, imported when it is used>"
