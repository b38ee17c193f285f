"""What NVIDIA's driver says, asked without torch or onnxruntime."""

import ctypes
from functools import cache


@cache
def device_count() -> int:
    """The CUDA devices that this process may use; 0 where there is no driver, or none that works."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
