"""Where each setting comes from, what wins, and what is refused."""

import traceback
from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic import ValidationError

from streamapp.errors import SettingsError
from streamapp.settings import Settings, export_aws_variables, load_settings, load_settings_with_origins
from streamapp.settings.old_names import IGNORED, OLD_NAMES, OLD_SETTINGS, WITHOUT_EFFECT

DATA = Path(__file__).parent / "data"
PRESETS = {"cpu": DATA / "old-cpu.env", "gpu": DATA / "old-gpu.env"}

# Field → (what old-cpu.env makes of it, what old-gpu.env does).
FROM_PRESETS = {
    "downloads_in_flight": (20, 100),
    "decode_threads": (1, 2),
    "nudenet_instances": (1, 3),
    "nudenet_threads": (1, 2),
    "nudenet_queue": (10, 50),
    "mfd_instances": (1, 2),
    "mfd_threads": (1, 2),
    "mfd_queue": (10, 40),
    "clip_instances": (1, 2),
    "clip_threads": (1, 1),
    "clip_queue": (10, 60),
    "clip_gpu_share": (0.0, 0.5),
    "events_in_flight": (30, 200),
    "results_topic": ("content_moderation_profile-results_dev", "content_moderation_profile-results_prod"),
    "ai_model_bucket": ("example-ai-models-dev", "example-ai-models-prod"),
}

# DESIGN §6, one name by one: (old name, value, field, expected).
OLD_TABLE = [
    ("DownloadMaxCon", "7", "downloads_in_flight", 7),
    ("DownloadNumReplicas", "3", "decode_threads", 3),
    ("DownloadNumCPUPerReplica", "0.2", "decode_threads", 1),
    ("DownloadNumCPUPerReplica", "2.5", "decode_threads", 3),
    ("NudenetNumReplicas", "5", "nudenet_instances", 5),
    ("MFDNumReplicas", "5", "mfd_instances", 5),
    ("ClipNumReplicas", "5", "clip_instances", 5),
    ("NudenetNumCPUPerReplica", "0.2", "nudenet_threads", 1),
    ("MFDNumCPUPerReplica", "1.2", "mfd_threads", 2),
    ("ClipNumCPUPerReplica", "0", "clip_threads", 1),
    ("ClipNumGPUPerReplica", "0", "clip_gpu_share", 0.0),
    ("ClipNumGPUPerReplica", "0.25", "clip_gpu_share", 0.25),
    ("ClipNumGPUPerReplica", "2", "clip_gpu_share", 1.0),
    ("NudenetMaxCon", "9", "nudenet_queue", 9),
    ("MFDMaxCon", "9", "mfd_queue", 9),
    ("ClipMaxCon", "9", "clip_queue", 9),
    ("ComposedMaxCon", "300", "events_in_flight", 300),
    ("SnowflakeResultsQueue", "rows", "results_topic", "rows"),
    ("AiModelBucket", "models", "ai_model_bucket", "models"),
]

# A value of its own for each setting that has an old name.
NEW_VALUES = {"clip_gpu_share": "0.75", "results_topic": "from_new_name", "ai_model_bucket": "from_new_name"}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tests run in a folder without a `.env`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(env: dict[str, str], **arguments: object) -> str:
    with pytest.raises(SettingsError) as raised:
        load_settings(env, **arguments)  # type: ignore[arg-type]  # overrides of any kind
    return str(raised.value)


# The old deployment's names


def test_the_presets_hold_every_old_name() -> None:
    for preset in PRESETS.values():
        assert set(OLD_NAMES) <= set(dotenv_values(preset, interpolate=False))


def test_the_presets_expectations_cover_every_field_with_an_old_name() -> None:
    assert set(FROM_PRESETS) == {old.field for old in OLD_SETTINGS}


def test_every_old_name_is_tried_alone() -> None:
    assert {name for name, *_ in OLD_TABLE} == {name for old in OLD_SETTINGS for name in old.names}


