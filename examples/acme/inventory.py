"""What Acme runs in its accounts: instances, buckets, traffic and inference profiles, with the tags people gave them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from examples.acme.meters import always, office_hours
from examples.acme.noise import token
from examples.acme.organisation import (
    ASSISTANT_ACCOUNT,
    BEDROCK_ACCOUNT,
    CLUSTER,
    DATA_LAKE_ACCOUNT,
    FRAUD_ACCOUNT,
    PLATFORM_ACCOUNT,
    RECOMMENDATIONS_ACCOUNT,
    RESEARCH_ACCOUNT,
    SEARCH_ACCOUNT,
)

Tags = Mapping[str, str]
"""Resource tags as a CUR 2.0 export spells their keys: `user_team` for the tag `team`."""

ON_DEMAND_RATES = {
    "p5.48xlarge": Decimal("55.04"),
    "p4d.24xlarge": Decimal("21.957642"),
    "m5.4xlarge": Decimal("0.768"),
    "m6i.2xlarge": Decimal("0.384"),
    "m6i.4xlarge": Decimal("0.768"),
    "r6i.2xlarge": Decimal("0.504"),
    "c6i.4xlarge": Decimal("0.68"),
    "g5.2xlarge": Decimal("1.212"),
    "t3.large": Decimal("0.0832"),
}
"""US dollars an hour, Linux, us-east-1."""

VCPUS = {
    "p5.48xlarge": "192",
    "p4d.24xlarge": "96",
    "m5.4xlarge": "16",
    "m6i.2xlarge": "8",
    "m6i.4xlarge": "16",
    "r6i.2xlarge": "8",
    "c6i.4xlarge": "16",
    "g5.2xlarge": "8",
    "t3.large": "2",
}

_CLUSTER_TAGS = {"user_cluster": CLUSTER, "user_environment": "production", "aws_eks_cluster_name": CLUSTER}
GPU_NODE_TAGS = {**_CLUSTER_TAGS, "user_team": "platform", "user_name": f"{CLUSTER}-gpu"}
CPU_NODE_TAGS = {**_CLUSTER_TAGS, "user_team": "ML-Platform", "user_name": f"{CLUSTER}-cpu"}


@dataclass(frozen=True)
class Instance:
    """An instance that one team runs outside the cluster, with a gp3 volume if it keeps data of its own."""

    name: str
    account: str
    instance_type: str
    tags: Tags
    hours: Callable[[range], list[int]] = always
    volume_gigabytes: int = 0
    is_reserved: bool = False

    @property
    def instance_id(self) -> str:
        """The EC2 instance id."""
        return f"i-{token(f'instance {self.name}', 17)}"


INSTANCES = (
    Instance(
        "search-api-1",
        SEARCH_ACCOUNT,
        "m6i.2xlarge",
        {"user_team": "Search", "user_product": "site-search"},
        is_reserved=True,
    ),
    Instance(
        "search-api-2",
        SEARCH_ACCOUNT,
        "m6i.2xlarge",
        {"user_team": "search", "user_product": "site-search"},
        is_reserved=True,
    ),
    Instance(
        "search-dev",
        SEARCH_ACCOUNT,
        "m6i.2xlarge",
        {"user_team": "search", "user_environment": "development"},
        office_hours,
        is_reserved=True,
    ),
    Instance(
        "search-index-1",
        SEARCH_ACCOUNT,
        "r6i.2xlarge",
        {"user_team": "searching", "user_product": "site-search"},
        volume_gigabytes=1200,
    ),
    Instance("search-index-2", SEARCH_ACCOUNT, "r6i.2xlarge", {"user_product": "site-search"}, volume_gigabytes=1200),
    Instance("search-index-3", SEARCH_ACCOUNT, "r6i.2xlarge", {}, volume_gigabytes=1200),
    Instance("assistant-web-1", ASSISTANT_ACCOUNT, "m6i.2xlarge", {"user_team": "Assistant", "user_feature": "chat"}),
    Instance("assistant-web-2", ASSISTANT_ACCOUNT, "m6i.2xlarge", {"user_team": "assistant", "user_feature": "chat"}),
    Instance(
        "assistant-tools", ASSISTANT_ACCOUNT, "c6i.4xlarge", {"user_team": "assistant", "user_feature": "tool-use"}
    ),
    Instance("assistant-staging", ASSISTANT_ACCOUNT, "m6i.2xlarge", {"user_environment": "Staging"}, office_hours),
    Instance(
        "recs-features",
        RECOMMENDATIONS_ACCOUNT,
        "r6i.2xlarge",
        {"user_team": "Recs", "user_product": "storefront"},
        volume_gigabytes=900,
    ),
    Instance(
        "recs-rank-1",
        RECOMMENDATIONS_ACCOUNT,
        "c6i.4xlarge",
        {"user_team": "recommendations", "user_feature": "ranking"},
    ),
    Instance(
        "recs-rank-2",
        RECOMMENDATIONS_ACCOUNT,
        "c6i.4xlarge",
        {"user_team": "recommendations", "user_feature": "ranking"},
    ),
    Instance("recs-dev", RECOMMENDATIONS_ACCOUNT, "m6i.2xlarge", {}, office_hours),
    Instance(
        "fraud-score-1",
        FRAUD_ACCOUNT,
        "c6i.4xlarge",
        {"user_team": "FRAUD", "user_product": "payments", "user_customer": "gringotts"},
    ),
    Instance(
        "fraud-score-2",
        FRAUD_ACCOUNT,
        "c6i.4xlarge",
        {"user_team": "fraud", "user_product": "payments", "user_customer": "piggybank"},
    ),
    Instance("fraud-graph", FRAUD_ACCOUNT, "r6i.2xlarge", {"user_cost_center": "CC-1004"}, volume_gigabytes=1600),
    Instance(
        "vision-label",
        RESEARCH_ACCOUNT,
        "g5.2xlarge",
        {"user_team": "Vision ", "user_product": "catalog"},
        office_hours,
        volume_gigabytes=500,
    ),
    Instance("vision-api", RESEARCH_ACCOUNT, "g5.2xlarge", {"user_team": "vision", "user_product": "catalog"}),
    Instance("speech-stream", RESEARCH_ACCOUNT, "g5.2xlarge", {"user_team": "speech", "user_customer": "umbrella"}),
    Instance("research-workstation-1", RESEARCH_ACCOUNT, "g5.2xlarge", {"user_team": "ML-Research"}, office_hours),
    Instance("research-workstation-2", RESEARCH_ACCOUNT, "g5.2xlarge", {"user_owner": "ada"}, office_hours),
    Instance("platform-registry", PLATFORM_ACCOUNT, "m6i.4xlarge", {"user_team": "ML-Platform"}, volume_gigabytes=700),
    Instance("platform-bastion", PLATFORM_ACCOUNT, "t3.large", {}),
    Instance("lake-ingest", DATA_LAKE_ACCOUNT, "m6i.4xlarge", {"user_cost_center": "CC-1007"}, volume_gigabytes=800),
    Instance("lake-catalog", DATA_LAKE_ACCOUNT, "m6i.2xlarge", {}),
    Instance("lake-compaction", DATA_LAKE_ACCOUNT, "r6i.2xlarge", {"user_team": "tbd"}, office_hours),
)


@dataclass(frozen=True)
class Bucket:
    """An S3 bucket: what it stores and how often it is asked, an hour."""

    name: str
    account: str
    gigabytes: int
    reads: int
    writes: int
    tags: Tags


BUCKETS = (
    Bucket("acme-search-index", SEARCH_ACCOUNT, 41000, 90000, 9000, {"user_team": "search"}),
    Bucket(
        "acme-conversations", ASSISTANT_ACCOUNT, 12000, 40000, 30000, {"user_team": "assistant", "user_feature": "chat"}
    ),
    Bucket("acme-item-vectors", RECOMMENDATIONS_ACCOUNT, 23000, 160000, 4000, {"user_team": "recommendations"}),
    Bucket("acme-transactions", FRAUD_ACCOUNT, 64000, 30000, 60000, {}),
    Bucket("acme-product-images", RESEARCH_ACCOUNT, 180000, 220000, 7000, {"user_team": "VISION"}),
    Bucket(
        "acme-call-audio", RESEARCH_ACCOUNT, 90000, 20000, 15000, {"user_team": "speech", "user_customer": "umbrella"}
    ),
    Bucket("acme-pretraining-corpus", RESEARCH_ACCOUNT, 420000, 310000, 1000, {"user_team": "ml-research"}),
    Bucket(
        "acme-checkpoints", PLATFORM_ACCOUNT, 96000, 12000, 8000, {"user_cluster": CLUSTER, "user_team": "platform"}
    ),
    Bucket("acme-model-registry", PLATFORM_ACCOUNT, 15000, 9000, 500, {}),
    Bucket("acme-clickstream", DATA_LAKE_ACCOUNT, 260000, 70000, 90000, {}),
    Bucket("acme-warehouse", DATA_LAKE_ACCOUNT, 130000, 55000, 20000, {"user_cost_center": "CC-1007"}),
)

TRAFFIC_ACCOUNTS = {
    SEARCH_ACCOUNT: 90,
    ASSISTANT_ACCOUNT: 140,
    RECOMMENDATIONS_ACCOUNT: 60,
    FRAUD_ACCOUNT: 25,
    RESEARCH_ACCOUNT: 75,
    PLATFORM_ACCOUNT: 30,
    DATA_LAKE_ACCOUNT: 20,
}
"""Gigabytes an hour that leave for the internet."""

INFERENCE_PROFILES = (
    (
        "assistant-nightly-evaluation",
        ASSISTANT_ACCOUNT,
        {"user_team": "assistant", "user_feature": "evaluation"},
        0,
        900,
    ),
    ("catalog-attributes", RESEARCH_ACCOUNT, {"user_team": "VISION", "user_product": "catalog"}, 1, 2400),
    ("storefront-copy", BEDROCK_ACCOUNT, {"user_team": "Recs", "user_product": "storefront"}, 0, 500),
)
"""Application inference profiles, called past the gateway: name, account, tags, Bedrock model, 1000 tokens an hour."""
