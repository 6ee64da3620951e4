"""GPU telemetry of the cluster: Prometheus `query_range` responses, one file for each metric and UTC day.

The cluster has nodes at AWS and at Google Cloud; one Prometheus scrapes them all.

Labels are those of dcgm-exporter scraped with `honorLabels: false`: `exported_pod`, `exported_namespace` and
`exported_container` name the workload that holds the GPU, `pod` and `namespace` the exporter. A GPU that nothing holds
has no `exported_*` labels. kube-state-metrics is scraped with `honorLabels: true`, so that `pod` is the workload.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from examples.acme import google_organisation
from examples.acme.meters import always
from examples.acme.noise import identifier, noise, token
from examples.acme.organisation import CLUSTER, GPU_NODES, GPUS_PER_NODE, GpuNode
from examples.acme.span import DAY_SECONDS, HOUR_SECONDS, Span, epoch, hour_of_day

STEP_SECONDS = 300

MISSING_HOUR = datetime(2026, 9, 9, 3, tzinfo=UTC)
"""Prometheus was down for an hour: no sample of any metric."""

LATE_DAY = date(2026, 10, 15)
"""This day's telemetry has not arrived at the demo company's clock."""

_STEPS_PER_DAY = DAY_SECONDS // STEP_SECONDS
_ALL_WEEK = (0, 1, 2, 3, 4, 5, 6)
_WORKING_DAYS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class MonitoredNode:
    """A node with GPUs as Kubernetes and the GPUs themselves report it."""

    name: str
    gpu_name: str
    gpus: int
    provider_id: str
    address: str
    image: str
    kubelet_version: str
    hours: Callable[[range], list[int]] = always

    def is_up_on(self, day: date) -> bool:
        """Whether the node runs on `day`: it is up or down for whole days."""
        return bool(self.hours(range(epoch(day), epoch(day) + DAY_SECONDS, HOUR_SECONDS)))


def _at_aws(node: GpuNode) -> MonitoredNode:
    address = node.name[3:].split(".")[0].replace("-", ".")
    version = "v1.33.1-eks-1fbb135"
    return MonitoredNode(
        node.name, node.gpu_name, GPUS_PER_NODE, node.provider_id, address, "Amazon Linux 2023", version
    )


def _at_google(number: int, node: google_organisation.ClusterNode) -> MonitoredNode:
    return MonitoredNode(
        node.name,
        node.machine.gpu_name,
        node.machine.gpus,
        node.provider_id,
        f"10.128.0.{number + 31}",
        "Container-Optimized OS from Google",
        "v1.33.4-gke.1172000",
        node.hours,
    )


NODES = (
    *map(_at_aws, GPU_NODES),
    *(_at_google(number, node) for number, node in enumerate(google_organisation.GPU_NODES)),
)


@dataclass(frozen=True)
class Workload:
    """A pod, or a set of them alike, that holds GPUs of one node on some days between two UTC hours.

    `weekdays` are 0 (Monday) to 6; `until` may pass 24 and then lasts into the next day. `busy_percent` is the usual
    engine activity. Labels are given as the pod spells them; an absent one isn't set on the pod.
    """

    name: str
    namespace: str
    node: int
    gpus: tuple[int, ...]
    busy_percent: int
    labels: tuple[tuple[str, str], ...]
    weekdays: tuple[int, ...] = _ALL_WEEK
    since: int = 0
    until: int = 24
    jitter_steps: int = 0
    """Starts and ends vary by up to this many 5-minute steps from day to day."""

    @property
    def runs_without_end(self) -> bool:
        """Whether the pod is never restarted: a service rather than a run."""
        return self.weekdays == _ALL_WEEK and (self.since, self.until, self.jitter_steps) == (0, 24, 0)


def _labels(team: str, product: str, feature: str, model: str, environment: str) -> tuple[tuple[str, str], ...]:
    values = {"team": team, "product": product, "feature": feature, "model": model, "environment": environment}
    return tuple((f"label_{name}", value) for name, value in values.items() if value)


_CHAT = _labels("assistant", "shopping-assistant", "chat", "llama-3-70b", "production")

WORKLOADS = (
    Workload("vllm-llama-3-70b-0", "serving", 0, (0, 1, 2, 3), 71, _CHAT),
    Workload("vllm-llama-3-70b-1", "serving", 0, (4, 5, 6, 7), 64, _CHAT),
    Workload(
        "vllm-mistral-large-0",
        "serving",
        1,
        (0, 1, 2, 3),
        52,
        _labels("Recs", "storefront", "ranking-explanations", "mistral-large", "production"),
    ),
    Workload(
        "rank-train",
        "recommendations",
        1,
        (4, 5, 6, 7),
        93,
        _labels("recommendations", "storefront", "ranking", "two-tower", "training"),
        weekdays=(1, 2, 3),
        since=7,
        until=29,
        jitter_steps=8,
    ),
    Workload(
        "pretrain",
        "research",
        2,
        (0, 1, 2, 3, 4, 5, 6, 7),
        96,
        _labels("ML-Research", "foundation-models", "pretraining", "acme-lm", "research"),
        weekdays=_WORKING_DAYS,
        since=9,
        until=23,
        jitter_steps=11,
    ),
    Workload(
        "embed-v2-0",
        "serving",
        3,
        (0,),
        38,
        _labels("Search", "site-search", "semantic-index", "embed-v2", "production"),
    ),
    Workload(
        "embed-v2-1",
        "serving",
        3,
        (1,),
        33,
        _labels("Search", "site-search", "semantic-index", "embed-v2", "production"),
    ),
    Workload(
        "whisper-0",
        "serving",
        3,
        (2, 3),
        47,
        (
            *_labels("Speech", "call-center", "transcripts", "whisper-large-v3", "production"),
            ("label_customer", "umbrella"),
        ),
    ),
    # Held all week, used a little by day: idle that somebody holds.
    Workload(
        "notebook-ada-0",
        "research",
        3,
        (4, 5),
        3,
        _labels("research", "foundation-models", "notebooks", "", "research"),
    ),
    # Nobody labelled this one: the hours it holds have no team.
    Workload("scratch", "default", 3, (6,), 22, (), weekdays=_WORKING_DAYS, since=14, until=19, jitter_steps=6),
    Workload(
        "caption-train",
        "vision",
        4,
        (0, 1, 2, 3),
        88,
        _labels("VISION", "catalog", "image-captions", "caption-net", "training"),
        weekdays=_WORKING_DAYS,
        since=18,
        until=30,
        jitter_steps=9,
    ),
    Workload(
        "fraud-retrain",
        "fraud",
        4,
        (4, 5),
        81,
        _labels("fraud", "payments", "transaction-review", "fraud-gbm", "training"),
        since=2,
        until=5,
        jitter_steps=4,
    ),
    Workload(
        "asr-finetune",
        "speech",
        4,
        (6, 7),
        90,
        _labels("speech", "call-center", "transcripts", "whisper-large-v3", "training"),
        weekdays=(0, 2, 4),
        since=12,
        until=22,
        jitter_steps=7,
    ),
    # At Google: the same services and teams, which don't all spell themselves as they do at AWS.
    Workload("vllm-llama-3-70b-2", "serving", 5, (0, 1, 2, 3), 58, _CHAT),
    Workload(
        "vllm-mistral-large-1",
        "serving",
        5,
        (4, 5),
        61,
        _labels("fraud", "payments", "transaction-review", "mistral-large", "production"),
    ),
    Workload(
        "ablation",
        "research",
        5,
        (6, 7),
        92,
        _labels("ml-research", "foundation-models", "ablations", "acme-lm", "research"),
        weekdays=_WORKING_DAYS,
        since=8,
        until=24,
        jitter_steps=10,
    ),
    Workload(
        "caption-serve-0",
        "serving",
        6,
        (0,),
        41,
        _labels("computer-vision", "catalog", "image-captions", "caption-net", "production"),
    ),
    Workload(
        "embed-v2-2",
        "serving",
        6,
        (1,),
        36,
        _labels("Search", "site-search", "semantic-index", "embed-v2", "production"),
    ),
    Workload(
        "asr-train",
        "speech",
        7,
        (0, 1),
        86,
        _labels("asr", "call-center", "transcripts", "whisper-large-v3", "training"),
        weekdays=(1, 3),
        since=10,
        until=21,
        jitter_steps=6,
    ),
)


@dataclass(frozen=True)
class _Run:
    """One pod of a workload: the steps of a day, first to last exclusive, in which it holds its GPUs."""

    workload: Workload
    pod: str
    first_step: int
    end_step: int


def write_telemetry(folder: Path, span: Span) -> Iterator[int]:
    """Write `<folder>/<YYYY-MM-DD>/<metric>.json` for each day that has arrived; yield each day's number of samples."""
    for day in span.days():
        if day == LATE_DAY:
            continue
        runs = [run for workload in WORKLOADS for run in _runs_on(workload, day)]
        stamps = [f'[{second},"' for second in range(epoch(day), epoch(day) + DAY_SECONDS, STEP_SECONDS)]
        measured = [step for step in range(_STEPS_PER_DAY) if not _is_missing(epoch(day) + step * STEP_SECONDS)]
        day_folder = folder / day.isoformat()
        day_folder.mkdir(parents=True, exist_ok=True)
        samples = 0
        for metric, series in _metrics(day, runs).items():
            samples += _write_response(day_folder / f"{metric}.json", metric, series, stamps, measured)
        yield samples


