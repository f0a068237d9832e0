"""Speech quality without a reference: the networks, their data and evaluation, and the pretrained interface."""

__all__ = ["QualityBLSTM", "frame_weight", "quality_objective"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from speechtools.quality import net  # late, so that the contract of the kind can be read without torch

    return getattr(net, name)
