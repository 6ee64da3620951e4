"""Acme's Azure enrolment: its subscriptions, and what runs in them with the tags people gave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from examples.acme.noise import identifier

ENROLMENT = "61234567"
ENROLMENT_NAME = "Acme Corporation"
REGION = "EastUS"


@dataclass(frozen=True)
class Subscription:
    """A subscription and the department that pays for it."""

    id: str
    name: str
    department: str


def _subscription(name: str, department: str) -> Subscription:
    return Subscription(identifier(f"azure subscription {name}"), name, department)


SEARCH = _subscription("Acme Search", "Product")
RISK = _subscription("Acme Fraud & Risk", "Product")
AI = _subscription("Acme AI Shared", "Machine Learning")
CORPORATE = _subscription("Acme Corporate IT", "IT")


@dataclass(frozen=True)
class Resource:
    """A resource of a subscription: its kind is the provider's namespace and type, as the resource id spells them."""

    subscription: Subscription
    group: str
    kind: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The resource id, in the case that the service happened to report it in."""
        return f"/subscriptions/{self.subscription.id}/resourceGroups/{self.group}/providers/{self.kind}/{self.name}"

    @property
    def service(self) -> str:
        """The resource provider that reports the usage."""
        return self.kind.partition("/")[0]


@dataclass(frozen=True)
class Meter:
    """What usage is charged by: one unit of measure at a price, and at what the public pays."""

    category: str
    subcategory: str
    name: str
    unit: str
    price: Decimal
    family: str
    list_price: Decimal | None = None

    @property
    def id(self) -> str:
        """The meter's id."""
        return identifier(f"azure meter {self.category} {self.subcategory} {self.name}")


@dataclass(frozen=True)
class VirtualMachine:
    """A machine of a size, running around the clock or noon to midnight UTC from Monday to Friday."""

    resource: Resource
    size: str
    in_office_hours: bool = False


VIRTUAL_MACHINES = "Microsoft.Compute/virtualMachines"
SCALE_SETS = "Microsoft.Compute/virtualMachineScaleSets"
DISKS = "Microsoft.Compute/disks"
STORAGE = "Microsoft.Storage/storageAccounts"
OPENAI = "Microsoft.CognitiveServices/accounts"
SQL = "Microsoft.Sql/servers/acme/databases"
KUBERNETES = "Microsoft.ContainerService/managedClusters"
LOGS = "Microsoft.OperationalInsights/workspaces"
ADDRESSES = "Microsoft.Network/publicIPAddresses"
NETWORKS = "Microsoft.Network/virtualNetworks"
VAULTS = "Microsoft.KeyVault/vaults"

SIZES = {
    "Standard_D8s_v5": Meter(
        "Virtual Machines", "Dsv5 Series", "D8s v5", "1 Hour", Decimal("0.384"), "Compute", Decimal("0.384")
    ),
    "Standard_E8s_v5": Meter(
        "Virtual Machines", "Esv5 Series", "E8s v5", "1 Hour", Decimal("0.504"), "Compute", Decimal("0.504")
    ),
    "Standard_NC24ads_A100_v4": Meter(
        "Virtual Machines",
        "NCads A100 v4 Series",
        "NC24ads A100 v4",
        "1 Hour",
        Decimal("3.673"),
        "Compute",
        Decimal("3.673"),
    ),
    "Standard_B4ms": Meter(
        "Virtual Machines", "BS Series", "B4ms", "1 Hour", Decimal("0.1577"), "Compute", Decimal("0.166")
    ),
}
VCPUS = {"Standard_D8s_v5": 8, "Standard_E8s_v5": 8, "Standard_NC24ads_A100_v4": 24, "Standard_B4ms": 4}


def _machine(
    subscription: Subscription,
    name: str,
    size: str,
    tags: Mapping[str, str],
    *,
    kind: str = VIRTUAL_MACHINES,
    in_office_hours: bool = False,
) -> VirtualMachine:
    group = f"rg-{name.split('-')[0]}"
    return VirtualMachine(Resource(subscription, group, kind, name, tags), size, in_office_hours)


