"""Speech enhancement by masks: the network, its data, its evaluation and the pretrained interface."""

from speechtools.enhancement.net import EnhancerBLSTM, enhancement_objective, ideal_ratio_mask, phase_sensitive_mask

__all__ = ["EnhancerBLSTM", "enhancement_objective", "ideal_ratio_mask", "phase_sensitive_mask"]
