"""Measures of degraded speech against its clean reference: PESQ and others, and labels of whole corpora."""
