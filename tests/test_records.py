"""The wire: what is read from an event, and exactly which keys a row has."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from old_rows import OLD_ROW

from streamapp.errors import DeadLetterReason, EventError
from streamapp.records import (
    Event,
    ModelAttributes,
    ResultRow,
    SourcePosition,
    dead_letter_headers,
    format_time,
    join_scores,
    read_event,
    read_row,
)

REAL_EVENT = {
    "app_version_id": "2.17.0",
    "country": "co",
    "device_id": "32462456-a204-e251-d25e-2096652e993e",
    "event_properties": {
        "action_time": "2022-06-10 01:21:01",
        "target_user_image_url": "https://cdn.example.com/user/profile/7c754bea1aa6672b/5e459c67de6fec5d.png",
        "target_user_name": "example_name",
        "target_user_username": "example_name",
        "target_user_id": 37217839,
        "target_user_country": None,
        "target_user_locale": "en",
        "uid": 37217839,
    },
    "event_time": "2022-06-10 01:21:01",
    "os_name": "android",
    "platform": "android",
    "session_id": None,
    "user_id": "37217839",
    "process_time": "2022-06-10 01:21:01.521300",
    "hour": "1",
}


def event_with(**changes: Any) -> bytes:
    return json.dumps(REAL_EVENT | changes).encode()


def test_a_real_event_is_read() -> None:
    assert read_event(event_with()) == Event(
        user_id="37217839",
        image_url="https://cdn.example.com/user/profile/7c754bea1aa6672b/5e459c67de6fec5d.png",
        username="example_name",
        country="co",
        event_time="2022-06-10 01:21:01",
    )


@pytest.mark.parametrize(("user_id", "uid"), [(37217839, "37217839"), (7.0, "7"), ("abc", "abc"), (0, "0")])
def test_a_user_id_may_be_a_number(user_id: object, uid: str) -> None:
    assert read_event(event_with(user_id=user_id)).user_id == uid


@pytest.mark.parametrize("user_id", [None, "", "  ", True, [], {}, float("nan"), float("inf")])
def test_an_event_without_a_user_id_is_a_dead_letter(user_id: object) -> None:
    with pytest.raises(EventError, match="user_id") as caught:
        read_event(event_with(user_id=user_id))

    assert caught.value.reason is DeadLetterReason.NO_USER_ID


@pytest.mark.parametrize("properties", [None, [], "text", 1])
def test_an_event_without_properties_is_a_dead_letter(properties: object) -> None:
    with pytest.raises(EventError) as caught:
        read_event(event_with(event_properties=properties))

    assert caught.value.reason is DeadLetterReason.NO_EVENT_PROPERTIES


@pytest.mark.parametrize("value", [None, b"", b"not json", b"\xff\xfe\x00", b"{", b'{"a": }', b"[" * 100_000])
def test_what_is_not_json_is_a_dead_letter(value: bytes | None) -> None:
    with pytest.raises(EventError) as caught:
        read_event(value)

    assert caught.value.reason is DeadLetterReason.NOT_JSON


@pytest.mark.parametrize("depth", [500, 900, 990, 1000, 1100, 5000, 100_000])
@pytest.mark.parametrize("key", ["user_id", "country", "event_properties", "other"])
def test_json_that_is_nested_deeply_is_an_event_or_a_dead_letter(depth: int, key: str) -> None:
    nested = b"[" * depth + b"]" * depth
    properties = b'{"target_user_name": ' + nested + b"}" if key == "event_properties" else b"{}"
    value = b'{"user_id": 1, "event_properties": %b, "%b": %b}' % (
        properties,
        key.replace("event_properties", "other").encode(),
        nested,
    )
    try:
        read_event(value)
    except EventError as exc:
        assert exc.reason in (DeadLetterReason.NOT_JSON, DeadLetterReason.NO_USER_ID)


@pytest.mark.parametrize("value", [b"null", b"[]", b'"text"', b"12", b"true"])
def test_json_that_is_no_object_is_a_dead_letter(value: bytes) -> None:
    with pytest.raises(EventError) as caught:
        read_event(value)

    assert caught.value.reason is DeadLetterReason.NOT_AN_OBJECT


@pytest.mark.parametrize("url", [None, "", "   "])
def test_an_empty_url_means_that_the_picture_was_removed(url: str | None) -> None:
    assert read_event(event_with(event_properties={"target_user_image_url": url})).image_url == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (None, None),
        ("Ünï 🙂", "Ünï 🙂"),
        (17, "17"),
        (["a", 1], '["a", 1]'),
        ("cut emoji \ud83d", "cut emoji ?"),
        ({"half": "\ud83d"}, '{"half": "\\ud83d"}'),
        (float("nan"), "NaN"),
    ],
)
def test_an_odd_user_name_does_not_cost_a_verdict(name: object, text: str | None) -> None:
    properties = {"target_user_image_url": "http://x/y.png", "target_user_name": name}
    event = read_event(event_with(event_properties=properties))

    assert (event.username, event.image_url) == (text, "http://x/y.png")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_dead_letter(value: bytes) -> None:
    try:
        read_event(value)
    except EventError as exc:
        assert exc.reason in DeadLetterReason


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "user_id": json_values,
            "country": json_values,
            "event_properties": st.fixed_dictionaries(
                {}, optional={"target_user_image_url": json_values, "target_user_name": json_values}
            ),
        },
    )
)
def test_any_object_gives_a_row_that_can_be_written_or_a_dead_letter(event: dict[str, Any]) -> None:
    try:
        read = read_event(json.dumps(event).encode())
    except EventError:
        return
    row = a_row(UID=read.user_id, USERNAME=read.username, IMAGE_URL=read.image_url, COUNTRY=read.country)
    assert read_row(row.to_json()) == row


@pytest.mark.parametrize("value", [b"", b"{", b"{}", b"\xff", b'{"a":' + b"[" * 100_000], ids=range(5))
def test_what_is_no_row_is_one_error_whatever_is_wrong_with_it(value: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_row(value)


def a_row(**changes: Any) -> ResultRow:
    fields: dict[str, Any] = {
        name: value for name, value in OLD_ROW.items() if name != "MODEL_ATTRIBUTES"
    } | changes
    attributes = ModelAttributes(**OLD_ROW["MODEL_ATTRIBUTES"], PROVENANCE={})
    return ResultRow(**fields, MODEL_ATTRIBUTES=attributes)


def test_a_row_has_the_keys_of_the_old_deployment_in_their_order_and_provenance() -> None:
    row = json.loads(a_row().to_json())

    provenance = row["MODEL_ATTRIBUTES"].pop("PROVENANCE")
    assert provenance == {}
    assert row == OLD_ROW
    assert list(row) == list(OLD_ROW)
    assert list(row["MODEL_ATTRIBUTES"]) == list(OLD_ROW["MODEL_ATTRIBUTES"])


def test_a_row_that_is_too_large_keeps_its_verdict_and_loses_its_long_texts() -> None:
    row = a_row(USERNAME="x" * 900_000, IMAGE_URL="http://h/" + "y" * 200_000, TO_BE_MODERATED=True)

    short = row.shortened()
    assert len(short.to_json()) < 20_000
    assert short.TO_BE_MODERATED
    assert (short.UID, short.MODEL_ATTRIBUTES.NN_STATUS) == (row.UID, 0)
    assert row.USERNAME is not None
    assert short.USERNAME is not None
    assert row.USERNAME.startswith(short.USERNAME)
    assert short.MODEL_ATTRIBUTES.PROVENANCE["shortened"] is True


def test_a_model_that_is_switched_off_has_its_fields_all_the_same() -> None:
    attributes = ModelAttributes(USER_ID="1", PROVENANCE={})

    assert (attributes.MFD_STATUS, attributes.MFD_PREDICTION_SUCCESS, attributes.MFD_DURATION) == (
        -1,
        False,
        0.0,
    )
    assert attributes.PREDICTED_TOP3_PRIMARY_CATEGORY == attributes.NN_SAFE_SCORES == ""


def test_times_are_utc_with_microseconds() -> None:
    assert format_time(datetime(2022, 6, 21, 2, 18, 4, 776753, UTC)) == OLD_ROW["MESSAGE_RECEIVE_TIME"]
    assert format_time(datetime(2022, 6, 21, 2, tzinfo=UTC)) == "2022-06-21 02:00:00.000000+00:00"
    india = timezone(timedelta(hours=5, minutes=30))
    assert format_time(datetime(2022, 6, 21, 7, 30, tzinfo=india)) == "2022-06-21 02:00:00.000000+00:00"


def test_scores_have_four_places_and_are_joined() -> None:
    assert join_scores([0.91274, 1, 0]) == "0.9127, 1.0000, 0.0000"


def test_a_dead_letter_says_why_and_from_where() -> None:
    headers = dead_letter_headers(SourcePosition("t", 3, 41), DeadLetterReason.NOT_JSON, "Not JSON: ü")

    assert dict(headers) == {
        "streamapp.reason": b"not_json",
        "streamapp.message": "Not JSON: ü".encode(),
        "streamapp.source.topic": b"t",
        "streamapp.source.partition": b"3",
        "streamapp.source.offset": b"41",
    }