@pytest.mark.parametrize("field", FROM_PRESETS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_of_the_old_deployment_is_read(preset: str, field: str) -> None:
    expected = FROM_PRESETS[field][list(PRESETS).index(preset)]
    loaded = load_settings_with_origins({}, PRESETS[preset])
    assert getattr(loaded.settings, field) == expected
    assert loaded.origins[field].is_old_name


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_changes_nothing_else(preset: str) -> None:
    settings = load_settings({}, PRESETS[preset])
    assert settings.model_dump(exclude=set(FROM_PRESETS)) == Settings().model_dump(exclude=set(FROM_PRESETS))


@pytest.mark.parametrize(("name", "value", "field", "expected"), OLD_TABLE)
def test_an_old_name_sets_its_field(name: str, value: str, field: str, expected: object) -> None:
    loaded = load_settings_with_origins({name: value})
    assert getattr(loaded.settings, field) == expected
    assert str(loaded.origins[field]) == f"env, old name {name}"


@pytest.mark.parametrize(("name", "value", "field", "expected"), OLD_TABLE)
@pytest.mark.parametrize("change_case", [str.upper, str.lower])
def test_case_does_not_matter_in_old_names(
    change_case: object, name: str, value: str, field: str, expected: object
) -> None:
    assert callable(change_case)
    assert getattr(load_settings({change_case(name): value}), field) == expected


@pytest.mark.parametrize("field", FROM_PRESETS)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_new_name_wins_over_the_old_one(preset: str, field: str) -> None:
    value = NEW_VALUES.get(field, "77")
    text = f"STREAMAPP_{field.upper()}={value}\n"
    env_file = Path("both.env")
    env_file.write_text(PRESETS[preset].read_text() + text)
    loaded = load_settings_with_origins({}, env_file)
    assert str(getattr(loaded.settings, field)) == value
    assert str(loaded.origins[field]) == "both.env"


def test_decode_threads_are_the_product_of_both_names() -> None:
    assert load_settings({"DownloadNumReplicas": "3", "DownloadNumCPUPerReplica": "2"}).decode_threads == 6


def test_a_product_that_is_whole_is_not_rounded_up() -> None:
    # 50 * 0.14 is 7.000000000000001 in binary floating point.
    assert (
        load_settings({"DownloadNumReplicas": "50", "DownloadNumCPUPerReplica": "0.14"}).decode_threads == 7
    )


def test_a_product_may_have_its_factors_in_two_places() -> None:
    Path(".env").write_text("DownloadNumReplicas=2\nDownloadNumCPUPerReplica=3\n")
    assert load_settings({"DownloadNumReplicas": "5"}).decode_threads == 15


def test_names_without_effect_are_said_once() -> None:
    notices = load_settings_with_origins({}, PRESETS["cpu"]).notices
    said = [notice for notice in notices if "without effect" in notice]
    assert len(said) == 1
    assert all(name in said[0] for name in WITHOUT_EFFECT)


def test_the_ray_name_is_ignored_in_silence() -> None:
    assert load_settings_with_origins({IGNORED[0]: "1"}).notices == ()


def test_more_than_one_gpu_per_replica_is_taken_as_one_with_a_notice() -> None:
    (notice,) = load_settings_with_origins({"ClipNumGPUPerReplica": "2"}).notices
    assert "ClipNumGPUPerReplica=2" in notice


# Precedence


def test_each_source_wins_over_the_next() -> None:
    Path(".env").write_text("STREAMAPP_NUDENET_QUEUE=3\nNudenetMaxCon=2\n")
    env = {"STREAMAPP_NUDENET_QUEUE": "5", "NudenetMaxCon": "4"}
    assert load_settings(env, nudenet_queue=6).nudenet_queue == 6
    assert load_settings(env).nudenet_queue == 5
    del env["STREAMAPP_NUDENET_QUEUE"]
    assert load_settings(env).nudenet_queue == 4
    assert load_settings({}).nudenet_queue == 3
    Path(".env").write_text("NudenetMaxCon=2\n")
    assert load_settings({}).nudenet_queue == 2
    Path(".env").unlink()
    assert load_settings({}).nudenet_queue == Settings().nudenet_queue


def test_the_origin_of_each_source_is_told() -> None:
    Path(".env").write_text("STREAMAPP_GROUP=g\nMFDMaxCon=2\n")
    loaded = load_settings_with_origins({"streamapp_web_port": "1", "ClipMaxCon": "4"}, models=("nudenet",))
    told = {field: str(origin) for field, origin in loaded.origins.items()}
    assert told["group"] == ".env"
    assert told["mfd_queue"] == ".env, old name MFDMaxCon"
    assert told["web_port"] == "env"
    assert told["clip_queue"] == "env, old name ClipMaxCon"
    assert told["models"] == "argument"
    assert told["brokers"] == "default"
    assert set(told) == set(Settings.model_fields)


def test_settings_built_directly_do_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMAPP_GROUP", "elsewhere")
    assert Settings().group == "streamapp"
    assert load_settings().group == "elsewhere"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().group = "other"


# The .env file


def test_the_named_file_is_read_in_place_of_the_folders_own() -> None:
    Path(".env").write_text("STREAMAPP_GROUP=own\n")
    Path("named.env").write_text("STREAMAPP_WEB_PORT=1\n")
    settings = load_settings({"STREAMAPP_ENV_FILE": "named.env"})
    assert (settings.group, settings.web_port) == ("streamapp", 1)


@pytest.mark.parametrize("by", ["variable", "argument"])
def test_a_named_file_that_is_missing_is_refused(by: str) -> None:
    if by == "variable":
        message = refusal({"STREAMAPP_ENV_FILE": "gone.env"})
    else:
        message = refusal({}, env_file=Path("gone.env"))
    assert "gone.env: no such file" in message


def test_a_file_that_is_not_text_is_refused() -> None:
    Path(".env").write_bytes(b"STREAMAPP_GROUP=\xff\xfe\n")
    assert ".env: can't be read" in refusal({})


def test_a_byte_order_mark_and_crlf_do_no_harm() -> None:
    Path(".env").write_bytes(b"\xef\xbb\xbfSTREAMAPP_GROUP=g\r\nNudenetMaxCon=2\r\n")
    settings = load_settings({})
    assert (settings.group, settings.nudenet_queue) == ("g", 2)


def test_nothing_is_interpolated() -> None:
    Path(".env").write_text("STREAMAPP_SASL_PASSWORD=a${HOME}$b\n")
    password = load_settings({"HOME": "/root"}).sasl_password
    assert password is not None
    assert password.get_secret_value() == "a${HOME}$b"


def test_a_broken_line_is_noticed_and_left_out() -> None:
    Path(".env").write_text("NudenetMaxCon=2\nnot a setting at all\nMFDMaxCon=3\n")
    loaded = load_settings_with_origins({})
    assert (loaded.settings.nudenet_queue, loaded.settings.mfd_queue) == (2, 3)
    assert any("line 2" in notice for notice in loaded.notices)


def test_a_broken_line_with_a_setting_of_ours_is_refused() -> None:
    Path(".env").write_text("\nSTREAMAPP_ALLOWED_HOSTS cdn.example.com\n")
    assert ".env, line 2: can't be read" in refusal({})


def test_a_likely_slip_in_an_old_name_is_a_notice() -> None:
    Path(".env").write_text("NudenetNumReplica=4\nPATH_TO_THINGS=/x\nDJANGO_SECRET_KEY=y\n")
    loaded = load_settings_with_origins({})
    (notice,) = loaded.notices
    assert notice.startswith("NudenetNumReplica (.env)")
    assert "did you mean NudenetNumReplicas?" in notice
    assert loaded.settings.nudenet_instances == Settings().nudenet_instances


# Values


@pytest.mark.parametrize("field", [n for n, i in Settings.model_fields.items() if i.default is None])
def test_an_empty_optional_setting_is_not_set(field: str) -> None:
    assert getattr(load_settings({f"STREAMAPP_{field.upper()}": " "}), field) is None


def test_an_empty_optional_setting_leaves_room_for_the_next_source() -> None:
    Path(".env").write_text("AiModelBucket=models\n")
    assert load_settings({"STREAMAPP_AI_MODEL_BUCKET": ""}).ai_model_bucket == "models"


@pytest.mark.parametrize("name", ["STREAMAPP_GROUP", "STREAMAPP_MODEL_CACHE", "STREAMAPP_WEB_PORT"])
def test_an_empty_setting_that_must_have_a_value_is_refused(name: str) -> None:
    assert refusal({name: ""}) == f"{name}= (env): is empty; give it a value or remove it"


def test_lists_are_split_at_commas_and_trimmed() -> None:
    settings = load_settings(
        {
            "STREAMAPP_ALLOW_PRIVATE_HOSTS": " 127.0.0.1 , minio ,",
            "STREAMAPP_ALLOWED_HOSTS": "",
            "STREAMAPP_BROKERS": "a:1, [::1]:2",
        }
    )
    assert settings.allow_private_hosts == ("127.0.0.1", "minio")
    assert settings.allowed_hosts == ()
    assert settings.brokers == "a:1,[::1]:2"


def test_fixed_choices_are_matched_without_regard_to_case() -> None:
    settings = load_settings({"STREAMAPP_LOG_LEVEL": "debug", "STREAMAPP_NUDENET_CHANNEL_ORDER": "RGB"})
    assert (settings.log_level, settings.nudenet_channel_order) == ("DEBUG", "rgb")


def test_the_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert load_settings({}).model_cache == Path("/home/someone/.cache/streamapp")


# Errors


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"DownloadMaxCon": "0"}, "DownloadMaxCon=0 (env): must be greater than or equal to 1"),
        ({"nudenetmaxcon": "many"}, "nudenetmaxcon=many (env): must be a valid integer"),
        (
            {"STREAMAPP_WEB_PORT": "65536"},
            "STREAMAPP_WEB_PORT=65536 (env): must be less than or equal to 65535",
        ),
        (
            {"streamapp_max_redirects": "-1"},
            "streamapp_max_redirects=-1 (env): must be greater than or equal",
        ),
        ({"STREAMAPP_READ_TIMEOUT_S": "nan"}, "must be a finite number"),
        ({"DownloadNumReplicas": "two"}, "DownloadNumReplicas=two (env): must be a number from 0 to 10000"),
        ({"ClipNumCPUPerReplica": "-1"}, "ClipNumCPUPerReplica=-1 (env): must be a number from 0"),
        ({"ClipNumGPUPerReplica": "inf"}, "ClipNumGPUPerReplica=inf (env): must be a number"),
        ({"ClipNumGPUPerReplica": ""}, "ClipNumGPUPerReplica= (env): must be a number"),
        ({"STREAMAPP_CLIP_GPU_SHARE": "1.5"}, "must be less than or equal to 1"),
        ({"STREAMAPP_LOG_LEVEL": "loud"}, "must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ({"STREAMAPP_BROKERS": "kafka://a:1"}, "'kafka://a:1' is not"),
        ({"STREAMAPP_BROKERS": "a"}, "must be host:port"),
        ({"STREAMAPP_BROKERS": "a:70000"}, "must be host:port"),
        ({"STREAMAPP_BROKERS": ","}, "must name at least one broker"),
        ({"SnowflakeResultsQueue": "a/b"}, "SnowflakeResultsQueue=a/b (env): must be a topic name"),
        ({"STREAMAPP_EVENTS_TOPIC": ".."}, "must be a topic name"),
        ({"STREAMAPP_EVENTS_TOPIC": "x" * 250}, "must be a topic name"),
        ({"STREAMAPP_ALLOWED_PORTS": "80,http"}, "'http' is not one"),
        ({"STREAMAPP_MODELS": ""}, "must name at least one model"),
        ({"STREAMAPP_MODELS": "nudnet"}, "nudnet is not one"),
        ({"STREAMAPP_MODELS": "nudenet, Nudenet"}, "must name each model once"),
    ],
)
def test_a_bad_value_is_refused_by_name_value_and_bound(env: dict[str, str], message: str) -> None:
    assert message in refusal(env)