@dataclass(frozen=True)
class _Series:
    """A Prometheus series: labels, the steps at which it exists and the text of its value at each of them."""

    labels: dict[str, str]
    steps: range
    values: list[str]


def _metrics(day: date, runs: list[_Run]) -> dict[str, list[_Series]]:
    engine_active: list[_Series] = []
    utilisation: list[_Series] = []
    up = [(number, node) for number, node in enumerate(NODES) if node.is_up_on(day)]
    for node_number, node in up:
        for gpu in range(node.gpus):
            for run in _holders(runs, node_number, gpu):
                busy = _busy_permille(day, run, node_number, gpu)
                steps = range(run.first_step, run.end_step)
                labels = _gpu_labels(node, gpu, run)
                engine_active.append(_Series(labels, steps, [_RATIOS[permille] for permille in busy]))
                utilisation.append(_Series(labels, steps, [_PERCENTS[permille] for permille in busy]))
    whole_day = range(_STEPS_PER_DAY)
    return {
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE": engine_active,
        "DCGM_FI_DEV_GPU_UTIL": utilisation,
        "kube_node_info": [_Series(_node_labels(node), whole_day, ["1"] * _STEPS_PER_DAY) for _, node in up],
        "kube_pod_labels": [
            _Series(_pod_labels(run), range(run.first_step, run.end_step), ["1"] * (run.end_step - run.first_step))
            for run in runs
        ],
    }


