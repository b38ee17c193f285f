"""What a decoder process decodes with: the decoder, and all that it would load on first use."""

from collections.abc import Callable
from importlib import import_module

from PIL import AvifImagePlugin, Image

from streamapp.media import Picture
from streamapp.media.decode import decode
from streamapp.media.limits import Limits

# Imported on first use, the last by PyAV itself. A test decodes every format to show that none is missing.
_ON_FIRST_USE = ("streamapp.media.heif", "streamapp.media.video", "av.subtitles.stream")


def load() -> Callable[[bytes, Limits], Picture]:
    """`decode`, which from now on needs no file of its own."""
    for module in _ON_FIRST_USE:
        import_module(module)
    Image.init()
    # By default there is one for each core, and each takes address space.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    return decode
