"""How torch's CPU threads wait; apart from all that imports torch, because it has to be said before."""

import os


def wait_without_spinning() -> None:
    """Let OpenMP's idle threads sleep; to be called before torch is imported, after which it has no effect.

    By default they spin while they wait, on the cores that decode and prepare. On 2 busy cores that made a
    small CLIP 60 times slower. Whoever has set OMP_WAIT_POLICY keeps what is set.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
