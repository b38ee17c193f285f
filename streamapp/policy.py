"""Thresholds and fail-closed rules: what the models' findings mean. Pure values and functions."""
