"""What files can do to a decoder process, done to real ones: the worker gets an answer each time."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from process_tree import eventually, is_gone, state_of

from streamapp.errors import MediaError, StreamappError
from streamapp.media.limits import Limits
from streamapp.media.sandbox.pool import DecoderPool
from streamapp.reasons import Reason

LIMITS = Limits(frame_side_px=64, max_key_frames=8)
OBEY = "sandbox_decoders:load"
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the address space")


def pool_of(
    decoders: int = 1, *, timeout_s: float = 30, memory_mb: int = 512, loader: str = OBEY
) -> DecoderPool:
    return DecoderPool(LIMITS, decoders=decoders, timeout_s=timeout_s, memory_mb=memory_mb, loader=loader)


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    """One decoder, so that every file meets what the one before has left."""
    with pool_of() as opened:
        yield opened


@pytest.fixture(scope="module")
def hasty() -> Iterator[DecoderPool]:
    """One decoder with next to no time for a file."""
    with pool_of(timeout_s=0.5) as opened:
        yield opened


def refusal(pool: DecoderPool, file: str) -> tuple[Reason, str]:
    with pytest.raises(MediaError) as caught:
        pool.decode(file.encode())
    return caught.value.reason, str(caught.value)


def answer(pool: DecoderPool, file: str) -> object:
    """What the process tells of itself, in the message of a refusal."""
    return json.loads(refusal(pool, file)[1])


def grey_of(pool: DecoderPool, level: int) -> int:
    (frame,) = pool.decode(f"grey {level}".encode()).frames
    assert frame.pixels.min() == frame.pixels.max()
    return int(frame.pixels[0, 0, 0])


def test_a_picture_comes_with_the_workers_own_digest_of_the_file(pool: DecoderPool) -> None:
    picture = pool.decode(b"grey 90")

    assert picture.sha256 == hashlib.sha256(b"grey 90").hexdigest()
    assert picture.size_bytes == 7
    assert picture.frames[0].pixels.shape == (4, 4, 3)
    assert picture.frames[0].pixels.flags.writeable and picture.frames[0].pixels.flags.c_contiguous


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("segfault", "ended by SIGSEGV"),
        ("signal SIGKILL", "ended by SIGKILL"),
        ("signal SIGABRT", "ended by SIGABRT"),
        ("exit 3", "ended with exit code 3"),
        ("half-an-answer", "ended with exit code 0"),
    ],
)
def test_a_crash_is_the_files_reason_and_the_next_file_finds_a_new_decoder(
    pool: DecoderPool, file: str, said: str
) -> None:
    before = answer(pool, "pid")

    reason, message = refusal(pool, file)

    assert reason is Reason.DECODER_CRASHED
    assert said in message
    assert grey_of(pool, 90) == 90
    assert answer(pool, "pid") != before
    assert len(pool.pids) == 1


@pytest.mark.parametrize("file", ["loop", "stuck", "drip"])
def test_a_decoder_is_killed_at_the_deadline_whatever_it_does(hasty: DecoderPool, file: str) -> None:
    (before,) = hasty.pids
    restarts = hasty.restarts

    assert refusal(hasty, file) == (Reason.DECODE_TIMEOUT, "Decoding was stopped after 0.5 s.")
    assert hasty.restarts == restarts + 1
    assert is_gone(before)
    assert grey_of(hasty, 13) == 13


@LINUX_ONLY
@pytest.mark.parametrize("file", [f"allocate {10 * 2**30}", "fill-memory"])
def test_a_file_that_needs_too_much_memory_is_refused_and_its_decoder_replaced(
    pool: DecoderPool, file: str
) -> None:
    before = answer(pool, "pid")

    assert refusal(pool, file) == (Reason.DECODE_MEMORY, "512 MB are not enough.")
    assert grey_of(pool, 13) == 13
    assert answer(pool, "pid") != before


@pytest.mark.parametrize(
    "file",
    [
        "say " + (b"\xff" * 8).hex(),
        "say " + (2**20 + 1).to_bytes(8, "big").hex(),
        "say " + ((4).to_bytes(8, "big") + b"{[[[").hex(),
        "say " + ((10**5).to_bytes(8, "big") + b"[" * 10**5).hex(),
        "say " + ((2).to_bytes(8, "big") + b"{}").hex(),
        "say " + ((16).to_bytes(8, "big") + b'{"type":"Ready"}').hex(),
        "many-frames 9",
        "many-frames 0",
        "large-frame 65",
        "large-frame 0",
        "channels 4",
        "media-type text/html",
        "claim width_px=-5",
        "claim height_px=0",
        "claim width_px=1" + "0" * 400,
        "claim index=-1",
        "claim time_s=-1e300",
        "claim scale=0",
        "claim scale=1e308",
        "claim origin_px=[0.0,-1.0]",
        # What a decoder can't know of: this one would be STATUS 403.
        "reason rate_limited",
        "reason model_raised",
    ],
)
def test_an_answer_that_breaks_the_protocol_or_the_limits_is_not_believed(
    pool: DecoderPool, file: str
) -> None:
    reason, message = refusal(pool, file)

    assert reason is Reason.DECODER_CRASHED
    assert message.startswith("The decoder's answer can't be used: ")
    assert len(message) <= 200
    assert grey_of(pool, 13) == 13


def test_a_decoder_that_hangs_up_and_runs_on_is_killed(pool: DecoderPool) -> None:
    (before,) = pool.pids

    assert refusal(pool, "hang-up") == (Reason.DECODER_CRASHED, "The decoder closed its connection.")
    assert is_gone(before)


def test_what_the_decoder_says_of_a_file_comes_through(pool: DecoderPool) -> None:
    assert refusal(pool, "refuse no frame") == (Reason.NO_KEY_FRAME, "no frame")
    assert refusal(pool, "raise at me") == (Reason.DECODER_CRASHED, "The decoder raised TypeError: at me")
    assert len(refusal(pool, "refuse " + "x" * 5000)[1]) == 1000


def test_what_the_decoder_says_is_one_line_of_text(pool: DecoderPool) -> None:
    said = "refuse a\nb\r\t\x1b[31mc\u2028\u202e\0"
    assert refusal(pool, said)[1] == "a b \ufffd[31mc \ufffd\ufffd"
    unknown = b'{"type":"Decoded","a\\nb":1}'
    message = refusal(pool, "say " + (len(unknown).to_bytes(8, "big") + unknown).hex())[1]
    assert message.isprintable()


def test_what_a_library_prints_does_not_get_into_the_answers(pool: DecoderPool) -> None:
    assert pool.decode(b"chatter").frames[0].pixels[0, 0, 0] == 7
    assert grey_of(pool, 13) == 13


def test_neighbours_of_bad_files_get_their_own_answers() -> None:
    bad = ["segfault", "exit 1", "say " + (b"\xff" * 8).hex(), "raise at me"]
    files = [bad[n // 5 % len(bad)] if n % 5 == 4 else f"grey {n}" for n in range(20)]

    def outcome(file: str) -> str:
        try:
            return f"grey {pool.decode(file.encode()).frames[0].pixels[0, 0, 0]}"
        except MediaError as exc:
            return exc.reason

    with pool_of(2) as pool, ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(outcome, files))
        left = len(pool.pids)

    assert outcomes == [file if file.startswith("grey") else Reason.DECODER_CRASHED for file in files]
    assert left == 2


def test_a_decoder_that_died_while_idle_costs_no_file_its_answer(pool: DecoderPool) -> None:
    grey_of(pool, 1)
    (idle,) = pool.pids
    os.kill(idle, signal.SIGKILL)
    assert eventually(lambda: is_gone(idle))

    assert grey_of(pool, 13) == 13


def test_the_signals_that_end_a_worker_leave_its_decoders_alone(pool: DecoderPool) -> None:
    before = answer(pool, "pid")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(int(str(before)), number)

    assert answer(pool, "pid") == before


def test_a_decoder_can_open_no_file_and_no_connection(pool: DecoderPool) -> None:
    assert answer(pool, "open") == ["EMFILE"] * 4
    assert refusal(pool, "open-tacitly") == (
        Reason.DECODER_CRASHED,
        "The decoder wanted to open something: The file is broken.",
    )


def test_a_decoder_has_nothing_of_the_workers_environment_that_it_does_not_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "STREAMAPP_SASL_PASSWORD", "HF_TOKEN", "HOME", "ANYTHING"):
        monkeypatch.setenv(name, "secret")
    with pool_of() as pool:
        environment = answer(pool, "environment")

    assert isinstance(environment, dict)
    assert "secret" not in environment.values()
    assert {name for name in environment if not name.startswith(("LC_", "MALLOC_", "PYTHON"))} <= {
        "DYLD_LIBRARY_PATH",
        "LANG",
        "LD_LIBRARY_PATH",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
    }


def test_a_decoder_imports_no_heavy_library() -> None:
    script = (
        "import sys, streamapp.media.sandbox.child, streamapp.media.sandbox.decoder as decoder;"
        "decoder.load(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    heavy = {"aiohttp", "asyncio", "boto3", "cv2", "faust", "onnxruntime", "pydantic", "torch"}
    assert heavy & set(done.stdout.split()) == set()


def test_a_decoder_that_can_not_start_is_said_at_the_start_with_its_last_words() -> None:
    said = "No module named 'no_such_module'"
    with pool_of(2, loader="no_such_module:load") as pool, pytest.raises(StreamappError, match=said):
        pool.wait_until_ready()


@LINUX_ONLY
def test_memory_that_is_too_little_for_the_decoder_itself_is_said_at_the_start() -> None:
    said = "DECODE_MEMORY_MB is 200: too little"
    with pool_of(memory_mb=200) as pool, pytest.raises(StreamappError, match=said):
        pool.wait_until_ready()


def test_a_decoder_that_can_not_be_executed_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(StreamappError, match="can't be started"), pool_of():
        pass


def test_a_decoder_that_can_not_be_replaced_is_no_files_fault_and_is_tried_again(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.wait_until_ready()
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/no/such/python")
        assert refusal(pool, "segfault")[0] is Reason.DECODER_CRASHED
        for _ in range(2):
            with pytest.raises(StreamappError, match="can't be started") as caught:
                pool.decode(b"grey 1")
            assert not isinstance(caught.value, MediaError)

    assert grey_of(pool, 13) == 13


def test_closing_ends_idle_and_busy_decoders_and_a_closed_pool_takes_no_file() -> None:
    with pool_of(3, timeout_s=600) as pool, ThreadPoolExecutor(1) as threads:
        pool.wait_until_ready()
        pids = pool.pids
        busy = threads.submit(pool.decode, b"loop")
        assert eventually(busy.running)

        pool.close()
        pool.close()

        error = busy.exception(timeout=30)
        assert isinstance(error, StreamappError) and not isinstance(error, MediaError)
        assert [pid for pid in pids if not is_gone(pid)] == []
        assert pool.pids == set()
        with pytest.raises(StreamappError, match="closed"):
            pool.decode(b"grey 1")


OWNER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from streamapp.media.limits import Limits
from streamapp.media.sandbox.pool import DecoderPool

with DecoderPool(Limits(), decoders=3, timeout_s=1.5, memory_mb=512, loader="sandbox_decoders:load") as pool:
    pool.wait_until_ready()
    print(*pool.pids, flush=True)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(pool.decode, [b"loop", b"stuck"]))
"""


