"""A tiny CLIP, trained on emoji art and names: fetch → build → train → evaluate → ship.

Run it as ``python -m training.tiny_clip --help`` from the repository's root.
"""