RESERVED = (
    _machine(SEARCH, "search-ranker-1", "Standard_D8s_v5", {"Team": "Search", "env": "prod"}),
    _machine(SEARCH, "search-ranker-2", "Standard_D8s_v5", {"Team": "search team", "env": "prod"}),
    _machine(RISK, "risk-api-1", "Standard_D8s_v5", {"Team": "Fraud", "CostCenter": "CC-1004"}),
    _machine(RISK, "risk-batch-1", "Standard_D8s_v5", {"CostCenter": "cc-1004"}, in_office_hours=True),
)
"""In the order in which the reservation covers them."""

PLANNED = (
    _machine(AI, "recs-cache-1", "Standard_E8s_v5", {"team": "Recommendations"}, kind=SCALE_SETS),
    _machine(AI, "recs-cache-2", "Standard_E8s_v5", {"team": "recs"}, kind=SCALE_SETS),
    _machine(AI, "vision-eval", "Standard_NC24ads_A100_v4", {"team": "Computer Vision"}, in_office_hours=True),
)
"""In the order in which the savings plan covers them."""

ON_DEMAND = (
    _machine(CORPORATE, "jump-host", "Standard_B4ms", {"Owner": "it-operations"}),
    _machine(CORPORATE, "build-agent", "Standard_B4ms", {"team": "Platform-Team"}, in_office_hours=True),
)


@dataclass(frozen=True)
class Consumption:
    """Usage of a resource by amount: what a day usually comes to, in whole steps, in the meter's unit of measure."""

    resource: Resource
    meter: Meter
    usual: Decimal
    step: Decimal
    is_steady: bool = False


def _disk(name: str, subscription: Subscription, tags: Mapping[str, str]) -> Consumption:
    meter = Meter(
        "Storage",
        "Premium SSD Managed Disks",
        "P30 LRS Disk",
        "1/Month",
        Decimal("129.76"),
        "Storage",
        Decimal("135.17"),
    )
    # A thirtieth of a month a day, in ten-thousandths.
    resource = Resource(subscription, f"rg-{name.split('-')[0]}", DISKS, name, tags)
    return Consumption(resource, meter, Decimal("0.0333"), Decimal("0.0001"), is_steady=True)


_STORED = Meter(
    "Storage",
    "Tiered Block Blob",
    "Hot LRS Data Stored",
    "1 GB/Month",
    Decimal("0.02"),
    "Storage",
    Decimal("0.0208"),
)
_WRITES = Meter(
    "Storage",
    "Tiered Block Blob",
    "Hot LRS Write Operations",
    "10K",
    Decimal("0.048"),
    "Storage",
    Decimal("0.05"),
)
_READS = Meter(
    "Storage",
    "Tiered Block Blob",
    "Hot Read Operations",
    "10K",
    Decimal("0.00384"),
    "Storage",
    Decimal("0.004"),
)
_EGRESS = Meter(
    "Bandwidth",
    "Rtn Preference: MGN",
    "Standard Data Transfer Out",
    "1 GB",
    Decimal("0.0835"),
    "Networking",
    Decimal("0.087"),
)
_ADDRESS = Meter(
    "Virtual Network",
    "IP Addresses",
    "Standard IPv4 Static Public IP",
    "10 Hours",
    Decimal("0.05"),
    "Networking",
    Decimal("0.05"),
)
_DATABASE = Meter(
    "SQL Database",
    "SQL Database Single/Elastic Pool General Purpose - Compute Gen5",
    "vCore",
    "1 Hour",
    Decimal("0.1461"),
    "Databases",
    Decimal("0.1522"),
)
_UPTIME = Meter(
    "Azure Kubernetes Service",
    "",
    "Standard Uptime SLA",
    "1 Hour",
    Decimal("0.1"),
    "Compute",
    Decimal("0.1"),
)
_LOG_DATA = Meter(
    "Log Analytics",
    "",
    "Analytics Logs Data Ingestion",
    "1 GB",
    Decimal("2.2080"),
    "Management and Governance",
    Decimal("2.30"),
)
_SECRETS = Meter(
    "Key Vault",
    "",
    "Operations",
    "10K",
    Decimal("0.03"),
    "Security",
    Decimal("0.03"),
)


def _tokens(name: str, price: str) -> Meter:
    return Meter(
        "Foundry Models",
        "Azure OpenAI",
        f"{name} glbl Tokens",
        "1K",
        Decimal(price),
        "AI + Machine Learning",
        Decimal(price),
    )