@pytest.mark.parametrize(
    ("env", "parts"),
    [
        (
            {"STREAMAPP_SECURITY_PROTOCOL": "SASL_SSL"},
            ["STREAMAPP_SASL_USERNAME (not set)", "SASL_PASSWORD (not set)"],
        ),
        (
            {"STREAMAPP_SECURITY_PROTOCOL": "SASL_SSL", "STREAMAPP_SASL_USERNAME": "u"},
            ["STREAMAPP_SASL_PASSWORD (not set)"],
        ),
        ({"STREAMAPP_SSL_CERT_FILE": "c.pem"}, ["STREAMAPP_SSL_KEY_FILE (not set)"]),
        ({"STREAMAPP_SSL_KEY_FILE": "k.pem"}, ["STREAMAPP_SSL_CERT_FILE (not set)"]),
        (
            {"SnowflakeResultsQueue": "modify_user"},
            ["STREAMAPP_EVENTS_TOPIC=modify_user (default)", "SnowflakeResultsQueue"],
        ),
        (
            {"STREAMAPP_DEAD_LETTER_TOPIC": "t", "STREAMAPP_RESULTS_TOPIC": "t"},
            ["STREAMAPP_DEAD_LETTER_TOPIC=t", "STREAMAPP_RESULTS_TOPIC=t", "its own name"],
        ),
    ],
)
def test_settings_that_conflict_are_refused_by_both_names(env: dict[str, str], parts: list[str]) -> None:
    message = refusal(env)
    assert all(part in message for part in parts), message


