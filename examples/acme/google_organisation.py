"""Acme's Google Cloud organisation: its projects, and the nodes that it adds to the training and serving cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from examples.acme.meters import always, office_hours
from examples.acme.noise import noise, token
from examples.acme.organisation import CLUSTER
from examples.acme.span import is_weekend

BILLING_ACCOUNT = "01A2B3-C4D5E6-F70819"
ORGANISATION = ("organizations/815000000001", "acme.example")
REGION = "us-central1"
ZONE = "us-central1-a"


@dataclass(frozen=True)
class Project:
    """A project with the labels somebody gave it: label values are lower-case at Google."""

    id: str
    number: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    folder: tuple[str, str] = ("folders/720000000001", "products")

    def resource(self, kind: str, name: str, place: str = f"zones/{ZONE}") -> tuple[str, str]:
        """The name and the global name of a Compute Engine resource; the latter has numbers, as in the real export."""
        return name, f"//compute.googleapis.com/projects/{self.number}/{place}/{kind}/{numeric_id(f'{kind} {name}')}"


def numeric_id(key: str) -> str:
    """A resource's number as Google writes it: 19 digits."""
    return str(10**18 + sum(part << (16 * place) for place, part in enumerate(noise(key, 4))) % (8 * 10**18))


ML_PLATFORM = Project(
    "acme-ml-platform",
    "410000000011",
    "ML Platform",
    {"team": "ml-platform", "env": "prod"},
    ("folders/720000000002", "machine-learning"),
)
SEARCH = Project("acme-search-prod", "410000000012", "Search", {"team": "search", "cost_center": "cc-1001"})
ASSISTANT = Project("acme-assistant-prod", "410000000013", "Assistant", {"team": "assistant", "env": "prod"})
RECOMMENDATIONS = Project("acme-recs", "410000000014", "Recs", {"team": "recs"})
VISION = Project("acme-vision-lab", "410000000015", "Vision lab", {"team": "computer-vision", "env": "dev"})
SPEECH = Project("acme-speech-prod", "410000000016", "Speech")
RESEARCH = Project("acme-research", "410000000017", "Research", {"team": "ml-research"})
FRAUD = Project("acme-fraud-prod", "410000000018", "Fraud", {"team": "fraud"})
WAREHOUSE = Project("acme-warehouse", "410000000019", "Data warehouse", {"cost_center": "cc-1007"})
COMMITMENTS = Project("acme-billing-admin", "410000000010", "Billing administration")
"""Where commitments are bought."""

PROJECTS = (
    ML_PLATFORM,
    SEARCH,
    ASSISTANT,
    RECOMMENDATIONS,
    VISION,
    SPEECH,
    RESEARCH,
    FRAUD,
    WAREHOUSE,
    COMMITMENTS,
)


def weekdays(hours: range) -> list[int]:
    """Every hour from Monday to Friday, UTC."""
    return [hour for hour in hours if not is_weekend(hour)]


@dataclass(frozen=True)
class MachineType:
    """What a predefined machine consists of: virtual CPUs, memory in GiB, GPUs and what they're called."""

    name: str
    vcpus: int
    memory: int
    gpus: int = 0
    gpu_name: str = ""

    @property
    def series(self) -> str:
        """The series that SKUs are priced by."""
        return self.name.partition("-")[0]


A3 = MachineType("a3-highgpu-8g", 208, 1872, 8, "NVIDIA H100 80GB HBM3")
A2 = MachineType("a2-highgpu-2g", 24, 170, 2, "NVIDIA A100-SXM4-40GB")
N2 = MachineType("n2-standard-8", 8, 32)
N1 = MachineType("n1-standard-8", 8, 30)
G2 = MachineType("g2-standard-8", 8, 32, 1, "NVIDIA L4")


@dataclass(frozen=True)
class ClusterNode:
    """A node of the cluster's Google part."""

    name: str
    machine: MachineType
    pool: str
    hours: Callable[[range], list[int]] = always

    @property
    def provider_id(self) -> str:
        """The node's provider id as Kubernetes reports it."""
        return f"gce://{ML_PLATFORM.id}/{ZONE}/{self.name}"

    @property
    def labels(self) -> dict[str, str]:
        """The labels that Kubernetes Engine and Acme's own tooling put on a node's charges."""
        return {
            "env": "production",
            "goog-gke-node": "",
            "goog-k8s-cluster-location": REGION,
            "goog-k8s-cluster-name": CLUSTER,
            "goog-k8s-node-pool-name": self.pool,
            "team": "ml-platform",
        }


def _node(pool: str, number: int, machine: MachineType, hours: Callable[[range], list[int]] = always) -> ClusterNode:
    suffix = token(f"instance group {pool}", 8)
    return ClusterNode(f"gke-{CLUSTER}-{pool}-{suffix}-{token(f'{pool} {number}', 4)}", machine, pool, hours)


H100_NODE = _node("h100", 0, A3)
A100_SERVING_NODE = _node("a100", 0, A2)
A100_TRAINING_NODE = _node("a100", 1, A2, weekdays)
GPU_NODES = (H100_NODE, A100_SERVING_NODE, A100_TRAINING_NODE)
CPU_NODES = tuple(_node("cpu", number, N2, always if number < 3 else office_hours) for number in range(5))