STOPPED = """
import sys
from streamapp.media.limits import Limits
from streamapp.media.sandbox.pool import DecoderPool

with DecoderPool(
    Limits(), decoders=1, timeout_s=1.0, memory_mb=512, loader="sandbox_decoders:load"
) as pool:
    pool.wait_until_ready()
    print(*pool.pids, flush=True)
    (frame,) = pool.decode(b"late 0.5 1280").frames
    print(frame.pixels.shape, flush=True)
"""


@LINUX_ONLY
def test_a_worker_that_was_stopped_longer_than_a_file_may_take_gets_its_picture() -> None:
    """The answer is larger than what the socket holds, so that the decoder waits with the rest of it."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, text=True, env=environment_of_tests()
    ) as owner:
        assert owner.stdout is not None
        (pid,) = (int(pid) for pid in owner.stdout.readline().split())
        assert eventually(lambda: state_of(owner.pid) == "S")
        owner.send_signal(signal.SIGSTOP)
        # Longer than the file's time and the alarm's grace.
        time.sleep(3)
        before = state_of(pid)
        owner.send_signal(signal.SIGCONT)
        said = owner.stdout.read()

    assert before == "S"
    assert said == "(1280, 1280, 3)\n"


@LINUX_ONLY
def test_no_descriptor_and_no_process_is_left_of_decoders_that_were_replaced(pool: DecoderPool) -> None:
    def left() -> tuple[int, int]:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return len(os.listdir("/proc/self/fd")), len(children)

    grey_of(pool, 1)
    before = left()
    for file in ["exit 1", "signal SIGKILL", "hang-up"] * 3:
        refusal(pool, file)
    grey_of(pool, 1)

    assert left() == before


def environment_of_tests() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}


def test_no_decoder_outlives_a_worker_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, env=environment_of_tests()
    ) as owner:
        assert owner.stdout is not None
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        owner.kill()

    assert len(pids) == 3
    try:
        assert eventually(lambda: all(is_gone(pid) for pid in pids))
    finally:
        for pid in pids:
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)
