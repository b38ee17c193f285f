"""Judges events again that the events topic still holds, beside the live workers and unseen by them."""
