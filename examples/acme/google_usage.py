"""What Acme's Google Cloud projects use on demand: the cluster's GPU nodes, machines, data, models and networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

from examples.acme.google_lines import (
    BIGQUERY,
    CLOUD_LOGGING,
    CLOUD_SQL,
    CLOUD_STORAGE,
    COMPUTE_ENGINE,
    COUNT,
    GIBIBYTE_HOURS,
    GIBIBYTE_MONTHS,
    GIBIBYTES,
    HOURS,
    KUBERNETES_ENGINE,
    NETWORKING,
    SCALE,
    TEBIBYTES,
    VERTEX_AI,
    Credit,
    GoogleLine,
    GoogleMeter,
    Sku,
    priced,
    steady,
    varying,
)
from examples.acme.google_months import InvoiceMonth, invoice_month
from examples.acme.google_organisation import (
    ASSISTANT,
    FRAUD,
    G2,
    GPU_NODES,
    ML_PLATFORM,
    N1,
    RECOMMENDATIONS,
    REGION,
    RESEARCH,
    SEARCH,
    SPEECH,
    VISION,
    WAREHOUSE,
    ClusterNode,
    MachineType,
    Project,
)
from examples.acme.meters import always, office_hours
from examples.acme.organisation import CLUSTER
from examples.acme.span import DAY_SECONDS, HOUR_SECONDS

CORE_SKUS = {
    "a3": Sku(COMPUTE_ENGINE, "A3 Instance Core running in Americas", HOURS, Decimal("0.03")),
    "a2": Sku(COMPUTE_ENGINE, "A2 Instance Core running in Americas", HOURS, Decimal("0.0316")),
    "n2": Sku(COMPUTE_ENGINE, "N2 Instance Core running in Americas", HOURS, Decimal("0.0316")),
    "n1": Sku(COMPUTE_ENGINE, "N1 Predefined Instance Core running in Americas", HOURS, Decimal("0.0316")),
    "g2": Sku(COMPUTE_ENGINE, "G2 Instance Core running in Americas", HOURS, Decimal("0.025")),
}
RAM_SKUS = {
    "a3": Sku(COMPUTE_ENGINE, "A3 Instance Ram running in Americas", GIBIBYTE_HOURS, Decimal("0.0025")),
    "a2": Sku(COMPUTE_ENGINE, "A2 Instance Ram running in Americas", GIBIBYTE_HOURS, Decimal("0.0042")),
    "n2": Sku(COMPUTE_ENGINE, "N2 Instance Ram running in Americas", GIBIBYTE_HOURS, Decimal("0.004")),
    "n1": Sku(COMPUTE_ENGINE, "N1 Predefined Instance Ram running in Americas", GIBIBYTE_HOURS, Decimal("0.0042")),
    "g2": Sku(COMPUTE_ENGINE, "G2 Instance Ram running in Americas", GIBIBYTE_HOURS, Decimal("0.003")),
}
GPU_SKUS = {
    # The one price that Acme has negotiated.
    "a3": Sku(COMPUTE_ENGINE, "Nvidia H100 80GB GPU running in Americas", HOURS, Decimal("9.80"), Decimal("9.31")),
    "a2": Sku(COMPUTE_ENGINE, "Nvidia Tesla A100 GPU running in Americas", HOURS, Decimal("2.94")),
    "g2": Sku(COMPUTE_ENGINE, "Nvidia L4 GPU running in Americas", HOURS, Decimal("0.56")),
}
_DISK = Sku(COMPUTE_ENGINE, "SSD backed PD Capacity", GIBIBYTE_MONTHS, Decimal("0.17"))
_CLUSTER_FEE = Sku(KUBERNETES_ENGINE, "Regional Kubernetes Clusters", HOURS, Decimal("0.10"))
_ZONAL_CLUSTER_FEE = Sku(KUBERNETES_ENGINE, "Zonal Kubernetes Clusters", HOURS, Decimal("0.10"))
_ANALYSIS = Sku(BIGQUERY, "Analysis (us-central1)", TEBIBYTES, Decimal("6.25"))
_LOGICAL_STORAGE = Sku(BIGQUERY, "Active Logical Storage (us-central1)", GIBIBYTE_MONTHS, Decimal("0.02"))
_OBJECTS = Sku(CLOUD_STORAGE, "Standard Storage US Regional", GIBIBYTE_MONTHS, Decimal("0.02"))
_READS = Sku(CLOUD_STORAGE, "Regional Standard Class B Operations", COUNT, Decimal("0.0000004"))
_DATABASE = Sku(CLOUD_SQL, "Cloud SQL for PostgreSQL: Zonal - 4 vCPU + 15GB RAM in Americas", HOURS, Decimal("0.2708"))
_LOGS = Sku(CLOUD_LOGGING, "Log Storage cost", GIBIBYTES, Decimal("0.50"))
_EGRESS = Sku(NETWORKING, "Network Internet Data Transfer Out from Americas to Americas", GIBIBYTES, Decimal("0.085"))
_ZONES = Sku(NETWORKING, "Network Inter Zone Data Transfer Out", GIBIBYTES, Decimal("0.01"))
_GEMINI_INPUT = Sku(VERTEX_AI, "Gemini 2.5 Pro Text Input - Predictions", COUNT, Decimal("0.00000125"))
_GEMINI_OUTPUT = Sku(VERTEX_AI, "Gemini 2.5 Pro Text Output - Predictions", COUNT, Decimal("0.00001"))
_CLAUDE_INPUT = Sku(VERTEX_AI, "Claude Sonnet 4.5 - Input Tokens", COUNT, Decimal("0.000003"))

SUSTAINED_USE = Credit("SUSTAINED_USAGE_DISCOUNT", "Sustained Usage Discount")
FREE_TIER = Credit("FREE_TIER", "Free tier")
PROMOTION = Credit("PROMOTION", "Vertex AI trial credit", "0191AB-4C2D7E", "Generative AI trial credit for Acme")
NEGOTIATED = Credit("DISCOUNT", "Partner discount on storage operations")


def machine(series: MachineType) -> dict[str, str]:
    """The labels by which Google tells a machine's type."""
    return {
        "compute.googleapis.com/cores": str(series.vcpus),
        "compute.googleapis.com/machine_spec": series.name,
        "compute.googleapis.com/memory": str(series.memory * 1024),
    }


