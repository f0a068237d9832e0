"""The devices of this machine that torch computes on."""

import torch

from speechtools.core.errors import ConfigError


def devices() -> list[str]:
    """Names of the devices of this machine: the CPU and its GPUs.

    >>> "cpu" in devices()
    True
    """
    names = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    return [*names, "mps"] if torch.backends.mps.is_available() else names


def check_device(device: object, option: str = "device") -> str:
    """Return the name of a device; ``cuda`` becomes the current GPU, such as ``cuda:0``.

    Parameters
    ----------
    device : str or torch.device
    option : str
        Name of the option, for the message.

    Raises
    ------
    ConfigError
        This machine does not have the device, or it cannot compute.

    Examples
    --------
    >>> check_device(torch.device("cpu"))
    'cpu'
    """
    name, known = str(device), devices()
    try:
        parsed = torch.device(name)
        torch.zeros(1, device=parsed).item()  # meta tensors have no values
        if parsed.type == "cpu" and parsed.index:
            raise RuntimeError("the CPU is one device")
    except (RuntimeError, AssertionError, ImportError) as error:
        has_type = name.split(":")[0] in {other.split(":")[0] for other in known}
        reason = f": {str(error).splitlines()[0].rstrip('.')}" if has_type else ""
        raise ConfigError(
            f"Cannot compute on {option}={name}{reason}. This machine has {', '.join(known)}; without the option, a "
            "GPU is used if there is one."
        ) from error
    return f"cuda:{torch.cuda.current_device()}" if parsed.type == "cuda" and parsed.index is None else name


#: Precisions of a training, as SpeechBrain names them.
PRECISIONS = ("fp32", "fp16", "bf16")


def check_precision(precision: object, device: object, option: str = "precision") -> None:
    """Raise ConfigError for an unknown precision, and if a device cannot train in bfloat16: a CPU without it.

    Parameters
    ----------
    precision : str
        One of :data:`PRECISIONS`.
    device : str or torch.device
    option : str
        Name of the option, for the message.

    Examples
    --------
    >>> check_precision("fp32", "cpu")
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"Invalid value for {option}: {precision!r} is not one of {', '.join(PRECISIONS)}.")
    on_cpu = torch.device(str(device)).type == "cpu"
    supported = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if precision == "bf16" and on_cpu and not supported:
        raise ConfigError(
            f"{option}=bf16 needs a GPU, or a CPU on which torch computes in bfloat16; this one has no instructions "
            "for it. Leave the option out: the training then computes in float32."
        )
