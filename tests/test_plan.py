"""Sizing by `streamapp.plan`, against cases that were worked out by hand."""

import math
from pathlib import Path

import pytest

from streamapp.errors import StreamappError
from streamapp.plan import (
    MFD_FRAME_BYTES,
    PREPARED_FRAME_BYTES,
    Aims,
    Load,
    Plan,
    Worker,
    memory_bound_bytes,
    plan,
)
from streamapp.settings import Settings

README = Path(__file__).parents[1] / "README.md"
SETTINGS = Settings()
NO_AIMS = Aims(headroom=0.0)


def planned(
    load: Load,
    images_per_second: float,
    aims: Aims = NO_AIMS,
    settings: Settings = SETTINGS,
    per_node: int = 1,
) -> Plan:
    return plan(load, Worker(images_per_second, per_node), aims, settings)


def test_a_load_is_shared_by_the_fewest_workers_that_can_do_it() -> None:
    # 120 events * 0.5 with a picture * 1.5 frames = 90 frames; with 20 % beyond it 108; at 25 a worker: 4.32.
    load = Load(120.0, picture_share=0.5, frames_per_picture=1.5)
    found = planned(load, 25.0, Aims(headroom=0.2), per_node=2)

    assert found.capacity_needed == pytest.approx(108.0)
    assert (found.workers, found.nodes, found.partitions) == (5, 3, 10)
    assert found.busy == pytest.approx(90 / 125)


def test_a_load_that_is_just_what_the_workers_can_do_needs_no_worker_more() -> None:
    assert planned(Load(100.0), 10.0).workers == 10
    # 100 * 1.1 is a little more than 110 in floating point.
    assert planned(Load(100.0), 11.0, Aims(headroom=0.1)).workers == 10
    assert planned(Load(100.001), 10.0).workers == 11


def test_even_the_smallest_load_has_a_worker() -> None:
    found = planned(Load(0.001), 100.0)
    assert (found.workers, found.nodes, found.partitions) == (1, 1, 2)


def test_catching_up_takes_the_outage_times_busy_over_idle() -> None:
    # 80 a second for 600 s are 48,000 frames; of 100 a second 20 are left for them: 2,400 s.
    assert planned(Load(80.0), 100.0, Aims(headroom=0.0, outage_s=600.0)).catch_up_s == pytest.approx(2400.0)
    assert planned(Load(100.0), 100.0).catch_up_s == math.inf


def test_the_aim_of_catching_up_adds_the_workers_that_it_takes() -> None:
    # 80 a second for 600 s in 300 s: 160 more a second, 240 in all.
    aims = Aims(headroom=0.3, outage_s=600.0, catch_up_s=300.0)
    found = planned(Load(80.0), 100.0, aims)
    assert found.capacity_needed == pytest.approx(240.0)
    assert found.workers == 3
    assert found.catch_up_s <= 300.0
    # An aim that the headroom reaches anyway adds none.
    assert planned(Load(80.0), 100.0, Aims(headroom=0.3, catch_up_s=1e6)).workers == 2


@pytest.mark.parametrize(
    ("partitions", "workers", "busy"),
    [
        (12, 4, 0.75),  # 3 each
        (10, 4, 0.90),  # the busiest has 3 of 10
        (9, 5, 300 * 2 / 9 / 100),  # of 4 workers one would have 3 of 9: 110 frames
        (4, 4, 0.75),
        (7, 4, 300 * 2 / 7 / 100),  # the busiest has 2 of 7
        (100, 4, 0.75),  # with 3 workers the busiest would have 34 of 100
    ],
)
def test_a_worker_has_whole_partitions(partitions: int, workers: int, busy: float) -> None:
    found = planned(Load(300.0), 100.0, Aims(headroom=0.1, partitions=partitions))
    # Up to 330 frames: at most 100 / 330 of the partitions each.
    busiest = math.ceil(partitions / found.workers)
    assert 330 * busiest / partitions <= 100
    assert found.partitions == partitions
    assert (found.workers, found.busy) == (workers, pytest.approx(busy))


def test_too_few_partitions_are_an_error_that_says_how_many_there_should_be() -> None:
    with pytest.raises(StreamappError, match=r"at most 3 workers.*needs 4.*8 partitions"):
        planned(Load(300.0), 100.0, Aims(headroom=0.1, partitions=3))