def test_all_problems_are_told_at_once_one_per_line() -> None:
    Path(".env").write_text("STREAMAPP_WEB_PROT=1\nClipMaxCon=0\n")
    message = refusal(
        {
            "STREAMAPP_BROKER": "a:1",
            "STREAMAPP_WEB_PORT": "x",
            "STREAMAPP_GROUP": "",
            "MFDNumCPUPerReplica": "x",
            "STREAMAPP_SSL_KEY_FILE": "k.pem",
        }
    )
    first, *lines = message.splitlines()
    assert first == "7 problems in the settings:"
    assert len(lines) == 7


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("STREAMAPP_BROKER", "STREAMAPP_BROKERS"),
        ("streamapp_results_topc", "STREAMAPP_RESULTS_TOPIC"),
        ("STREAMAPP_ALLOW_PRIVATE_HOST", "STREAMAPP_ALLOW_PRIVATE_HOSTS"),
    ],
)
@pytest.mark.parametrize("place", ["env", ".env"])
def test_an_unknown_name_is_refused_with_the_nearest_known_one(place: str, name: str, meant: str) -> None:
    if place == ".env":
        Path(".env").write_text(f"{name}=v\n")
    message = refusal({name: "v"} if place == "env" else {})
    assert message == f"{name} ({place}): no such setting; did you mean {meant}?"


