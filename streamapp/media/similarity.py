"""Structural similarity of two small gray images."""

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from streamapp.media import Pixels

SIDE_PX = 64

Gray = npt.NDArray[np.float64]

_WINDOW_PX = 7
_RANGE = 255.0
_C1 = (0.01 * _RANGE) ** 2
_C2 = (0.03 * _RANGE) ** 2


def thumbnail(pixels: Pixels) -> Gray:
    """The frame as structural similarity sees it: ``(64, 64)`` float64 luma in [0, 255]."""
    small = Image.fromarray(pixels).convert("L").resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64)


def structural_similarity(a: Gray, b: Gray) -> float:
    """Mean structural similarity (SSIM), 1.0 for equal images, about 0 for unrelated ones.

    Wang, Bovik, Sheikh, Simoncelli: "Image Quality Assessment: From Error Visibility to Structural
    Similarity", IEEE Transactions on Image Processing 13(4), 2004, equation 13 with K1 = 0.01 and
    K2 = 0.03. Windows are 7x7 and uniform, without padding; variances are those of a sample.

    Args:
        a, b: ``(H, W)`` float64 in [0, 255], the same shape, at least 7x7.
    """
    window = (_WINDOW_PX, _WINDOW_PX)
    windows_a, windows_b = sliding_window_view(a, window), sliding_window_view(b, window)
    mean_a, mean_b = windows_a.mean((2, 3)), windows_b.mean((2, 3))
    count = _WINDOW_PX**2
    # From a sample's sums: the sum of products less count times the product of means.
    unbiased = count / (count - 1)
    variance_a = unbiased * (np.einsum("ijkl,ijkl->ij", windows_a, windows_a) / count - mean_a**2)
    variance_b = unbiased * (np.einsum("ijkl,ijkl->ij", windows_b, windows_b) / count - mean_b**2)
    covariance = unbiased * (np.einsum("ijkl,ijkl->ij", windows_a, windows_b) / count - mean_a * mean_b)
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    contrast_and_structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return float((luminance * contrast_and_structure).mean())