_GPT_INPUT, _GPT_CACHED, _GPT_OUTPUT = (
    _tokens("gpt 4.1 Inp", "0.002"),
    _tokens("gpt 4.1 cached Inp", "0.0005"),
    _tokens("gpt 4.1 Outp", "0.008"),
)
_EMBEDDING = _tokens("text embedding 3 large", "0.00013")


def _consumption() -> tuple[Consumption, ...]:
    found = [
        _disk("search-ranker-disk-1", SEARCH, {"Team": "Search"}),
        _disk("search-ranker-disk-2", SEARCH, {"Team": "Search"}),
        _disk("risk-api-disk-1", RISK, {"Team": "Fraud"}),
        _disk("vision-eval-disk-1", AI, {"team": "Computer Vision"}),
        _disk("jump-disk-1", CORPORATE, {}),
    ]
    accounts: tuple[tuple[Subscription, str, Mapping[str, str], int, int], ...] = (
        (SEARCH, "acmesearchblobs", {"Team": "Search"}, 900, 60),
        (RISK, "acmeriskevidence", {}, 1400, 35),
        (AI, "acmeaidatasets", {"team": "ML Research", "project": "foundation-models"}, 5200, 110),
        (AI, "acmeaicalls", {"team": "ASR", "customer": "umbrella"}, 700, 20),
        (CORPORATE, "acmecorpfiles", {"CostCenter": "CC-1000"}, 300, 8),
    )
    for subscription, name, tags, gigabytes, operations in accounts:
        account = Resource(subscription, "rg-storage", STORAGE, name, tags)
        found += [
            # A day's part of the month.
            Consumption(account, _STORED, Decimal(gigabytes), Decimal("0.01"), is_steady=True),
            Consumption(account, _WRITES, Decimal(operations), Decimal("0.0001")),
            Consumption(account, _READS, Decimal(operations * 6), Decimal("0.0001")),
            Consumption(account, _EGRESS, Decimal(gigabytes) / 10, Decimal("0.001")),
        ]
    deployments: tuple[tuple[str, Mapping[str, str], int], ...] = (
        ("acme-openai-assistant", {"team": "Assistant", "feature": "chat", "env": "prod"}, 61000),
        ("acme-openai-recs", {"team": "Recs", "feature": "ranking-explanations"}, 24000),
        ("acme-openai-speech", {"team": "speech", "feature": "call-summaries", "customer": "umbrella"}, 18000),
        ("acme-openai-shared", {}, 5000),
    )
    for name, tags, thousands in deployments:
        deployment = Resource(AI, "rg-openai", OPENAI, name, tags)
        found += [
            Consumption(deployment, _GPT_INPUT, Decimal(thousands), Decimal("0.001")),
            Consumption(deployment, _GPT_CACHED, Decimal(thousands) / 2, Decimal("0.001")),
            Consumption(deployment, _GPT_OUTPUT, Decimal(thousands) / 10, Decimal("0.001")),
        ]
    embeddings = Resource(SEARCH, "rg-openai", OPENAI, "acme-openai-search", {"Team": "Searching"})
    found.append(Consumption(embeddings, _EMBEDDING, Decimal(240000), Decimal("0.001")))
    for subscription, name, cores in ((RISK, "scores", 4), (CORPORATE, "directory", 2)):
        database = Resource(subscription, "rg-data", SQL, name, {"Team": "Fraud"} if subscription is RISK else {})
        found.append(Consumption(database, _DATABASE, Decimal(24 * cores), Decimal(1), is_steady=True))
    cluster = Resource(AI, "rg-recs", KUBERNETES, "recs-aks", {"team": "Recs"})
    found.append(Consumption(cluster, _UPTIME, Decimal(24), Decimal(1), is_steady=True))
    for subscription in (SEARCH, RISK, AI, CORPORATE):
        workspace = Resource(subscription, "rg-monitor", LOGS, "logs", {})
        vault = Resource(subscription, "rg-monitor", VAULTS, f"vault-{subscription.name.split()[1].lower()}", {})
        address = Resource(subscription, "rg-network", ADDRESSES, "edge", {})
        found += [
            Consumption(workspace, _LOG_DATA, Decimal(14), Decimal("0.001")),
            Consumption(vault, _SECRETS, Decimal(3), Decimal("0.0001")),
            Consumption(address, _ADDRESS, Decimal("2.4"), Decimal("0.1"), is_steady=True),
        ]
    return tuple(found)


CONSUMPTION = _consumption()
