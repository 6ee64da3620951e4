"""Who Acme is: its accounts, its teams, and the nodes of its training and serving cluster."""

from __future__ import annotations

from dataclasses import dataclass

PAYER_ACCOUNT = "000123456789"
PLATFORM_ACCOUNT = "012345678901"
SEARCH_ACCOUNT = "023456789012"
ASSISTANT_ACCOUNT = "034567890123"
RECOMMENDATIONS_ACCOUNT = "045678901234"
FRAUD_ACCOUNT = "056789012345"
RESEARCH_ACCOUNT = "067890123456"
DATA_LAKE_ACCOUNT = "078901234567"
BEDROCK_ACCOUNT = "089012345678"

ACCOUNT_NAMES = {
    PAYER_ACCOUNT: "acme-management",
    PLATFORM_ACCOUNT: "acme-ml-platform",
    SEARCH_ACCOUNT: "acme-search",
    ASSISTANT_ACCOUNT: "acme-assistant",
    RECOMMENDATIONS_ACCOUNT: "acme-recommendations",
    FRAUD_ACCOUNT: "acme-fraud",
    RESEARCH_ACCOUNT: "acme-research-lab",
    DATA_LAKE_ACCOUNT: "acme-data-lake",
    BEDROCK_ACCOUNT: "acme-model-gateway",
}

GLOBEX_PAYER_ACCOUNT = "000987654321"
GLOBEX_STORE_ACCOUNT = "000987654322"
GLOBEX_DATA_ACCOUNT = "000987654323"

TEAMS = ("assistant", "fraud", "platform", "recommendations", "research", "search", "speech", "vision")
"""The teams that share Acme's cluster; the acquired Globex brings `commerce`, which doesn't."""

CLUSTER = "train-serve"
REGION = "us-east-1"
AVAILABILITY_ZONE = "us-east-1a"


@dataclass(frozen=True)
class GpuNode:
    """A node of 8 GPUs: its name in Kubernetes, its instance in the bill, and what its GPUs call themselves."""

    name: str
    instance_id: str
    instance_type: str
    gpu_name: str
    pricing: str
    """How the bill charges it: savings plan, part savings plan, spot, reserved or on demand."""

    @property
    def provider_id(self) -> str:
        """The node's provider id as Kubernetes reports it."""
        return f"aws:///{AVAILABILITY_ZONE}/{self.instance_id}"


GPUS_PER_NODE = 8

GPU_NODES = (
    GpuNode("ip-10-0-1-11.ec2.internal", "i-0a51f00c3d2b4e601", "p5.48xlarge", "NVIDIA H100 80GB HBM3", "savings plan"),
    GpuNode(
        "ip-10-0-1-12.ec2.internal", "i-0a51f00c3d2b4e602", "p5.48xlarge", "NVIDIA H100 80GB HBM3", "part savings plan"
    ),
    GpuNode("ip-10-0-1-13.ec2.internal", "i-0a51f00c3d2b4e603", "p5.48xlarge", "NVIDIA H100 80GB HBM3", "spot"),
    GpuNode("ip-10-0-2-21.ec2.internal", "i-0b4d2470f6a1c7e01", "p4d.24xlarge", "NVIDIA A100-SXM4-40GB", "reserved"),
    GpuNode("ip-10-0-2-22.ec2.internal", "i-0b4d2470f6a1c7e02", "p4d.24xlarge", "NVIDIA A100-SXM4-40GB", "on demand"),
)
