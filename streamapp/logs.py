"""How streamapp logs: one handler, one line per record, on stderr. Importing this changes nothing."""

import logging
import logging.config
from typing import Any

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def logging_config(level: str) -> dict[str, Any]:
    """The `logging.config.dictConfig` of a process of ours, for Faust to apply or for `configure_logs`.

    Args:
        level: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``. DEBUG is for streamapp's own loggers; the
            libraries stay at INFO, for theirs would bury ours.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": FORMAT}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "plain"}
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
