"""What a process of ours writes to stderr."""

import json
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


def json_lines_of(*calls: str) -> list[dict[str, object]]:
    program = (
        "import logging, logging.config; from streamapp.logs import logging_config;"
        "from streamapp.records import SourcePosition;"
        "logging.config.dictConfig(logging_config('INFO', 'json'));"
        "log = logging.getLogger('streamapp.x')\n"
    )
    return [json.loads(line) for line in stderr_of(program + "\n".join(calls))]


def test_a_json_record_is_one_object_and_says_which_event_it_is_about() -> None:
    (entry,) = json_lines_of(
        "log.warning('%s is a dead letter: %s', SourcePosition('modify_user', 3, 41210), 'no_user_id')"
    )

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", str(entry.pop("time")))
    assert entry == {
        "level": "WARNING",
        "logger": "streamapp.x",
        "message": "modify_user[3]@41210 is a dead letter: no_user_id",
        "topic": "modify_user",
        "partition": 3,
        "offset": 41210,
    }


def test_what_strangers_send_does_not_break_a_json_line() -> None:
    (entry,) = json_lines_of(r"log.info('%s', 'a\nb\u2028\ud800\x1b[31m')")

    assert entry["message"] == "a\nb\u2028\ud800\x1b[31m"
    assert "topic" not in entry


def test_a_json_record_has_its_exception() -> None:
    (entry,) = json_lines_of(
        "try: 1 / 0", "except ZeroDivisionError: log.exception('in %(place)s', {'place': 'a test'})"
    )

    assert entry["message"] == "in a test"
    assert "ZeroDivisionError: division by zero" in str(entry["exception"])
