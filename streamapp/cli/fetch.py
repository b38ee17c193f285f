"""`streamapp fetch`: what the downloader and the decoder do with a URL, step by step."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from streamapp.cli.rows import printable
from streamapp.errors import FetchError, PictureError, StreamappError
from streamapp.fetch.downloader import Download, Downloader
from streamapp.fetch.inline import is_inline, name_of, read_inline
from streamapp.fetch.steps import Observer, Step, StepKind
from streamapp.local.display import make_console
from streamapp.logs import configure_logs
from streamapp.media import Picture
from streamapp.media.sandbox.pool import DecoderPool
from streamapp.obtain import Obtained, PictureSource
from streamapp.reasons import Status
from streamapp.settings import Settings, export_aws_variables, load_settings_with_origins

MAX_WIDTH = 100
_MOST_FRAMES_SHOWN = 12
_STYLES: dict[str, str] = {StepKind.BLOCKED: "red", StepKind.RETRY: "yellow"}

Show = Callable[[float, str, str], None]
"""Shows one line: seconds, what it is about, the text."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of one URL.

    Attributes:
        download: None where the file could not be had.
        error: why there is no picture; None where there is one.
    """

    url: str
    steps: tuple[Step, ...]
    download: Download | None = None
    picture: Picture | None = None
    decode_s: float = 0.0
    error: PictureError | None = None

    @property
    def status(self) -> Status:
        """The STATUS that the models of a row would have."""
        return self.error.reason.status if self.error is not None else Status.PREDICTED


@click.command(
    "fetch",
    epilog="""\b
Examples:
  streamapp fetch https://example.com/a.png
  streamapp fetch https://example.com/a.png --output a.png
  streamapp fetch s3://pictures/users/a.png data:image/gif;base64,R0lGODlh --json | jq .reason
  STREAMAPP_ALLOW_PRIVATE_HOSTS=127.0.0.1 streamapp fetch http://127.0.0.1:8000/a.png
""",
)
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each URL, its steps included.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the file's bytes here, whatever they are; for one URL.",
)
def command(urls: tuple[str, ...], as_json: bool, output: Path | None) -> None:
    """Follow URLs as the worker does, hop by hop, and say what a row would say of them.

    Checks, addresses, redirects and retries; then what the bytes are. The settings are the worker's own,
    so its decisions are too. No model is loaded. Exits with 0 if each URL leads to a picture, else with 1.
    """
    if output is not None and len(urls) > 1:
        raise click.UsageError("--output takes the bytes of one URL; give one.")
    loaded = load_settings_with_origins()
    export_aws_variables(loaded)
    configure_logs("WARNING")
    followed = asyncio.run(_follow_all(loaded.settings, urls, as_json))
    if output is not None:
        _write(output, followed[0])
    if any(one.error is not None for one in followed):
        raise SystemExit(1)


async def _follow_all(settings: Settings, urls: tuple[str, ...], as_json: bool) -> list[Followed]:
    """Follow one URL after the other; what is shown is shown as it happens."""
    console = make_console()
    console.width = min(console.width, MAX_WIDTH)
    all_followed = []
    async with Downloader(settings) as downloader, _decoder(settings, downloader) as source:
        for url in urls:
            if as_json:
                followed = await _follow(settings, downloader, source, url, lambda *_: None)
                click.echo(json.dumps(_described(followed)))
            else:
                console.print(Text(printable(name_of(url)), "bold", overflow="fold"))
                followed = await _follow(settings, downloader, source, url, _line_printer(console))
                _print_end(console, followed)
            all_followed.append(followed)
    return all_followed


@asynccontextmanager
async def _decoder(settings: Settings, downloader: Downloader) -> AsyncIterator[PictureSource]:
    """The worker's decoding in a process of its own, without models to prepare frames for."""
    cpu = ThreadPoolExecutor(1, thread_name_prefix="cpu")
    decoders = DecoderPool.from_settings(settings, decoders=1)
    try:
        with decoders:
            # Its start shall not be counted as decoding.
            await asyncio.get_running_loop().run_in_executor(cpu, decoders.wait_until_ready)
            yield PictureSource(downloader, cpu, decoders.decode, lambda frames: ())
    finally:
        cpu.shutdown(wait=False, cancel_futures=True)


