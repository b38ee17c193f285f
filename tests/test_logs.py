"""What a process of ours writes to stderr."""

import json
import logging
import re
import subprocess
import sys

from streamapp.logs import REPEAT_AFTER_S, REPEATS_REMEMBERED, RepeatFilter

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


def test_an_error_of_ours_is_written_without_its_traceback_and_another_with_it() -> None:
    program = (
        "import logging; from streamapp.errors import BrokerError\n"
        "from streamapp.logs import configure_logs; configure_logs('INFO')\n"
        "for error in (BrokerError('no topic'), RuntimeError('a bug')):\n"
        "    try: raise error\n"
        "    except Exception as exc: logging.getLogger('faust').error('Error: %r', exc, exc_info=True)"
    )
    ours, another, *traceback = stderr_of(program)

    assert ours.endswith("faust: Error: BrokerError('no topic')")
    assert another.endswith("faust: Error: RuntimeError('a bug')")
    assert traceback[0].startswith("Traceback")


def record(message: str, at_s: float, name: str = "aiokafka.producer.sender") -> logging.LogRecord:
    made = logging.LogRecord(name, logging.ERROR, __file__, 1, "Error: %s", (message,), None)
    made.created = at_s
    return made


def test_what_aiokafka_says_again_and_again_is_written_every_30_s_with_a_count() -> None:
    repeats = RepeatFilter()
    records = [record("away", at_s=tenth / 10) for tenth in range(700)]
    written = [one.getMessage() for one in records if repeats.filter(one)]

    assert REPEAT_AFTER_S == 30.0
    assert written == [
        "Error: away",
        "Error: away (left out since the last: 299)",
        "Error: away (left out since the last: 299)",
    ]


def test_other_records_and_other_loggers_are_not_held_up_by_a_repeated_one() -> None:
    repeats = RepeatFilter()
    assert repeats.filter(record("away", 0.0))
    assert not repeats.filter(record("away", 1.0))
    assert repeats.filter(record("back", 1.0))
    assert repeats.filter(record("away", 1.0, "aiokafka"))
    assert all(repeats.filter(record("same", 1.0, "streamapp.app")) for _ in range(5))
    # A clock that was set back silences nothing.
    assert repeats.filter(record("away", -5.0))


def test_a_repeated_record_that_came_once_in_30_s_has_no_count() -> None:
    repeats = RepeatFilter()
    again = record("away", 31.0)
    assert repeats.filter(record("away", 0.0)) and repeats.filter(again)

    assert again.getMessage() == "Error: away"


def test_only_so_many_records_are_remembered() -> None:
    repeats = RepeatFilter()
    for number in range(2 * REPEATS_REMEMBERED):
        repeats.filter(record(str(number), 0.0))

    assert len(repeats._seen) == REPEATS_REMEMBERED
    # The newest are.
    assert not repeats.filter(record(str(2 * REPEATS_REMEMBERED - 1), 1.0))
    assert repeats.filter(record("0", 1.0))


def test_one_record_for_each_of_many_partitions_is_no_flood() -> None:
    repeats = RepeatFilter()
    partitions = [f"topic[{number}]: NotEnoughReplicasError" for number in range(1000)]
    written = [repeats.filter(record(text, at_s)) for at_s in (0.0, 0.1, 0.2) for text in partitions]

    assert sum(written) == len(partitions)


def test_the_same_text_with_another_exception_is_another_record() -> None:
    repeats = RepeatFilter()
    for error in (ValueError("one"), ValueError("other")):
        unexpected = record("Unexpected error in sender routine", 0.0)
        unexpected.exc_info = (type(error), error, None)
        assert repeats.filter(unexpected)
        assert not repeats.filter(unexpected)


def test_a_log_call_that_is_wrong_is_not_raised_in_its_caller() -> None:
    lines = stderr_of(
        "import logging, sys; from streamapp.logs import configure_logs; configure_logs('INFO')\n"
        "logging.getLogger('aiokafka.conn').error('%d of %d', 'one'); print('goes on', file=sys.stderr)"
    )
    assert lines[0] == "--- Logging error ---"
    assert lines[-1] == "goes on"


def test_a_process_of_ours_writes_a_repeated_record_once() -> None:
    lines = stderr_of(
        "import logging; from streamapp.logs import configure_logs; configure_logs('INFO')\n"
        "for _ in range(1000): logging.getLogger('aiokafka.conn').error('Unable to connect to %s', 'kafka')"
    )
    assert len(lines) == 1
