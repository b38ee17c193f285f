"""From one Pillow image to the pixels that models see: 8 bits, upright, sRGB, opaque, RGB."""

import logging
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from streamapp.media import Pixels
from streamapp.media.exif_orientation import orientation, upright
from streamapp.media.similarity import SIDE_PX

log = logging.getLogger(__name__)

# An ICC profile's colour space → the modes that hold such colours.
_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_BACKGROUND = "white"

# Below libpng's threshold nobody sees it.
_SRGB_GAMMA, _SAME_GAMMA_WITHIN = 0.45455, 0.05


def render(image: Image.Image, side_px: int) -> Pixels:
    """Render the image's current frame.

    1. 8 bits per channel, no palette, a PNG's gamma
    2. scaled down, so that the longer side is at most ``side_px``
    3. upright, by the EXIF orientation
    4. to sRGB, by the ICC profile
    5. on white where it is transparent
    6. RGB

    Scaling comes early because every later step is then done on few pixels. Gamma comes before it: a file
    can be made so that a few bright pixels among many dark ones are all that it shows. White, because that
    is what the product's pages show behind a picture.

    Returns:
        ``(H, W, 3)`` uint8, C-contiguous and writable.

    Raises:
        Exception: whatever Pillow raises on a broken file.
    """
    image.load()
    turn = orientation(image)
    profile = image.info.get("icc_profile")
    image = _eight_bit(image)
    image = _scaled_down(image, side_px)
    image = upright(image, turn)
    if profile:
        image = _to_srgb(image, profile)
    image = _opaque(image)
    # A copy, because an array that looks into Pillow's memory is read-only.
    return np.array(image.convert("RGB"), dtype=np.uint8, order="C")


def look(image: Image.Image) -> Pixels:
    """What the image's current frame looks like from afar, to compare it with other frames of the file.

    Neither upright nor in sRGB: that is the same for all of them.

    Returns:
        ``(64, 64, 3)`` uint8.
    """
    small = _eight_bit(image).resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(_opaque(small).convert("RGB"))


def draft_size(size: tuple[int, int], side_px: int) -> tuple[int, int]:
    """The size to ask of JPEG's draft mode: it decodes no smaller, so the longer side keeps ``side_px``."""
    width, height = size
    longer = max(size)
    if longer <= side_px:
        return size
    return -(-width * side_px // longer), -(-height * side_px // longer)


def _eight_bit(image: Image.Image) -> Image.Image:
    gamma = _gamma(image)
    image = _without_depth(image)
    return image if gamma is None else image.point(_gamma_table(gamma, image.getbands()))


def _gamma(image: Image.Image) -> float | None:
    """A PNG's gamma where viewers obey it and it changes something (PNG, third edition, 11.3.2)."""
    if "icc_profile" in image.info or "srgb" in image.info:
        return None
    gamma = float(image.info.get("gamma") or _SRGB_GAMMA)
    return None if abs(gamma / _SRGB_GAMMA - 1) < _SAME_GAMMA_WITHIN else gamma


def _gamma_table(gamma: float, bands: tuple[str, ...]) -> list[int]:
    exponent = _SRGB_GAMMA / gamma
    colour = [round(255 * (value / 255) ** exponent) for value in range(256)]
    return [entry for band in bands for entry in (range(256) if band == "A" else colour)]


def _without_depth(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255. The upper byte is what it takes of 16-bit RGB, too.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        return _stretched(image)
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _stretched(image: Image.Image) -> Image.Image:
    """Gray values that know no black and no white (a TIFF's), between their least and their greatest.

    Pillow's own conversion clips at 0 and 255: of values up to 1 it would leave a black picture.
    """
    values = np.asarray(image, dtype=np.float64)
    finite = np.isfinite(values)
    low = values.min(where=finite, initial=np.inf)
    width = values.max(where=finite, initial=-np.inf) - low
    if not 0 < width < np.inf:
        return Image.new("L", image.size)
    return Image.fromarray(np.nan_to_num(255 * (values - low) / width, nan=0.0).clip(0, 255).astype(np.uint8))


def _scaled_down(image: Image.Image, side_px: int) -> Image.Image:
    """Scale by boxes of whole pixels to about three times the size, then by a bicubic filter.

    With the gap of 3 that is not told apart from the bicubic filter alone, at a fraction of its time.
    The filter widens with the scale, so that fine patterns do not turn into others. Alpha is
    premultiplied by Pillow meanwhile.
    """
    longer = max(image.size)
    if longer <= side_px:
        return image
    width, height = (max(1, round(length * side_px / longer)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Colours from the profile's space to sRGB; as they are where the profile is broken or does not fit."""
    colours = image.convert("RGB") if image.mode == "RGBA" else image
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if _PROFILE_MODES.get(source.profile.xcolor_space.strip()) != colours.mode:
            return image
        converted = ImageCms.profileToProfile(
            colours, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except Exception as exc:
        log.debug("The ICC profile can't be used: %s", exc)
        return image
    if converted is None:
        return image
    if image.mode == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    background = Image.new("RGBA", image.size, _BACKGROUND)
    return Image.alpha_composite(background, image)