def test_an_unknown_override_is_refused() -> None:
    assert "grupo=g (argument): no such setting" in refusal({}, grupo="g")


def test_two_spellings_of_one_setting_are_refused_if_they_differ() -> None:
    assert "two spellings" in refusal({"STREAMAPP_GROUP": "a", "streamapp_group": "b"})
    assert load_settings({"STREAMAPP_GROUP": "a", "streamapp_group": "a"}).group == "a"


def test_variables_that_kubernetes_sets_for_a_service_are_no_settings() -> None:
    load_settings(
        {
            "STREAMAPP_SERVICE_HOST": "10.0.0.1",
            "STREAMAPP_SERVICE_PORT_HTTP": "6066",
            "STREAMAPP_PORT": "tcp://10.0.0.1:6066",
            "STREAMAPP_WORKER_PORT_6066_TCP_ADDR": "10.0.0.1",
        }
    )
    assert "did you mean STREAMAPP_WEB_PORT?" in refusal({"STREAMAPP_WBE_PORT": "6066"})


def test_a_secret_is_never_shown() -> None:
    env = {
        "STREAMAPP_SECURITY_PROTOCOL": "SASL_SSL",
        "STREAMAPP_SASL_PASSWORD": "hunter2",
        "STREAMAPP_SASL_PASWORD": "hunter2",
        "STREAMAPP_WEB_PORT": "x",
    }
    with pytest.raises(SettingsError) as raised:
        load_settings(env)
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))
    loaded = load_settings_with_origins({"STREAMAPP_SASL_PASSWORD": "hunter2"}, PRESETS["cpu"])
    assert "hunter2" not in repr(loaded)
    assert "not+a+real+secret" not in repr(loaded)


def test_a_secret_is_not_in_pydantics_own_error_either() -> None:
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate({"security_protocol": "SASL_SSL", "sasl_password": "hunter2"})
    assert "hunter2" not in str(raised.value)


def test_credentials_that_plaintext_leaves_unused_are_noticed() -> None:
    (notice,) = load_settings_with_origins({"STREAMAPP_SASL_USERNAME": "u"}).notices
    assert notice.startswith("STREAMAPP_SASL_USERNAME: not used")


# AWS


def test_aws_variables_of_the_file_reach_the_client() -> None:
    environ: dict[str, str] = {}
    names = export_aws_variables(load_settings_with_origins({}, PRESETS["gpu"]), environ)
    assert environ == {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE01",
        "AWS_SECRET_ACCESS_KEY": "example/$not{a}real+secret",
        "AWS_SESSION_TOKEN": "example-token",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    assert set(names) == set(environ)


def test_aws_variables_of_the_environment_stay() -> None:
    environ = {"AWS_DEFAULT_REGION": "here"}
    export_aws_variables(load_settings_with_origins({}, PRESETS["cpu"]), environ)
    assert environ["AWS_DEFAULT_REGION"] == "here"
    assert environ["AWS_ACCESS_KEY_ID"] == "AKIAEXAMPLEEXAMPLE00"


def test_credentials_of_two_sources_are_not_mixed() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "own", "AWS_SECRET_ACCESS_KEY": "own"}
    assert export_aws_variables(load_settings_with_origins({}, PRESETS["gpu"]), environ) == (
        "AWS_DEFAULT_REGION",
    )
    assert "AWS_SESSION_TOKEN" not in environ
