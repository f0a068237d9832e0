"""Speech enhancement by masks: the network, its data, its evaluation and the pretrained interface."""

__all__ = ["EnhancerBLSTM", "enhancement_objective", "ideal_ratio_mask", "phase_sensitive_mask"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from speechtools.enhancement import net  # late, so that the contract of the kind can be read without torch

    return getattr(net, name)