async def _follow(
    settings: Settings, downloader: Downloader, source: PictureSource, url: str, show: Show
) -> Followed:
    """Fetch and decode one URL, and show each step."""
    steps: list[Step] = []

    def observe(step: Step) -> None:
        steps.append(step)
        show(step.seconds, step.kind, step.message)

    started_s = time.monotonic()
    try:
        download = await _download(settings, downloader, url, observe)
    except FetchError as exc:
        if not steps or steps[-1].kind is not StepKind.BLOCKED:
            show(time.monotonic() - started_s, "blocked", str(exc))
        return Followed(name_of(url), tuple(steps), error=exc)
    show(time.monotonic() - started_s, "file", _file_text(download))
    obtained = await source.decode(download.content)
    show(time.monotonic() - started_s, "decode", _decode_text(obtained))
    return Followed(name_of(url), tuple(steps), download, obtained.picture, obtained.decode_s, obtained.error)


async def _download(settings: Settings, downloader: Downloader, url: str, observe: Observer) -> Download:
    if not is_inline(url):
        return await downloader.fetch(url, observe=observe)
    started_s = time.monotonic()
    content = await read_inline(url, settings.max_download_bytes)
    return Download(content, name_of(url), attempts=0, fetch_s=time.monotonic() - started_s)


def _file_text(download: Download) -> str:
    size = f"{len(download.content):,} byte{'' if len(download.content) == 1 else 's'}"
    if not download.attempts:
        return size
    attempts = f"{download.attempts} attempt{'' if download.attempts == 1 else 's'}"
    return f"{size} in {download.fetch_s:.3f} s and {attempts}, from {download.url}"


def _decode_text(obtained: Obtained) -> str:
    picture = obtained.picture
    if picture is None:
        return str(obtained.error)
    count = len(picture.frames)
    shown = [f"{frame.index} at {frame.time_s:.2f} s" for frame in picture.frames[:_MOST_FRAMES_SHOWN]]
    more = [f"{count - len(shown)} more"] if count > len(shown) else []
    text = f"{picture.media_type}, {picture.width_px} x {picture.height_px} px, "
    text += f"key frame{'' if count == 1 else 's'} " + ", ".join(shown + more)
    return text if picture.frames_complete else f"{text}; a limit cut the look at it short"


def _line_printer(console: Console) -> Show:
    def show(seconds: float, kind: str, message: str) -> None:
        head = Text.assemble((f"{seconds:9.3f} s  ", "dim"), (f"{kind:8}  ", _STYLES.get(kind, "cyan")))
        # Text, never markup, and without control characters: servers and users choose what it says.
        lines = Text(printable(message)).wrap(console, console.width - len(head), overflow="fold")
        for line in lines:
            line.rstrip()
            console.print(Text.assemble(head, line))
            head = Text(" " * len(head))

    return show


def _print_end(console: Console, followed: Followed) -> None:
    """The last line: what a row would say."""
    if followed.error is None:
        head, sentence = Text("STATUS 0", "bold green"), "A picture; the models would look at it."
    else:
        reason = followed.error.reason
        head, sentence = Text(f"STATUS {reason.status:d} {reason}", "bold red"), reason.sentence
    console.print(Text.assemble("  ", head, "  ", sentence))
    console.print()


def _described(followed: Followed) -> dict[str, Any]:
    download, picture, error = followed.download, followed.picture, followed.error
    return {
        "url": followed.url,
        "steps": [asdict(step) | {"seconds": round(step.seconds, 4)} for step in followed.steps],
        "download": download
        and {
            "url": download.url,
            "bytes": len(download.content),
            "attempts": download.attempts,
            "seconds": round(download.fetch_s, 3),
        },
        "picture": picture
        and {
            "media_type": picture.media_type,
            "sha256": picture.sha256,
            "width_px": picture.width_px,
            "height_px": picture.height_px,
            "frames": [{"index": frame.index, "time_s": frame.time_s} for frame in picture.frames],
            "frames_complete": picture.frames_complete,
            "seconds": round(followed.decode_s, 3),
        },
        "status": int(followed.status),
        "reason": error and error.reason,
        "message": error and str(error),
    }


def _write(output: Path, followed: Followed) -> None:
    if followed.download is None:
        click.echo(f"{output} is not written: there are no bytes.", err=True)
        return
    try:
        output.write_bytes(followed.download.content)
    except OSError as exc:
        raise StreamappError(f"{output} can't be written: {exc.strerror}.") from exc
