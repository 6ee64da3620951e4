"""GPU-hours by hand: samples every ten minutes, so a sample stands for 1/6 hour."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import DeliveryError
from pipelines.models import usage_facts
from tests.usage.small_days import (
    DAY,
    ENGINE,
    GPU,
    MEMORY,
    UTILISATION,
    SmallDays,
    every,
    held_by,
    seconds,
    series,
)

HOURS = ("hour", "workload", "gpu_hours_capacity", "gpu_hours_held", "gpu_hours_active", "gpu_hours_gap")


@pytest.fixture
def days(tmp_path: Path) -> SmallDays:
    return SmallDays(tmp_path)


def test_a_held_hour_and_an_unheld_hour(days: SmallDays) -> None:
    days.telemetry(
        series(ENGINE, held_by("train-0"), every(10, "00:00", "01:00"), "0.25"),
        series(ENGINE, GPU, every(10, "01:00", "02:00"), "0"),
    )

    # 6 samples x 1/6 h x 0.25 = 0.25 active.
    assert days.gpu_hours(*HOURS, "coverage_ratio") == [
        ("00:00", "ml/train-0", "1", "1", "0.25", "0", "1"),
        ("01:00", None, "1", "0", "0", "0", "1"),
    ]


def test_a_pod_that_starts_at_twenty_past_holds_forty_minutes(days: SmallDays) -> None:
    days.telemetry(
        series(ENGINE, GPU, every(10, "00:00", "00:20"), "0"),
        series(ENGINE, held_by("train-0"), every(10, "00:20", "01:00"), "0.5"),
    )

    # 40 min = 2/3 h held, half of it active = 1/3; the rest is 1 - 0.666666666666666667.
    assert days.gpu_hours(*HOURS) == [
        ("00:00", "ml/train-0", "0.666666666666666667", "0.666666666666666667", "0.333333333333333333", "0"),
        ("00:00", None, "0.333333333333333333", "0", "0", "0"),
    ]


def test_an_hour_without_samples_is_a_gap_and_not_idle(days: SmallDays) -> None:
    days.telemetry(
        series(ENGINE, held_by("train-0"), [*every(10, "00:00", "01:00"), *every(10, "02:00", "03:00")], "1")
    )

    assert days.gpu_hours(*HOURS, "coverage_ratio") == [
        ("00:00", "ml/train-0", "1", "1", "1", "0", "1"),
        ("01:00", None, "1", "0", "0", "1", "0"),
        ("02:00", "ml/train-0", "1", "1", "1", "0", "1"),
    ]


def test_one_missed_sample_is_held_over_and_more_are_a_gap(days: SmallDays) -> None:
    # 00:10 to 00:30 is two steps: held. 00:30 to 01:00 is three: 00:30 stands for ten minutes, 20 min = 1/3 h are a gap.
    days.telemetry(
        series(ENGINE, held_by("train-0"), ["00:00", "00:10", "00:30", *every(10, "01:00", "02:00")], "1"),
    )

    two_thirds, third = "0.666666666666666667", "0.333333333333333333"
    assert days.gpu_hours(*HOURS, "coverage_ratio") == [
        ("00:00", "ml/train-0", two_thirds, two_thirds, two_thirds, "0", two_thirds),
        ("00:00", None, third, "0", "0", third, two_thirds),
        ("01:00", "ml/train-0", "1", "1", "1", "0", "1"),
    ]


def test_hours_before_the_first_and_after_the_last_sample_have_no_row(days: SmallDays) -> None:
    # Seen from 05:30 to 07:20, whose last sample stands for ten minutes more: 1/2 h, 1 h, 1/2 h.
    days.telemetry(series(ENGINE, held_by("train-0"), every(10, "05:30", "07:30"), "1"))

    assert days.gpu_hours("hour", "gpu_hours_capacity", "gpu_hours_held") == [
        ("05:00", "0.5", "0.5"),
        ("06:00", "1", "1"),
        ("07:00", "0.5", "0.5"),
    ]


def test_a_first_sample_less_than_a_step_after_midnight_stands_for_the_time_since(days: SmallDays) -> None:
    # Scrapes at :07, :17, … : the scrape of 23:57 lies in yesterday's delivery. The last, at 23:57, ends with the day.
    times = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in range(7, 60, 10)]
    days.telemetry(series(ENGINE, held_by("train-0"), times, "1"))

    assert days.gpu_hours("hour", "gpu_hours_capacity", "gpu_hours_gap") == [
        (f"{hour:02}:00", "1", "0") for hour in range(24)
    ]


def test_the_inclusive_end_point_is_left_to_the_next_day(days: SmallDays) -> None:
    days.telemetry(series(ENGINE, held_by("train-0"), [*every(10, "23:00", "24:00"), "24:00"], "1"))

    assert days.gpu_counts() == [
        usage_facts.DayCounts("gpus", DAY, delivered=7, used=6, outside_day=1, duplicate=0, rejected=0)
    ]
    assert days.gpu_hours("hour", "gpu_hours_held") == [("23:00", "1")]


def test_a_folder_of_another_day_is_refused(days: SmallDays) -> None:
    days.telemetry(series(ENGINE, GPU, ["00:00", "00:10"], "1", day="2026-10-06"))

    with pytest.raises(DeliveryError, match=f"day {DAY}"):
        days.gpu_hours()


def test_samples_in_two_files_count_once(days: SmallDays) -> None:
    days.telemetry(series(ENGINE, held_by("train-0"), every(10, "00:00", "00:40"), "1"), file="first.json")
    days.telemetry(series(ENGINE, held_by("train-0"), every(10, "00:30", "01:00"), "1"), file="second.json")

    assert days.gpu_counts() == [
        usage_facts.DayCounts("gpus", DAY, delivered=7, used=6, outside_day=0, duplicate=1, rejected=0)
    ]
    assert days.gpu_hours(*HOURS) == [("00:00", "ml/train-0", "1", "1", "1", "0")]


def test_pods_that_share_a_gpu_hold_equal_parts_of_it(days: SmallDays) -> None:
    # Time-slicing copies the device's 0.6 to each pod: 3 x 1/3 h x 0.6 = 0.6 active in all, not 1.8.
    times = every(10, "00:00", "01:00")
    days.telemetry(
        *(series(ENGINE, held_by(pod, vgpu=vgpu), times, "0.6") for pod, vgpu in zip("abc", "012", strict=True))
    )

    # The thirds are cut from 1/3, 2/3 and 1 rounded at the 18th place, so that they sum to 1.
    assert days.gpu_hours(*HOURS) == [
        ("00:00", "ml/a", "0.333333333333333333", "0.333333333333333333", "0.2", "0"),
        ("00:00", "ml/b", "0.333333333333333334", "0.333333333333333334", "0.2", "0"),
        ("00:00", "ml/c", "0.333333333333333333", "0.333333333333333333", "0.2", "0"),
    ]


def test_utilisation_by_process_is_taken_from_the_pods_and_not_added_to_the_device(days: SmallDays) -> None:
    # The device was busy 80 %: pod a 60 %, of which it can have used no more than its half, pod b 20 %, pod c nothing.
    times = every(10, "00:00", "01:00")
    days.telemetry(
        series(UTILISATION, GPU, times, "80"),
        series(UTILISATION, held_by("a"), times, "60"),
        series(UTILISATION, held_by("b"), times, "20"),
    )

    assert days.gpu_hours(*HOURS, "activity_metric") == [
        ("00:00", "ml/a", "0.5", "0.5", "0.5", "0", UTILISATION),
        ("00:00", "ml/b", "0.5", "0.5", "0.2", "0", UTILISATION),
    ]


def test_engine_activity_wins_over_utilisation_for_the_whole_day(days: SmallDays) -> None:
    other = {**held_by("b"), "UUID": "GPU-2"}
    times = every(10, "00:00", "01:00")
    days.telemetry(
        series(ENGINE, held_by("a"), times, "0.3"),
        series(UTILISATION, held_by("a"), times, "90"),
        series(UTILISATION, other, times, "90"),
    )

    assert days.gpu_hours("workload", "gpu_hours_held", "gpu_hours_active", "activity_metric") == [
        ("ml/a", "1", "0.3", ENGINE),
        ("ml/b", "1", None, ENGINE),
    ]


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "0.42"),
        ("DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO", "4.2e-01"),
        ("DCGM_FI_DEV_GPU_UTIL", "42"),
        ("DCGM_FI_DEV_GPU_UTIL_RATIO", "0.42"),
        ("dcgm_gpu_utilization", "42"),
    ],
)
def test_every_name_of_an_activity_metric_is_known(days: SmallDays, metric: str, value: str) -> None:
    days.telemetry(series(metric, held_by("a"), every(10, "00:00", "01:00"), value))

    assert days.gpu_hours("gpu_hours_active", "activity_metric") == [("0.42", metric)]


def test_without_activity_telemetry_held_is_known_and_activity_is_not(days: SmallDays) -> None:
    days.telemetry(series(MEMORY, held_by("a"), every(10, "00:00", "01:00"), "40960"))

    assert days.gpu_hours(*HOURS, "activity_metric") == [("00:00", "ml/a", "1", "1", None, "0", None)]


@pytest.mark.parametrize("blank", ["9223372036854775794", "2147483632", "140737488355328.000000", "NaN", "+Inf"])
def test_a_blank_value_is_no_activity_and_its_mean_stands_for_it(days: SmallDays, blank: str) -> None:
    # Half of the hour at 0.4, half blank: held 1 h, active 1 x 0.4. The second hour has nothing but blanks.
    days.telemetry(
        series(ENGINE, held_by("a"), every(10, "00:00", "00:30"), "0.4"),
        series(ENGINE, held_by("a"), every(10, "00:30", "02:00"), blank),
    )

    assert days.gpu_hours(*HOURS) == [
        ("00:00", "ml/a", "1", "1", "0.4", "0"),
        ("01:00", "ml/a", "1", "1", None, "0"),
    ]
    assert days.rejected() == []


def test_activity_out_of_range_is_rejected_and_the_rest_of_the_series_is_used(days: SmallDays) -> None:
    days.telemetry(
        series(UTILISATION, held_by("a"), every(10, "00:00", "00:50"), "50"),
        series(UTILISATION, held_by("a"), ["00:50"], "150"),
    )

    assert days.gpu_counts() == [
        usage_facts.DayCounts("gpus", DAY, delivered=6, used=5, outside_day=0, duplicate=0, rejected=1)
    ]
    assert days.gpu_hours("gpu_hours_held", "gpu_hours_active") == [("1", "0.5")]
    # Both builds of this test rejected it; a build adds to what is there.
    assert set(days.rejected()) == {("gpus", DAY, "metrics.json", 2, "activity outside 0 to 100")}


def test_a_series_without_a_gpu_is_rejected(days: SmallDays) -> None:
    days.telemetry(
        series(ENGINE, GPU, every(10, "00:00", "01:00"), "0"), series(ENGINE, {"Hostname": "node-1"}, ["00:00"], "0")
    )

    assert [counts.rejected for counts in days.gpu_counts()] == [1]
    assert days.rejected() == [("gpus", DAY, "metrics.json", 2, "the series names no GPU: it has no label UUID")]


def test_mig_instances_count_by_their_compute_slices(days: SmallDays) -> None:
    # An A100 has seven slices: 3 held, 1 in an instance that nobody holds, 3 in no instance.
    a100 = {"UUID": "GPU-1", "Hostname": "node-1", "modelName": "NVIDIA A100-SXM4-80GB"}
    times = every(10, "00:00", "01:00")
    days.telemetry(
        series(
            ENGINE, {**a100, "GPU_I_ID": "1", "GPU_I_PROFILE": "3g.40gb", "namespace": "ml", "pod": "a"}, times, "0.7"
        ),
        series(ENGINE, {**a100, "GPU_I_ID": "7", "GPU_I_PROFILE": "1g.10gb"}, times, "0"),
        series(UTILISATION, a100, times, "30"),
    )

    # 3/7 x 0.7 = 0.3 active; 1/7 is the difference of 4/7 and 3/7, each rounded.
    assert days.gpu_hours("gpu_instance", *HOURS[1:]) == [
        ("1", "ml/a", "0.428571428571428571", "0.428571428571428571", "0.3", "0"),
        ("7", None, "0.142857142857142858", "0", "0", "0"),
        (None, None, "0.428571428571428571", "0", "0", "0"),
    ]


@pytest.mark.parametrize(
    ("model", "profile"),
    [("NVIDIA A100-SXM4-80GB", "5g.50gb"), ("NVIDIA A100-SXM4-80GB", "big"), ("NVIDIA T4", "1g.10gb")],
)
def test_a_mig_profile_that_is_not_known_is_refused(days: SmallDays, model: str, profile: str) -> None:
    labels = {"UUID": "GPU-1", "Hostname": "node-1", "modelName": model, "GPU_I_ID": "1", "GPU_I_PROFILE": profile}
    days.telemetry(series(ENGINE, labels, ["00:00", "00:10"], "0"))

    with pytest.raises(DeliveryError, match=profile):
        days.gpu_hours()


def test_renamed_labels_name_the_workload_and_pod_is_the_exporter(days: SmallDays) -> None:
    exporter = {**GPU, "namespace": "monitoring", "pod": "exporter-x", "container": "exporter"}
    days.telemetry(
        series(ENGINE, {**exporter, "exported_namespace": "ml", "exported_pod": "a"}, every(10, "00:00", "01:00"), "1"),
        series(ENGINE, exporter, every(10, "01:00", "02:00"), "0"),
    )

    assert days.gpu_hours("hour", "workload", "namespace", "gpu_hours_held") == [
        ("00:00", "ml/a", "ml", "1"),
        ("01:00", None, None, "0"),
    ]


def test_the_exporters_own_pod_holds_no_gpu_on_an_idle_day(days: SmallDays) -> None:
    exporter = {**GPU, "namespace": "gpu-operator", "pod": "nvidia-dcgm-exporter-7xk2p"}
    days.telemetry(series(ENGINE, exporter, every(10, "00:00", "01:00"), "0"))

    assert days.gpu_hours(*HOURS) == [("00:00", None, "1", "0", "0", "0")]


def test_older_label_names_are_known(days: SmallDays) -> None:
    labels = {"uuid": "GPU-9", "hostname": "node-9", "modelName": "Tesla T4", "pod_namespace": "ml", "pod_name": "a"}
    days.telemetry(series("dcgm_gpu_utilization", labels, every(10, "00:00", "01:00"), "50"))

    assert days.gpu_hours("node", "gpu_uuid", "gpu_model", "workload", "gpu_hours_active") == [
        ("node-9", "GPU-9", "NVIDIA T4", "ml/a", "0.5")
    ]


def test_a_file_without_metric_names_is_named_after_its_metric(days: SmallDays) -> None:
    nameless = series(ENGINE, held_by("a"), every(10, "00:00", "01:00"), "0.5")
    del nameless["metric"]["__name__"]
    days.telemetry(nameless, file=f"{ENGINE}.json")

    assert days.gpu_hours("workload", "gpu_hours_active") == [("ml/a", "0.5")]


def test_two_metrics_scraped_at_different_offsets_leave_no_gap(days: SmallDays) -> None:
    # A second apart: the step is ten minutes, not one second. From 00:00 to 00:50:01 and a step: all of the hour.
    days.telemetry(
        series(ENGINE, held_by("a"), every(10, "00:00", "01:00"), "0.5"),
        series(MEMORY, held_by("a"), [f"{time}:01" for time in every(10, "00:00", "01:00")], "1"),
        series(ENGINE, held_by("a"), every(10, "01:00", "02:00"), "0.5"),
    )

    assert days.gpu_hours(*HOURS) == [
        ("00:00", "ml/a", "1", "1", "0.5", "0"),
        ("01:00", "ml/a", "1", "1", "0.5", "0"),
    ]


def test_nodes_and_pods_are_joined_by_what_was_seen_in_the_hour(days: SmallDays) -> None:
    # The pod's label changes at 01:00; node-2 is on another cloud, node-3 on one that isn't read.
    other = {**held_by("b"), "UUID": "GPU-2", "Hostname": "node-2"}
    third = {**held_by("c"), "UUID": "GPU-3", "Hostname": "node-3"}
    days.telemetry(
        series(ENGINE, held_by("a"), every(10, "00:00", "02:00"), "1"),
        series(ENGINE, other, every(10, "00:00", "01:00"), "1"),
        series(ENGINE, third, every(10, "00:00", "01:00"), "1"),
    )
    days.telemetry(
        series("kube_node_info", {"node": "node-1", "provider_id": "aws:///us-east-1a/i-0abc"}, ["00:00", "01:00"]),
        series("kube_node_info", {"node": "node-2", "provider_id": "gce://project/zone/name"}, ["00:00"]),
        series("kube_node_info", {"node": "node-3", "provider_id": "openstack:///0a1b"}, ["00:00"]),
        file="nodes.json",
    )
    ksm = {"namespace": "monitoring", "pod": "kube-state-metrics-0", "exported_namespace": "ml", "exported_pod": "a"}
    days.telemetry(
        series("kube_pod_labels", {**ksm, "label_team": "Search"}, ["00:00", "00:50"]),
        series("kube_pod_labels", {**ksm, "label_team": "ads"}, ["01:00"]),
        file="pods.json",
    )

    assert days.gpu_hours("hour", "workload", "team", "resource_id", "join_method") == [
        ("00:00", "ml/a", "search", "i-0abc", "provider_id"),
        (
            "00:00",
            "ml/b",
            None,
            "//compute.googleapis.com/projects/project/zones/zone/instances/name",
            "provider_id",
        ),
        ("00:00", "ml/c", None, None, "none"),
        ("01:00", "ml/a", "ads", "i-0abc", "provider_id"),
    ]


@pytest.mark.parametrize(
    ("provider_id", "resource_id"),
    [
        (
            "azure:///subscriptions/1a/resourceGroups/ML/providers/Microsoft.Compute/virtualMachines/gpu-1",
            "/subscriptions/1a/resourcegroups/ml/providers/microsoft.compute/virtualmachines/gpu-1",
        ),
        # A scale set is billed as one.
        (
            "azure:///subscriptions/1a/resourceGroups/ml/providers/Microsoft.Compute/virtualMachineScaleSets/aks-gpu/virtualMachines/3",
            "/subscriptions/1a/resourcegroups/ml/providers/microsoft.compute/virtualmachinescalesets/aks-gpu",
        ),
    ],
)
def test_a_node_at_azure_is_known_by_its_machine_or_scale_set(
    provider_id: str, resource_id: str, days: SmallDays
) -> None:
    days.telemetry(
        series(ENGINE, held_by("a"), every(10, "00:00", "01:00"), "1"),
        series("kube_node_info", {"node": "node-1", "provider_id": provider_id}, ["00:00"]),
    )
    assert days.gpu_hours("resource_id", "join_method") == [(resource_id, "provider_id")]


def test_an_hour_without_its_own_sighting_takes_the_days_last(days: SmallDays) -> None:
    days.telemetry(series(ENGINE, held_by("a"), every(10, "00:00", "02:00"), "1"))
    days.telemetry(
        series("kube_node_info", {"node": "node-1", "provider_id": "aws:///us-east-1a/i-0abc"}, ["00:00"]),
        series("kube_pod_labels", {"namespace": "ml", "pod": "a", "label_team": "search"}, ["00:10"]),
        file="cluster.json",
    )

    assert days.gpu_hours("hour", "team", "resource_id") == [
        ("00:00", "search", "i-0abc"),
        ("01:00", "search", "i-0abc"),
    ]


def test_clusters_keep_their_gpus_nodes_and_pods_apart(days: SmallDays) -> None:
    times = every(10, "00:00", "01:00")
    for cluster, machine, team in (("east", "i-0e", "search"), ("west", "i-0f", "ads")):
        days.telemetry(
            series(ENGINE, {**held_by("a"), "cluster": cluster, "UUID": f"GPU-{cluster}"}, times, "1"),
            series(
                "kube_node_info", {"node": "node-1", "cluster": cluster, "provider_id": f"aws:///a/{machine}"}, times
            ),
            series("kube_pod_labels", {"namespace": "ml", "pod": "a", "cluster": cluster, "label_team": team}, times),
            file=f"{cluster}.json",
        )

    assert days.gpu_hours("cluster", "team", "resource_id") == [("east", "search", "i-0e"), ("west", "ads", "i-0f")]


def test_days_in_one_pass_and_in_many_give_the_same_rows(days: SmallDays, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in ("2026-10-05", "2026-10-06", "2026-10-07"):
        days.telemetry(series(ENGINE, held_by("a"), every(10, "00:00", "03:00"), "0.123456", day=day), day=day)
    together = days.gpu_hours()
    monkeypatch.setattr(usage_facts, "_BYTES_PER_PASS", 1)

    assert len(together) == 9
    assert days.gpu_hours() == together


def test_one_thread_gives_the_same_rows_as_two(days: SmallDays) -> None:
    for number in range(3):
        days.telemetry(
            series(ENGINE, {**held_by(f"p{number}"), "UUID": f"GPU-{number}"}, every(7, "00:00", "04:00"), "0.3"),
            file=f"{number}.json",
        )
    days.connection.execute("SET threads = 2")
    two = days.gpu_hours()
    days.connection.execute("SET threads = 1")

    assert days.gpu_hours() == two


def test_a_day_that_has_just_begun_has_no_rows_yet(days: SmallDays) -> None:
    # One instant has no interval: how long it stands for isn't known.
    days.telemetry({"metric": {"__name__": ENGINE, **GPU}, "values": [[seconds("00:00"), "1"]]})

    assert days.gpu_hours() == []


# A slot of ten minutes: nothing delivered, nobody holds the GPU, one pod, or two pods that share it; activity in thousandths.
_SLOTS = st.lists(
    st.tuples(st.sampled_from(["missing", "unheld", "a", "b", "a b"]), st.integers(0, 1000)), min_size=2, max_size=20
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(slots=_SLOTS)
def test_rows_agree_with_fractions_and_fill_the_capacity(
    tmp_path_factory: pytest.TempPathFactory, slots: list[tuple[str, int]]
) -> None:
    days = SmallDays(tmp_path_factory.mktemp("days"))
    at = {10 * place: slot for place, slot in enumerate(slots) if slot[0] != "missing"}
    points: dict[str | None, list[tuple[int, int]]] = {}
    for minute, (holders, activity) in at.items():
        for pod in [None] if holders == "unheld" else holders.split():
            points.setdefault(pod, []).append((minute, activity))
    days.telemetry(
        *(
            {
                "metric": {"__name__": ENGINE, **(held_by(pod) if pod else GPU)},
                "values": [
                    [seconds("00:00") + 60 * minute, f"0.{activity:03}" if activity < 1000 else "1"]
                    for minute, activity in values
                ],
            }
            for pod, values in points.items()
        )
    )

    found: dict[tuple[int, str | None], tuple[Decimal, Decimal, Decimal, Decimal]] = {
        (int(hour[:2]), workload): (Decimal(capacity), Decimal(held), Decimal(active), Decimal(gap))
        for hour, workload, capacity, held, active, gap in days.gpu_hours(*HOURS)
    }

    expected = _by_fractions(at, _most_common_interval(points.values()))
    hours = {hour for hour, _ in found}
    assert hours == {hour for hour, (capacity, _, _, _) in expected.items() if capacity}
    for hour in hours:
        capacity, gap, held, active = expected[hour]
        rows = {workload: row for (row_hour, workload), row in found.items() if row_hour == hour}
        assert sum(row[0] for row in rows.values()) == _rounded(capacity)
        assert {pod for pod in rows if pod} == {f"ml/{pod}" for pod in held}
        for pod, hours_held in held.items():
            assert abs(Fraction(rows[f"ml/{pod}"][1]) - hours_held) <= Fraction(1, 10**18)
            assert abs(Fraction(rows[f"ml/{pod}"][2]) - active[pod]) <= Fraction(1, 10**18)
        assert abs(sum(Fraction(row[3]) for row in rows.values()) - gap) <= Fraction(1, 10**18)


def _most_common_interval(series_points: Iterable[list[tuple[int, int]]]) -> int:
    intervals = Counter(
        later - earlier for points in series_points for (earlier, _), (later, _) in itertools.pairwise(points)
    )
    return min(intervals, key=lambda interval: (-intervals[interval], interval), default=0)


def _by_fractions(
    at: dict[int, tuple[str, int]], step: int
) -> dict[int, tuple[Fraction, Fraction, dict[str, Fraction], dict[str, Fraction]]]:
    """By hour: capacity, gap, and held and active hours by pod; times in minutes, each minute taken alone."""
    states: dict[int, tuple[str, int]] = {}
    minutes = sorted(at)
    for minute, following in itertools.zip_longest(minutes, minutes[1:]):
        end = following if following is not None and following - minute <= 2 * step else minute + step
        states |= dict.fromkeys(range(minute, end), at[minute])
    if minutes and 0 < minutes[0] < step:
        states |= dict.fromkeys(range(minutes[0]), at[minutes[0]])
    result: dict[int, tuple[Fraction, Fraction, dict[str, Fraction], dict[str, Fraction]]] = {}
    for minute in range(min(states, default=0), max(states, default=-1) + 1):
        capacity, gap, held, active = result.setdefault(minute // 60, (Fraction(0), Fraction(0), {}, {}))
        holders, activity = states.get(minute, ("missing", 0))
        pods = holders.split() if holders not in ("missing", "unheld") else []
        for pod in pods:
            held[pod] = held.get(pod, Fraction(0)) + Fraction(1, 60 * len(pods))
            active[pod] = active.get(pod, Fraction(0)) + Fraction(activity, 60000 * len(pods))
        result[minute // 60] = (capacity + Fraction(1, 60), gap + Fraction(holders == "missing", 60), held, active)
    return result


def _rounded(hours: Fraction) -> Decimal:
    units = (hours.numerator * 10**18 * 2 + hours.denominator) // (2 * hours.denominator)
    return Decimal(units).scaleb(-18)
