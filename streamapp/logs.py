"""How streamapp logs: one handler, one line per record, on stderr. Importing this changes nothing."""

import json
import logging
import logging.config
from datetime import UTC, datetime
from typing import Any, Literal

from streamapp.records import SourcePosition

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


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
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": form}
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


def _position(record: logging.LogRecord) -> SourcePosition | None:
    """The event that the record is about: the one among its arguments."""
    args = record.args if isinstance(record.args, tuple) else ()
    return next((arg for arg in args if isinstance(arg, SourcePosition)), None)
