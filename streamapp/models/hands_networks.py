"""MediaPipe's two hand networks, ready to run: LiteRT on a CPU, onnxruntime on a GPU.

LiteRT takes 5 ms of CPU for a palm input where onnxruntime takes 11 (landmarks: 5 and 5), and neither gains
from batches (`benchmarks/middle_finger.py`): so on a CPU the inputs of a batch run one by one, side by side
on single threads. A GPU needs batches, for which the networks are rewritten to ONNX as they are loaded.
"""

from collections.abc import Sequence
from concurrent.futures import Executor, wait
from pathlib import Path
from typing import Protocol

import numpy as np

from streamapp.errors import WeightsError
from streamapp.models.hands_geometry import Tensor
from streamapp.models.onnx_session import BatchSessions


class Network(Protocol):
    """A network that answers each input by itself, whatever its neighbours are."""

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Run the network on inputs ``(S, S, 3)`` float32 in [0, 1].

        Returns:
            Its outputs in their order, each ``(len(inputs), ...)`` float32; an empty list for no inputs.
        """
        ...


class LiteRtNetwork:
    """A tflite file on LiteRT, as many inputs at once as there are threads.

    Args:
        path: the tflite file.
        pool: where inputs run side by side; may be shared, and must not be the caller's own thread.
        threads: interpreters. An interpreter is not re-entrant, so each worker has one for itself.

    Raises:
        WeightsError: the file is no network that LiteRT can run.
    """

    def __init__(self, path: Path, *, pool: Executor, threads: int) -> None:
        # Imported here: it costs 0.1 s and 60 MB, which a worker on a GPU or without MFD need not pay.
        from ai_edge_litert.interpreter import Interpreter

        self._pool = pool
        try:
            self._interpreters = [Interpreter(str(path), num_threads=1) for _ in range(threads)]
            for interpreter in self._interpreters:
                interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as exc:
            raise WeightsError(f"The network at {path} can't be loaded by LiteRT: {exc}") from exc
        (self._input,) = (detail["index"] for detail in self._interpreters[0].get_input_details())
        self._outputs = [detail["index"] for detail in self._interpreters[0].get_output_details()]

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """See `Network`."""
        workers = min(len(self._interpreters), len(inputs))
        if workers <= 1:
            return _stack([self._run(0, one) for one in inputs])
        answers: list[list[Tensor]] = [[]] * len(inputs)
        shares = [
            self._pool.submit(self._run_share, worker, inputs[worker::workers]) for worker in range(workers)
        ]
        # All of them, before one raises: the next call has the same interpreters.
        wait(shares)
        for worker, share in enumerate(shares):
            answers[worker::workers] = share.result()
        return _stack(answers)

    def _run_share(self, worker: int, share: Sequence[Tensor]) -> list[list[Tensor]]:
        return [self._run(worker, one) for one in share]

    def _run(self, worker: int, one: Tensor) -> list[Tensor]:
        interpreter = self._interpreters[worker]
        interpreter.set_tensor(self._input, one[np.newaxis])
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._outputs]


class OnnxNetwork:
    """A network rewritten by `tflite_to_onnx`, on onnxruntime in batches.

    Args:
        content: of the ONNX file.
        what: the network in words, for messages.
        device: ``cpu``, ``cuda`` or ``cuda:<index>``.
        threads: CPU threads of one run.
        batch_sizes: ascending; inputs are filled up to the next one, because onnxruntime's memory arena
            grows with every new size, and a GPU's first run of a new size is slow.

    Raises:
        SettingsError: the device can't be had.
        WeightsError: onnxruntime can't run the network.
    """

    def __init__(
        self, content: bytes, *, what: str, device: str, threads: int, batch_sizes: Sequence[int]
    ) -> None:
        self._batch_sizes = tuple(batch_sizes)
        self._sessions = BatchSessions(
            content, what=what, threads=threads, device=device, batch_sizes=batch_sizes
        )

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """See `Network`."""
        largest = self._batch_sizes[-1]
        chunks = [self._run(inputs[start : start + largest]) for start in range(0, len(inputs), largest)]
        return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]

    def _run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        size = next(size for size in self._batch_sizes if size >= len(inputs))
        batch = np.zeros((size, *inputs[0].shape), np.float32)
        np.stack(inputs, out=batch[: len(inputs)])
        return [output[: len(inputs)] for output in self._sessions.run(batch)]


def _stack(answers: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """From one answer per input to one array per output."""
    return [np.concatenate(outputs) for outputs in zip(*answers, strict=True)]