def test_downloads_follow_from_littles_law_and_a_setting_below_them_is_told() -> None:
    # 100 frames / 2 a picture = 50 pictures a second * 0.8 s = 40 at a time.
    load = Load(10.0, frames_per_picture=2.0, fetch_s=0.8)
    enough = Settings(downloads_in_flight=40, downloads_per_host=40)
    assert planned(load, 100.0).downloads_in_flight == 40
    assert planned(load, 100.0, settings=enough).shortcomings == ()
    too_few = enough.model_copy(update={"downloads_in_flight": 39})
    (told,) = planned(load, 100.0, settings=too_few).shortcomings
    assert "STREAMAPP_DOWNLOADS_IN_FLIGHT is 39" in told and "at least 40" in told


def test_pictures_that_are_on_one_host_are_bounded_by_its_connections() -> None:
    # 50 pictures a second * 0.8 s = 40 at a time: all from the CDN, or three quarters of them.
    load = Load(10.0, frames_per_picture=2.0, fetch_s=0.8)
    assert planned(load, 100.0).downloads_per_host == 40
    (told,) = planned(load, 100.0, settings=Settings(downloads_per_host=39)).shortcomings
    assert "STREAMAPP_DOWNLOADS_PER_HOST is 39" in told and "at least 40" in told
    shared = Load(10.0, frames_per_picture=2.0, fetch_s=0.8, host_share=0.75)
    assert planned(shared, 100.0).downloads_per_host == 30
    assert planned(shared, 100.0, settings=Settings(downloads_per_host=30)).shortcomings == ()


def test_what_a_dead_url_keeps_from_being_committed_is_compared_with_the_window() -> None:
    # 100 pictures a second, of which every second event has one: 200 events * 60 s.
    load = Load(10.0, picture_share=0.5, fetch_s=0.1)
    found = planned(load, 100.0)
    assert found.uncommitted_events == 12_000
    assert found.lag_threshold == 24_000
    (told,) = planned(load, 100.0, settings=Settings(unacked_events=11_999)).shortcomings
    assert "STREAMAPP_UNACKED_EVENTS is 11999" in told and "at least 12000" in told


def test_bandwidth_is_that_of_workers_at_their_full_rate() -> None:
    found = planned(Load(250.0, picture_bytes=125_000.0), 100.0)
    assert found.worker_mbit_per_s == pytest.approx(100.0)
    assert found.fleet_mbit_per_s == pytest.approx(300.0)


def test_a_million_pictures_cost_the_nodes_for_as_long_as_they_take() -> None:
    # 8 workers on 4 nodes * 0.9 an hour = 3.6 an hour; 100 pictures a second are 360,000 an hour.
    load = Load(200.0, picture_share=0.5)
    found = planned(load, 12.5, Aims(headroom=0.0, node_cost_per_hour=0.9), per_node=2)
    assert (found.workers, found.nodes) == (8, 4)
    assert found.cost_per_million == pytest.approx(10.0)
    assert planned(load, 25.0).cost_per_million is None


def test_the_memory_is_the_readmes_formula() -> None:
    settings = Settings(
        downloads_in_flight=10,
        pictures_in_flight=20,
        max_download_bytes=1_000_000,
        max_key_frames=2,
        decode_threads=3,
        decode_memory_mb=512,
    )
    # 10 * 1 MB + 20 * (1 MB + 2 * (1.5 + 5) MB) + 3 * 512 MiB
    assert memory_bound_bytes(settings) == 10_000_000 + 280_000_000 + 3 * 512 * 2**20
    without_mfd = settings.model_copy(update={"models": ("nudenet",)})
    assert memory_bound_bytes(without_mfd) == memory_bound_bytes(settings) - 20 * 2 * 5_000_000
    text = " ".join(README.read_text("utf-8").split())
    sizes = (PREPARED_FRAME_BYTES / 1e6, MFD_FRAME_BYTES / 1e6)
    assert "prepared frames of {:g} MB, and {:g} MB more each where MFD is on".format(*sizes) in text
    found = plan(Load(1.0), Worker(10.0, idle_bytes=1e9), NO_AIMS, settings)
    assert found.memory_bytes == 1e9 + memory_bound_bytes(settings)
