"""How streamapp logs: one handler, one line per record, on stderr. Importing this changes nothing."""

import json
import logging
import logging.config
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any, Literal

from streamapp.errors import StreamappError
from streamapp.records import SourcePosition

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
REPEAT_AFTER_S = 30.0
# An absent broker makes about ten different records, one that lacks replicas one for each partition.
REPEATS_REMEMBERED = 4096


class RepeatFilter(logging.Filter):
    """Lets the same record of aiokafka through once in 30 s, with a count of those it left out.

    aiokafka says at each try, some forty times a second, that a broker is away or a topic missing. The same
    is the same text, with its topic and partition, and the same exception.
    """

    def __init__(self) -> None:
        super().__init__()
        # Of a handler, which several threads write to.
        self._lock = threading.Lock()
        # Record → when it was let through, in Unix time, and how many were left out since; the oldest first.
        self._seen: OrderedDict[tuple[str, str, str], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        if not record.name.startswith("aiokafka"):
            return True
        try:
            key = (record.name, record.getMessage(), _exception_text(record))
        except Exception:
            # A bad log call: the handler tells of it, and its caller must not be raised to.
            return True
        with self._lock:
            since, left_out = self._seen.get(key, (None, 0))
            if since is not None and 0 <= record.created - since < REPEAT_AFTER_S:
                self._seen[key] = (since, left_out + 1)
                return False
            self._seen[key] = (record.created, 0)
            self._seen.move_to_end(key)
            if len(self._seen) > REPEATS_REMEMBERED:
                self._seen.popitem(last=False)
        if since is not None and left_out:
            record.msg = f"{key[1]} (left out since the last: {left_out})"
            record.args = ()
        return True


class PlainErrorFilter(logging.Filter):
    """Leaves the traceback of an error of ours to DEBUG: its text says all, and fifty lines would bury it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through."""
        is_wanted = logging.getLogger().isEnabledFor(logging.DEBUG)
        if record.exc_info and isinstance(record.exc_info[1], StreamappError) and not is_wanted:
            record.exc_info = record.exc_text = None
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object per record, in ASCII: what a stranger's URL or file brings along can't break a line.

    Keys: ``time`` (UTC, ISO 8601), ``level``, ``logger``, ``message``; ``topic``, ``partition`` and
    ``offset`` where the record is about an event; ``exception`` where it has one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record's object, as one line."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        position = _position(record)
        if position is not None:
            entry |= {"topic": position.topic, "partition": position.partition, "offset": position.offset}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def logging_config(level: str, form: Literal["text", "json"] = "text") -> dict[str, Any]:
    """The `logging.config.dictConfig` of a process of ours, for Faust to apply or for `configure_logs`.

    Args:
        level: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``. DEBUG is for streamapp's own loggers; the
            libraries stay at INFO, for theirs would bury ours.
        form: lines for people, or for a log collector.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"text": {"format": FORMAT}, "json": {"()": JsonFormatter}},
        "filters": {"repeats": {"()": RepeatFilter}, "plain": {"()": PlainErrorFilter}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": form,
                "filters": ["repeats", "plain"],
            }
        },
        # Faust and mode log every service that starts or stops at INFO.
        "loggers": {
            "streamapp": {"level": level},
            "faust": {"level": "WARNING"},
            "mode": {"level": "WARNING"},
        },
        "root": {"level": "INFO" if level == "DEBUG" else level, "handlers": ["stderr"]},
    }


def configure_logs(level: str) -> None:
    """Set up this process's logs; called once, by an entry point that Faust does not set up."""
    logging.config.dictConfig(logging_config(level))


def _exception_text(record: logging.LogRecord) -> str:
    """The exception that the record carries, as one line; empty where it has none."""
    return repr(record.exc_info[1]) if record.exc_info else ""


def _position(record: logging.LogRecord) -> SourcePosition | None:
    """The event that the record is about: the one among its arguments."""
    args = record.args if isinstance(record.args, tuple) else ()
    return next((arg for arg in args if isinstance(arg, SourcePosition)), None)