def node_meter(node: ClusterNode, sku: Sku, lines: list[GoogleLine]) -> GoogleMeter:
    """A meter of a node of the cluster."""
    return GoogleMeter(
        sku,
        ML_PLATFORM,
        lines,
        labels=node.labels,
        system_labels=machine(node.machine),
        resource=ML_PLATFORM.resource("instances", node.name),
    )


def gpu_nodes(month: InvoiceMonth) -> Iterator[GoogleMeter]:
    """The cluster's GPU nodes, hour by hour, apart from the GPUs that a commitment covers."""
    for node in GPU_NODES:
        series, hours = node.machine.series, node.hours(month.hours)
        yield node_meter(node, CORE_SKUS[series], steady(CORE_SKUS[series], hours, node.machine.vcpus))
        yield node_meter(node, RAM_SKUS[series], steady(RAM_SKUS[series], hours, node.machine.memory))
        if series == "a3":
            yield node_meter(node, GPU_SKUS[series], steady(GPU_SKUS[series], hours, node.machine.gpus))
        disk = ML_PLATFORM.resource("disks", node.name)
        yield GoogleMeter(_DISK, ML_PLATFORM, _stored(_DISK, month, 2000), labels=node.labels, resource=disk)


def _stored(sku: Sku, month: InvoiceMonth, gibibytes: int) -> list[GoogleLine]:
    """One line a day of what is stored, in gibibyte months of 730 hours cut to six places."""
    amount = Decimal(gibibytes * 24 * 10**6 // 730).scaleb(-6)
    return steady(sku, month.days, amount, DAY_SECONDS)


def cluster_fees(month: InvoiceMonth) -> Iterator[GoogleMeter]:
    """The fee of the cluster; and of a small one of another team that the free tier pays for."""
    place = f"projects/{ML_PLATFORM.number}/locations/{REGION}/clusters/{CLUSTER}"
    yield GoogleMeter(
        _CLUSTER_FEE,
        ML_PLATFORM,
        steady(_CLUSTER_FEE, month.hours, 1),
        labels={"goog-k8s-cluster-location": REGION, "goog-k8s-cluster-name": CLUSTER, "team": "ml-platform"},
        resource=(CLUSTER, f"//container.googleapis.com/{place}"),
        zone=None,
    )
    place = f"projects/{VISION.number}/zones/{REGION}-b/clusters/sandbox"
    yield GoogleMeter(
        _ZONAL_CLUSTER_FEE,
        VISION,
        [line._replace(credits=(-line.cost,)) for line in steady(_ZONAL_CLUSTER_FEE, month.days, 24, DAY_SECONDS)],
        labels={"goog-k8s-cluster-name": "sandbox"},
        resource=("sandbox", f"//container.googleapis.com/{place}"),
        zone=f"{REGION}-b",
        credits=(FREE_TIER,),
    )


def machines(month: InvoiceMonth) -> Iterator[GoogleMeter]:
    """Machines outside the cluster: one always on, which earns sustained use discounts, and one for office hours."""
    yield from _machine(SPEECH, "stream-decoder", N1, month, {"team": "asr", "feature": "transcripts"}, always)
    yield from _machine(VISION, "label-studio", G2, month, {"team": "vision", "product": "catalog"}, office_hours)


def _machine(
    project: Project,
    name: str,
    machine_type: MachineType,
    month: InvoiceMonth,
    labels: Mapping[str, str],
    when: Callable[[range], list[int]],
) -> Iterator[GoogleMeter]:
    series, hours = machine_type.series, when(month.hours)
    amounts = [(CORE_SKUS[series], machine_type.vcpus), (RAM_SKUS[series], machine_type.memory)]
    if machine_type.gpus:
        amounts.append((GPU_SKUS[series], machine_type.gpus))
    for sku, amount in amounts:
        lines = steady(sku, hours, amount)
        if series == "n1":
            lines = [line._replace(credits=(-_sustained_use(month, line),)) for line in lines]
        yield GoogleMeter(
            sku,
            project,
            lines,
            labels=labels,
            system_labels=machine(machine_type),
            resource=project.resource("instances", name),
            credits=(SUSTAINED_USE,) if series == "n1" else (),
        )


def _sustained_use(month: InvoiceMonth, line: GoogleLine) -> int:
    """Each quarter of a month costs a fifth less than the one before: N1's sustained use discount."""
    quarter = (line.start - month.start) * 4 // (month.end - month.start)
    return line.cost * quarter // 5


def analytics(month: InvoiceMonth) -> Iterator[GoogleMeter]:
    """BigQuery: a tebibyte of analysis each month is free; and Cloud Storage."""
    scanned: tuple[tuple[Project, str, dict[str, str]], ...] = (
        (WAREHOUSE, "1.6", {}),
        (SEARCH, "0.4", {"team": "search"}),
        (RECOMMENDATIONS, "0.3", {"team": "recs"}),
    )
    for project, usual, labels in scanned:
        lines = varying(_ANALYSIS, f"{project.id} analysis", month.hours, Decimal(usual), Decimal("0.001"))
        if project is WAREHOUSE:
            lines = _with_free_tebibyte(month, lines)
        yield GoogleMeter(
            _ANALYSIS, project, lines, labels=labels, zone=None, credits=(FREE_TIER,) if project is WAREHOUSE else ()
        )
    for project, gibibytes, labels in ((WAREHOUSE, 210000, {}), (SEARCH, 38000, {"team": "search"})):
        dataset = (f"{project.id}.events", f"//bigquery.googleapis.com/projects/{project.id}/datasets/events")
        lines = _stored(_LOGICAL_STORAGE, month, gibibytes)
        yield GoogleMeter(_LOGICAL_STORAGE, project, lines, labels=labels, resource=dataset, zone=None)
    buckets: tuple[tuple[Project, str, int, int, dict[str, str]], ...] = (
        (SEARCH, "acme-search-passages", 52000, 110000, {"team": "search", "product": "site-search"}),
        (VISION, "acme-vision-frames", 140000, 260000, {"team": "computer-vision"}),
        (RESEARCH, "acme-research-tokens", 390000, 90000, {}),
        (SPEECH, "acme-speech-calls", 61000, 20000, {"customer": "umbrella"}),
    )
    for project, name, gibibytes, reads, labels in buckets:
        bucket = (name, f"//storage.googleapis.com/projects/_/buckets/{name}")
        lines = _stored(_OBJECTS, month, gibibytes)
        yield GoogleMeter(_OBJECTS, project, lines, labels=labels, resource=bucket, zone=None)
        lines = varying(_READS, name, month.days, 12 * reads, 100, DAY_SECONDS)
        yield GoogleMeter(
            _READS,
            project,
            # A twentieth off, by agreement.
            [line._replace(credits=(-(line.cost // 20),)) for line in lines],
            labels=labels,
            resource=bucket,
            zone=None,
            credits=(NEGOTIATED,),
        )


def _with_free_tebibyte(month: InvoiceMonth, lines: list[GoogleLine]) -> list[GoogleLine]:
    left = SCALE
    credited = []
    for line in lines:
        # What the month's earlier days used isn't known where they aren't generated; the free part is then long gone.
        free = min(left, line.amount) if month.hours.start == month.start else 0
        left -= free
        credited.append(line._replace(credits=(-priced(free, _ANALYSIS.price),)))
    return credited


def models(month: InvoiceMonth) -> Iterator[GoogleMeter]:
    """Vertex AI, with labels that the requests carry; a trial credit in August, and a model that a partner sells."""
    callers: tuple[tuple[Project, dict[str, str], int], ...] = (
        (ASSISTANT, {"team": "assistant", "feature": "chat"}, 2600000),
        (SEARCH, {"team": "searching", "feature": "answer-box"}, 1900000),
        (FRAUD, {"team": "fraud", "feature": "case-summaries", "customer": "gringotts"}, 800000),
    )
    for project, labels, tokens in callers:
        key = f"vertex {project.id}"
        for sku, usual, step in ((_GEMINI_INPUT, tokens, 1000), (_GEMINI_OUTPUT, tokens // 12, 100)):
            lines = varying(sku, f"{key} {sku.description}", month.hours, usual, step)
            credits = (PROMOTION,) if project is ASSISTANT and invoice_month(month.start) == "202608" else ()
            if credits:
                lines = [line._replace(credits=(-(line.cost // 4),)) for line in lines]
            yield GoogleMeter(sku, project, lines, labels=labels, zone=None, credits=credits)
    lines = varying(_CLAUDE_INPUT, "vertex claude", month.hours, 700000, 1000)
    labels = {"team": "assistant", "feature": "tool-use"}
    yield GoogleMeter(_CLAUDE_INPUT, ASSISTANT, lines, labels=labels, zone=None, seller="Anthropic")


def services(month: InvoiceMonth) -> Iterator[GoogleMeter]:
    """Databases, logs and traffic between zones and to the internet, a line a day."""
    for project, labels in ((ASSISTANT, {"team": "assistant"}), (FRAUD, {"cost-center": "cc-1004"})):
        instance = f"{project.id}:{REGION}:main"
        database = (instance, f"//cloudsql.googleapis.com/projects/{project.id}/instances/main")
        lines = steady(_DATABASE, month.days, 24, DAY_SECONDS)
        yield GoogleMeter(_DATABASE, project, lines, labels=labels, resource=database, zone=None)
    for number, project in enumerate((ML_PLATFORM, SEARCH, ASSISTANT, RECOMMENDATIONS, VISION, SPEECH, FRAUD)):
        for sku, usual in ((_LOGS, 60), (_EGRESS, 900), (_ZONES, 4200)):
            key, amount = f"{project.id} {sku.description}", usual + 10 * number
            lines = varying(sku, key, month.days, amount, Decimal("0.001"), DAY_SECONDS)
            yield GoogleMeter(sku, project, lines, zone=None)


def late_usage(month: InvoiceMonth) -> Iterator[GoogleMeter]:
    """Analysis of August's last day that was metered days later, and is on September's invoice."""
    if invoice_month(month.start) == "202609" and month.hours.start == month.start:
        hours = range(month.start - 6 * HOUR_SECONDS, month.start, HOUR_SECONDS)
        lines = varying(_ANALYSIS, "late analysis", hours, Decimal("0.9"), Decimal("0.001"))
        yield GoogleMeter(
            _ANALYSIS,
            RESEARCH,
            [line._replace(invoiced_at=month.start) for line in lines],
            zone=None,
            delay=2 * DAY_SECONDS,
        )


def on_demand_usage(month: InvoiceMonth) -> list[GoogleMeter]:
    """All usage of the month but the cluster's CPU nodes and the GPUs that a commitment covers."""
    return [
        *gpu_nodes(month),
        *cluster_fees(month),
        *machines(month),
        *analytics(month),
        *models(month),
        *services(month),
        *late_usage(month),
    ]
