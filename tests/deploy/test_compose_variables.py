"""docker-compose.yml's variables: from the shell, from .env, by default."""

import re

import compose_file
import pytest
from compose_file import MissingVariableError, interpolate, load

from streamapp.settings.lookup import bad_names
from streamapp.settings.variables import ENVIRONMENT, Place


def test_what_compose_reads_from_env_stops_no_worker_that_gets_the_same_env() -> None:
    names = set(re.findall(r"\$\{(STREAMAPP_\w+)", compose_file.TEXT))

    assert names
    assert list(bad_names(Place(ENVIRONMENT, dict.fromkeys(names, "")))) == []


def test_worker_and_connect_agree_on_the_results_topic_wherever_its_name_comes_from() -> None:
    for variables in ({}, {"SnowflakeResultsQueue": "old"}, {"STREAMAPP_RESULTS_TOPIC": "new"}):
        services = load(variables)["services"]
        topics = {
            service["environment"]["STREAMAPP_RESULTS_TOPIC"]
            for service in services.values()
            if "STREAMAPP_RESULTS_TOPIC" in service.get("environment", {})
        }
        assert len(topics) == 1
        assert "STREAMAPP_RESULTS_TOPIC" in services["connect"]["environment"]


@pytest.mark.parametrize(
    ("text", "variables", "filled"),
    [
        ("a ${X:-b} c", {}, "a b c"),
        ("${X:-b}", {"X": ""}, "b"),
        ("${X-b}", {"X": ""}, ""),
        ("${X:-${Y:-z}}/w", {}, "z/w"),
        ("${X:-${Y:-z}}/w", {"Y": "y"}, "y/w"),
        ("${X:+yes}${X+set}", {"X": ""}, "set"),
        ("$$X $X", {"X": "1"}, "$X 1"),
    ],
)
def test_variables_are_put_in_as_compose_does(text: str, variables: dict[str, str], filled: str) -> None:
    assert interpolate(text, variables) == filled


def test_a_variable_that_must_be_set_is_missed() -> None:
    with pytest.raises(MissingVariableError, match="X: say which"):
        interpolate("${X:?say which}", {"X": ""})
