"""What a process of ours writes to stderr."""

import re
import subprocess
import sys

LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "


def stderr_of(program: str) -> list[str]:
    """Run a program in a process of its own: a test must not set up the logs of pytest's."""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_a_record_is_one_plain_line_on_stderr() -> None:
    (line,) = stderr_of(
        "import logging; from streamapp.logs import configure_logs; configure_logs('INFO');"
        "logging.getLogger('streamapp.agents.download').warning('late by %d s', 3)"
    )
    assert re.fullmatch(LINE + r"WARNING streamapp\.agents\.download: late by 3 s", line)


def test_configuring_twice_does_not_double_the_lines() -> None:
    lines = stderr_of(
        "import logging; from streamapp.logs import configure_logs;"
        "configure_logs('INFO'); configure_logs('INFO'); logging.getLogger('streamapp').info('once')"
    )
    assert len(lines) == 1


def test_debug_is_for_our_own_loggers() -> None:
    lines = stderr_of(
        "import logging; from streamapp.logs import configure_logs; configure_logs('DEBUG');"
        "logging.getLogger('streamapp.x').debug('ours'); logging.getLogger('aiokafka').debug('theirs')"
    )
    assert [line.rpartition(" ")[2] for line in lines] == ["ours"]


def test_importing_sets_up_nothing() -> None:
    assert stderr_of("import logging, streamapp.logs; assert not logging.getLogger().handlers") == []
