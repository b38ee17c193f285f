"""CoOp: learning the context of a tagger's prompts from a few pictures of each class (arXiv 2109.01134).

Training and its report live here; the worker needs only what it exports.
"""