_RATIOS = [f"{permille / 1000:.3f}".rstrip("0").rstrip(".") for permille in range(1001)]
# The utilisation of a GPU counts any kernel in the window, so it reads higher than engine activity.
_PERCENTS = [str(min(100, (permille * 23 + 199) // 200)) for permille in range(1001)]


def _runs_on(workload: Workload, day: date) -> Iterator[_Run]:
    """The parts of the workload's runs that fall on `day`: yesterday's run may last into it."""
    midnight = epoch(day)
    if workload.runs_without_end:
        yield _Run(workload, f"{workload.name}", 0, _STEPS_PER_DAY)
        return
    for started_at in (midnight - DAY_SECONDS, midnight):
        weekday = (started_at // DAY_SECONDS + 3) % 7
        if weekday not in workload.weekdays:
            continue
        run_day = datetime.fromtimestamp(started_at, UTC).date()
        early, late = (value % (workload.jitter_steps + 1) for value in noise(f"run {workload.name} {run_day}", 2))
        steps_per_hour = HOUR_SECONDS // STEP_SECONDS
        first = (started_at - midnight) // STEP_SECONDS + workload.since * steps_per_hour + early
        end = (started_at - midnight) // STEP_SECONDS + workload.until * steps_per_hour - late
        first, end = max(first, 0), min(end, _STEPS_PER_DAY)
        if first < end:
            yield _Run(workload, f"{workload.name}-{token(f'{workload.name} {run_day}', 5)}", first, end)


_UNHELD = Workload("", "", 0, (), 0, ())


def _holders(runs: list[_Run], node: int, gpu: int) -> Iterator[_Run]:
    """The runs that hold a GPU through the day in order of time, and between them runs of nothing."""
    step = 0
    holding = [run for run in runs if run.workload.node == node and gpu in run.workload.gpus]
    for run in sorted(holding, key=lambda run: run.first_step):
        if step < run.first_step:
            yield _Run(_UNHELD, "", step, run.first_step)
        yield run
        step = run.end_step
    if step < _STEPS_PER_DAY:
        yield _Run(_UNHELD, "", step, _STEPS_PER_DAY)


def _busy_permille(day: date, run: _Run, node: int, gpu: int) -> list[int]:
    steps = run.end_step - run.first_step
    usual = run.workload.busy_percent * 10
    if not usual:
        return [0] * steps
    busy = []
    for step, drawn in enumerate(noise(f"busy {day} {node} {gpu} {run.first_step}", steps), start=run.first_step):
        hour = hour_of_day(step * STEP_SECONDS)
        # Services follow the day: 60 % of their usual activity outside the American working hours.
        level = usual if not run.workload.runs_without_end or 13 <= hour < 23 else usual * 6 // 10
        busy.append(min(1000, level * 9 // 10 + drawn * level // 327680))
    return busy


def _gpu_labels(node: MonitoredNode, gpu: int, run: _Run) -> dict[str, str]:
    exporter = f"dcgm-exporter-{token(f'exporter {node.name}', 5)}"
    labels = {
        "__name__": "",
        "DCGM_FI_DRIVER_VERSION": "570.133.20",
        "Hostname": node.name,
        "UUID": f"GPU-{identifier(f'gpu {node.name} {gpu}')}",
        "cluster": CLUSTER,
        "container": "exporter",
        "device": f"nvidia{gpu}",
        "endpoint": "metrics",
        "gpu": str(gpu),
        "instance": f"{node.address}:9400",
        "job": "dcgm-exporter",
        "modelName": node.gpu_name,
        "namespace": "gpu-operator",
        "pci_bus_id": f"00000000:{0x10 + gpu * 8:02X}:00.0",
        "pod": exporter,
        "service": "dcgm-exporter",
    }
    if run.workload is not _UNHELD:
        labels["exported_container"] = "main"
        labels["exported_namespace"] = run.workload.namespace
        labels["exported_pod"] = run.pod
    return labels


def _kube_state_labels() -> dict[str, str]:
    return {
        "__name__": "",
        "cluster": CLUSTER,
        "endpoint": "http",
        "instance": "10.0.4.7:8080",
        "job": "kube-state-metrics",
        "service": "kube-state-metrics",
    }


def _node_labels(node: MonitoredNode) -> dict[str, str]:
    return _kube_state_labels() | {
        "container": "kube-state-metrics",
        "container_runtime_version": "containerd://1.7.27",
        "internal_ip": node.address,
        "kubelet_version": node.kubelet_version,
        "node": node.name,
        "os_image": node.image,
        "provider_id": node.provider_id,
    }


def _pod_labels(run: _Run) -> dict[str, str]:
    return (
        _kube_state_labels()
        | {
            "namespace": run.workload.namespace,
            "pod": run.pod,
            "uid": identifier(f"pod {run.workload.namespace} {run.pod}"),
            "label_app": run.workload.name,
        }
        | dict(run.workload.labels)
    )


def _is_missing(second: int) -> bool:
    outage = int(MISSING_HOUR.timestamp())
    return outage <= second < outage + HOUR_SECONDS


def _write_response(path: Path, metric: str, all_series: list[_Series], stamps: list[str], measured: list[int]) -> int:
    """Write a matrix response and return its number of samples; a series without samples isn't in it."""
    result = []
    samples = 0
    complete = len(measured) == _STEPS_PER_DAY
    for series in all_series:
        steps = series.steps if complete else [step for step in measured if step in series.steps]
        if not steps:
            continue
        values = series.values if complete else [series.values[step - series.steps.start] for step in steps]
        points = '"],'.join([stamps[step] + value for step, value in zip(steps, values, strict=True)])
        labels = json.dumps(series.labels | {"__name__": metric}, separators=(",", ":"))
        result.append(f'{{"metric":{labels},"values":[{points}"]]}}')
        samples += len(steps)
    body = ",".join(result)
    path.write_text(
        f'{{"status":"success","data":{{"resultType":"matrix","result":[{body}]}}}}\n', encoding="utf-8", newline="\n"
    )
    return samples
