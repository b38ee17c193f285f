"""From the environment and `.env` to `Settings`: precedence, origins, and errors that name the variable."""

import os
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamapp.errors import SettingsError
from streamapp.settings.fields import Conflict, ConflictError, Settings
from streamapp.settings.lookup import Found, bad_names, find
from streamapp.settings.notices import notices_of
from streamapp.settings.old_names import AWS_PREFIX
from streamapp.settings.origins import ARGUMENT, DEFAULT, MASK, Origin, is_secret, show, variable_name
from streamapp.settings.variables import ENV_FILE_VARIABLE, ENVIRONMENT, Place, read_env_file

_AWS_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, and how they came about.

    Attributes:
        origins: field → where its value came from; every field has one.
        notices: sentences that the worker logs once, as warnings.
        aws_variables: the AWS_… variables of the `.env` file, names in upper case.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    notices: tuple[str, ...]
    aws_variables: Mapping[str, str] = field(repr=False)


def load_settings(
    env: Mapping[str, str] | None = None, env_file: Path | None = None, **overrides: Any
) -> Settings:
    """Read the settings; the only place where streamapp reads the environment.

    The first of these that has a field gives its value: ``overrides``; ``STREAMAPP_<FIELD>`` in the
    environment; the old deployment's name in the environment; ``STREAMAPP_<FIELD>`` in the `.env`
    file; the old name there; the default. Names are matched without regard to case; an empty value of
    an optional setting counts as not set.

    Args:
        env: the environment; None: the process's own.
        env_file: the `.env` file, which must exist; None: the one that ``STREAMAPP_ENV_FILE`` names,
            which must exist too, else ``.env`` in the current folder if there is one.
        overrides: fields of `Settings`.

    Raises:
        SettingsError: unknown names, bad values and settings that conflict, all at once, one per line.
    """
    return load_settings_with_origins(env, env_file, **overrides).settings


def load_settings_with_origins(
    env: Mapping[str, str] | None = None, env_file: Path | None = None, **overrides: Any
) -> LoadedSettings:
    """Do as `load_settings` does, and say where each value came from.

    1. Read the places and refuse unknown names. 2. Find each field's value. 3. Validate. 4. Collect
    what the worker should say.
    """
    # 1.
    environment = Place(ENVIRONMENT, os.environ if env is None else env)
    file, file_problems = _env_file_place(environment, env_file)
    places = (environment, file)
    problems = [*file_problems, *bad_names(environment), *bad_names(file)]
    # 2.
    found = {name: find(name, places) for name in Settings.model_fields if name not in overrides}
    problems += [f.problem for f in found.values() if f is not None and f.problem is not None]
    origins = {name: _origin(name, f) for name, f in found.items()}
    origins |= {name: _argument_origin(name, value) for name, value in overrides.items()}
    # 3.
    texts = {name: f.text for name, f in found.items() if f is not None and f.problem is None}
    settings, findings = _validate({**texts, **overrides})
    problems += [_describe(finding, origins) for finding in findings]
    if settings is None or problems:
        raise SettingsError(_as_message(problems))
    # 4.
    aws = {v.name.upper(): v.value for v in file if v.name.upper().startswith(AWS_PREFIX) and v.value}
    return LoadedSettings(settings, origins, tuple(notices_of(settings, origins, places)), aws)


def export_aws_variables(
    loaded: LoadedSettings, environ: MutableMapping[str, str] | None = None
) -> tuple[str, ...]:
    """Hand the `.env` file's AWS_… variables to the AWS client, through the process's environment.

    The worker's entry point calls this once, before anything talks to AWS. A variable that is there
    already stays as it is, and the credentials go together: where the environment has one of the
    three, the file's are left out, for a key and a token of two sources do not match.

    Returns:
        The names that were set.
    """
    target = os.environ if environ is None else environ
    has_credentials = any(name in target for name in _AWS_CREDENTIALS)
    exported = {
        name: value
        for name, value in loaded.aws_variables.items()
        if name not in target and not (has_credentials and name in _AWS_CREDENTIALS)
    }
    target.update(exported)
    return tuple(exported)


def _env_file_place(environment: Place, env_file: Path | None) -> tuple[Place, list[str]]:
    """The `.env` file's variables, none where there is no file, and what is wrong with the file."""
    variable = environment.get(ENV_FILE_VARIABLE)
    named = variable.value if env_file is None and variable is not None else env_file
    path = Path(os.path.expanduser(named)) if named else Path(".env")
    if not named and not path.is_file():
        return Place(path.name, {}), []
    try:
        return read_env_file(path), []
    except FileNotFoundError:
        problem = f"{path}: no such file, though it was named as the settings' file"
    except (OSError, UnicodeDecodeError) as exc:
        problem = f"{path}: can't be read as the settings' file: {exc}"
    return Place(path.name, {}), [problem]


def _origin(name: str, found: Found | None) -> Origin:
    if found is not None:
        return found.origin
    return Origin(name, DEFAULT, variable_name(name), show(Settings.model_fields[name].default))


def _argument_origin(name: str, value: object) -> Origin:
    return Origin(name, ARGUMENT, name, MASK if is_secret(name) else show(value))


def _validate(values: Mapping[str, Any]) -> tuple[Settings | None, list[Conflict]]:
    """Make the settings, or list everything that is wrong with the values.

    Conflicts between fields are only looked at once each field is fine, hence the second look without
    the fields that are not.
    """
    try:
        return Settings(**values), []
    except ValidationError as exc:
        findings = _findings(exc)
    bad = {name for finding in findings for name in finding.fields}
    try:
        Settings(**{name: value for name, value in values.items() if name not in bad})
    except ValidationError as exc:
        findings += [other for other in _findings(exc) if bad.isdisjoint(other.fields)]
    return None, findings


def _findings(error: ValidationError) -> list[Conflict]:
    findings: list[Conflict] = []
    for details in error.errors(include_url=False, include_input=False):
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, ConflictError):
            findings += cause.conflicts
        else:
            findings.append(Conflict((str(details["loc"][0]),), _sentence(details)))
    return findings


def _sentence(details: ErrorDetails) -> str:
    """Pydantic's message, in this program's words where that is easy."""
    if details["type"] == "extra_forbidden":
        return "no such setting"
    message = details["msg"].removeprefix("Value error, ").replace("Input should", "must", 1)
    return message[:1].lower() + message[1:]


def _describe(finding: Conflict, origins: Mapping[str, Origin]) -> str:
    return f"{' and '.join(origins[name].subject for name in finding.fields)}: {finding.message}"


def _as_message(problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join([f"{len(problems)} problems in the settings:", *problems])
