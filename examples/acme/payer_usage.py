"""What Acme's accounts use month by month: instances, volumes, storage, traffic, observability, models."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal

from examples.acme.inventory import (
    BUCKETS,
    CPU_NODE_TAGS,
    GPU_NODE_TAGS,
    INFERENCE_PROFILES,
    INSTANCES,
    ON_DEMAND_RATES,
    TRAFFIC_ACCOUNTS,
    VCPUS,
    Tags,
)
from examples.acme.meters import (
    NOWHERE,
    SCALE,
    CurValue,
    Line,
    Meter,
    always,
    hourly_lines,
    office_hours,
    rated,
    scaled,
    varying_lines,
)
from examples.acme.noise import noise, token
from examples.acme.organisation import (
    ACCOUNT_NAMES,
    ASSISTANT_ACCOUNT,
    AVAILABILITY_ZONE,
    BEDROCK_ACCOUNT,
    CLUSTER,
    DATA_LAKE_ACCOUNT,
    FRAUD_ACCOUNT,
    GPU_NODES,
    PLATFORM_ACCOUNT,
    RECOMMENDATIONS_ACCOUNT,
    REGION,
    RESEARCH_ACCOUNT,
    SEARCH_ACCOUNT,
    GpuNode,
)
from examples.acme.span import DAY_SECONDS, HOUR_SECONDS, BillingMonth, epoch, hour_of_day, is_weekend
from examples.acme.token_log import BEDROCK_MODELS


def compute(account: str, instance_type: str, resource_id: str, tags: Tags) -> dict[str, CurValue]:
    """The columns that an hour of an instance has, whatever covers it."""
    return {
        "line_item_usage_account_id": account,
        "line_item_usage_account_name": ACCOUNT_NAMES[account],
        "line_item_product_code": "AmazonEC2",
        "line_item_usage_type": f"BoxUsage:{instance_type}",
        "line_item_operation": "RunInstances",
        "line_item_availability_zone": AVAILABILITY_ZONE,
        "line_item_resource_id": resource_id,
        "line_item_line_item_description": (
            f"${ON_DEMAND_RATES[instance_type]} per On Demand Linux {instance_type} Instance Hour"
        ),
        "line_item_unblended_rate": str(ON_DEMAND_RATES[instance_type]),
        "pricing_public_on_demand_rate": str(ON_DEMAND_RATES[instance_type]),
        "pricing_unit": "Hrs",
        "pricing_term": "OnDemand",
        "pricing_rate_code": rate_code(f"compute {instance_type}"),
        "product_servicecode": "AmazonEC2",
        "product_product_family": "Compute Instance",
        "product_instance_type": instance_type,
        "product_instance_family": "GPU instance" if instance_type[0] in "pg" else "General purpose",
        "product_operation": "RunInstances",
        "product_usagetype": f"BoxUsage:{instance_type}",
        "product_sku": sku(f"compute {instance_type}"),
        "product": {
            "product_name": "Amazon Elastic Compute Cloud",
            "region": REGION,
            "servicename": "Amazon Elastic Compute Cloud",
            "operating_system": "Linux",
            "tenancy": "Shared",
            "vcpu": VCPUS[instance_type],
        },
        "resource_tags": tags,
    }


def metered(
    account: str,
    service: tuple[str, str, str],
    usage_type: str,
    operation: str,
    unit: str,
    rate: Decimal,
    resource_id: str | None,
    tags: Tags,
) -> dict[str, CurValue]:
    """The columns of usage charged by amount. `service` is product code, product family and product name."""
    product_code, family, product_name = service
    return {
        "line_item_line_item_type": "Usage",
        "line_item_usage_account_id": account,
        "line_item_usage_account_name": ACCOUNT_NAMES[account],
        "line_item_product_code": product_code,
        "line_item_usage_type": usage_type,
        "line_item_operation": operation,
        "line_item_resource_id": resource_id,
        "line_item_line_item_description": f"${rate:f} per {unit} - {product_name}, {usage_type}",
        "line_item_unblended_rate": f"{rate:f}",
        "pricing_public_on_demand_rate": f"{rate:f}",
        "pricing_unit": unit,
        "pricing_term": "OnDemand",
        "pricing_rate_code": rate_code(usage_type),
        "product_servicecode": "AWSDataTransfer" if family == "Data Transfer" else product_code,
        "product_product_family": family,
        "product_operation": operation,
        "product_usagetype": usage_type,
        "product_sku": sku(usage_type),
        "product": {"product_name": product_name, "region": REGION, "servicename": product_name},
        "resource_tags": tags,
    }


def sku(key: str) -> str:
    """A SKU as AWS writes one."""
    return token(f"sku {key}", 16).upper()


def rate_code(key: str) -> str:
    """A rate code: SKU, offer term and rate."""
    return f"{sku(key)}.JRTCKXETXF.6YS6EN2CT7"


_EC2_STORAGE = ("AmazonEC2", "Storage", "Amazon Elastic Compute Cloud")
_EC2_TRANSFER = ("AmazonEC2", "Data Transfer", "Amazon Elastic Compute Cloud")
_EC2_NAT = ("AmazonEC2", "NAT Gateway", "Amazon Elastic Compute Cloud")
_S3 = ("AmazonS3", "Storage", "Amazon Simple Storage Service")
_S3_REQUESTS = ("AmazonS3", "API Request", "Amazon Simple Storage Service")
_CLOUDWATCH = ("AmazonCloudWatch", "Metric", "AmazonCloudWatch")
_LOGS = ("AmazonCloudWatch", "Data Payload", "AmazonCloudWatch")
_BALANCER = ("AWSELB", "Load Balancer-Application", "Elastic Load Balancing")
_EKS = ("AmazonEKS", "Compute", "Amazon Elastic Container Service for Kubernetes")
_RDS = ("AmazonRDS", "Database Instance", "Amazon Relational Database Service")
_LAMBDA = ("AWSLambda", "Serverless", "AWS Lambda")
_BEDROCK = ("AmazonBedrock", "Amazon Bedrock", "Amazon Bedrock")

_MILLIONTH = SCALE // 10**6


def on_demand_and_spot_nodes(month: BillingMonth) -> Iterator[Meter]:
    """The GPU nodes, or shares of them, that no commitment covers."""
    for node in GPU_NODES:
        columns = compute(PLATFORM_ACCOUNT, node.instance_type, node.instance_id, GPU_NODE_TAGS)
        rate = ON_DEMAND_RATES[node.instance_type]
        if node.pricing == "on demand":
            yield Meter(
                {**columns, "line_item_line_item_type": "Usage"},
                hourly_lines(month.delivered.hours(), SCALE, rate, rate),
            )
        elif node.pricing == "part savings plan":
            yield Meter(
                {**columns, "line_item_line_item_type": "Usage"},
                hourly_lines(month.delivered.hours(), SCALE // 4, rate, rate),
            )
        elif node.pricing == "spot":
            yield from _spot_node(month, node, columns)


def _spot_node(month: BillingMonth, node: GpuNode, columns: Mapping[str, CurValue]) -> Iterator[Meter]:
    for day in month.delivered.days():
        # About 40 % of the on-demand price; it moves once a day.
        rate = Decimal("20.1500") + Decimal(noise(f"spot {day}", 1)[0] % 47000) / 10000
        usage_type = f"SpotUsage:{node.instance_type}"
        hours = range(epoch(day), epoch(day) + DAY_SECONDS, HOUR_SECONDS)
        yield Meter(
            {
                **columns,
                "line_item_line_item_type": "Usage",
                "line_item_usage_type": usage_type,
                "line_item_operation": "RunInstances:SV001",
                "line_item_line_item_description": (
                    f"{node.instance_type} Linux/UNIX Spot Instance-hour in US East (Virginia) in VPC Zone #1"
                ),
                "line_item_unblended_rate": f"{rate:f}",
                "pricing_term": "Spot",
                "pricing_rate_code": None,
                "product_usagetype": usage_type,
                "product_operation": "RunInstances:SV001",
            },
            hourly_lines(hours, SCALE, rate, ON_DEMAND_RATES[node.instance_type]),
        )


def cpu_node_hours(month: BillingMonth) -> list[tuple[str, list[int]]]:
    """The cluster's CPU nodes by instance id with the hours they ran: two of six only in office hours."""
    hours = month.delivered.hours()
    return [
        (f"i-{token(f'cpu node {number}', 17)}", always(hours) if number < 4 else office_hours(hours))
        for number in range(6)
    ]


def cpu_nodes_on_demand(month: BillingMonth) -> Iterator[Meter]:
    """The cluster's CPU nodes before a savings plan covered them."""
    rate = ON_DEMAND_RATES["m5.4xlarge"]
    for instance_id, hours in cpu_node_hours(month):
        columns = compute(PLATFORM_ACCOUNT, "m5.4xlarge", instance_id, CPU_NODE_TAGS)
        yield Meter({**columns, "line_item_line_item_type": "Usage"}, hourly_lines(hours, SCALE, rate, rate))


def team_instances(month: BillingMonth) -> Iterator[Meter]:
    """Instances of teams that no reservation covers."""
    for instance in INSTANCES:
        if instance.is_reserved:
            continue
        rate = ON_DEMAND_RATES[instance.instance_type]
        columns = compute(instance.account, instance.instance_type, instance.instance_id, instance.tags)
        hours = instance.hours(month.delivered.hours())
        yield Meter({**columns, "line_item_line_item_type": "Usage"}, hourly_lines(hours, SCALE, rate, rate))


def volumes(month: BillingMonth) -> Iterator[Meter]:
    """The gp3 volumes of GPU nodes, CPU nodes and instances: gigabyte-months, an hour at a time."""
    wanted: list[tuple[str, str, int, Tags]] = [
        (PLATFORM_ACCOUNT, f"gpu {node.name}", 2000, GPU_NODE_TAGS) for node in GPU_NODES
    ]
    wanted += [(PLATFORM_ACCOUNT, f"cpu {number}", 300, CPU_NODE_TAGS) for number in range(4)]
    wanted += [
        (instance.account, instance.name, instance.volume_gigabytes, instance.tags)
        for instance in INSTANCES
        if instance.volume_gigabytes
    ]
    rate = Decimal("0.08")
    for account, name, gigabytes, tags in wanted:
        amount = gigabytes * 10**6 // month.hours_in_month * _MILLIONTH
        volume = f"vol-{token(f'volume {name}', 17)}"
        columns = metered(account, _EC2_STORAGE, "EBS:VolumeUsage.gp3", "CreateVolume-Gp3", "GB-Mo", rate, volume, tags)
        yield Meter(columns, hourly_lines(month.delivered.hours(), amount, rate, rate))


def buckets(month: BillingMonth) -> Iterator[Meter]:
    """S3: storage a line a day, requests a line an hour."""
    hours = always(month.delivered.hours())
    for bucket in BUCKETS:
        storage, read, write = Decimal("0.021"), Decimal("0.0000004"), Decimal("0.000005")
        amount = bucket.gigabytes * 24 * 10**6 // month.hours_in_month * _MILLIONTH
        cost = rated(amount, storage)
        days = [epoch(day) for day in month.delivered.days()]
        yield Meter(
            metered(
                bucket.account,
                _S3,
                "TimedStorage-ByteHrs",
                "StandardStorage",
                "GB-Mo",
                storage,
                bucket.name,
                bucket.tags,
            ),
            [Line(day, day + DAY_SECONDS, amount, cost, cost) for day in days],
        )
        for usage_type, operation, rate, usual in (
            ("Requests-Tier2", "GetObject", read, bucket.reads),
            ("Requests-Tier1", "PutObject", write, bucket.writes),
        ):
            yield Meter(
                metered(
                    bucket.account, _S3_REQUESTS, usage_type, operation, "Requests", rate, bucket.name, bucket.tags
                ),
                varying_lines(f"{bucket.name} {usage_type}", hours, usual * SCALE, SCALE, rate),
            )


def traffic(month: BillingMonth) -> Iterator[Meter]:
    """Data transfer out and between zones, NAT gateways and load balancers, by account."""
    hours = always(month.delivered.hours())
    for account, gigabytes in TRAFFIC_ACCOUNTS.items():
        gateway = f"arn:aws:ec2:{REGION}:{account}:natgateway/nat-{token(f'nat {account}', 17)}"
        balancer = f"arn:aws:elasticloadbalancing:{REGION}:{account}:loadbalancer/app/edge/{token(account, 16)}"
        hourly = (
            (_EC2_NAT, "NatGateway-Hours", "NatGateway", "Hrs", Decimal("0.045"), gateway),
            (_BALANCER, "LoadBalancerUsage", "LoadBalancing:Application", "Hrs", Decimal("0.0225"), balancer),
        )
        for service, usage_type, operation, unit, rate, resource_id in hourly:
            columns = metered(account, service, usage_type, operation, unit, rate, resource_id, {})
            yield Meter(columns, hourly_lines(hours, SCALE, rate, rate))
        by_amount: tuple[tuple[tuple[str, str, str], str, str, Decimal, str, int], ...] = (
            (_EC2_TRANSFER, "DataTransfer-Out-Bytes", "RunInstances", Decimal("0.09"), balancer, gigabytes),
            (_EC2_TRANSFER, "DataTransfer-Regional-Bytes", "InterZone-Out", Decimal("0.01"), gateway, gigabytes * 4),
            (_EC2_NAT, "NatGateway-Bytes", "NatGateway", Decimal("0.045"), gateway, gigabytes // 2),
        )
        for service, usage_type, operation, rate, resource_id, usual in by_amount:
            columns = metered(account, service, usage_type, operation, "GB", rate, resource_id, {})
            if usage_type == "DataTransfer-Out-Bytes":
                columns |= {"product_from_location": "US East (N. Virginia)", "product_to_location": "External"}
            key = f"{account} {usage_type}"
            yield Meter(columns, varying_lines(key, hours, usual * SCALE, _MILLIONTH, rate))


def observability(month: BillingMonth) -> Iterator[Meter]:
    """CloudWatch metrics and logs, by account."""
    hours = always(month.delivered.hours())
    for account, gigabytes in TRAFFIC_ACCOUNTS.items():
        tags = {"user_cluster": CLUSTER, "user_team": "platform"} if account == PLATFORM_ACCOUNT else {}
        for service, usage_type, operation, unit, rate, usual in (
            (_CLOUDWATCH, "CW:MetricMonitorUsage", "MetricStorage", "Metrics", Decimal("0.3"), gigabytes // 15 * SCALE),
            (_LOGS, "DataProcessing-Bytes", "PutLogEvents", "GB", Decimal("0.5"), gigabytes // 8 * SCALE),
        ):
            columns = metered(account, service, usage_type, operation, unit, rate, f"log-group:{account}", tags)
            yield Meter(columns, varying_lines(f"{account} {usage_type}", hours, usual, _MILLIONTH, rate))


def platform_services(month: BillingMonth) -> Iterator[Meter]:
    """The Kubernetes control plane, databases and functions."""
    hours = always(month.delivered.hours())
    arn = f"arn:aws:eks:{REGION}:{PLATFORM_ACCOUNT}:cluster/{CLUSTER}"
    rate = Decimal("0.1")
    columns = metered(
        PLATFORM_ACCOUNT, _EKS, "AmazonEKS-Hours:perCluster", "CreateOperation", "Hours", rate, arn, GPU_NODE_TAGS
    )
    yield Meter(columns, hourly_lines(hours, SCALE, rate, rate))
    for account, tags in (
        (ASSISTANT_ACCOUNT, {"user_team": "assistant"}),
        (FRAUD_ACCOUNT, {"user_team": "fraud", "user_customer": "gringotts"}),
        (DATA_LAKE_ACCOUNT, {}),
    ):
        rate = Decimal("0.45")
        arn = f"arn:aws:rds:{REGION}:{account}:db:main"
        columns = metered(account, _RDS, "InstanceUsage:db.r6g.xl", "CreateDBInstance:0014", "Hrs", rate, arn, tags)
        yield Meter(columns, hourly_lines(hours, SCALE, rate, rate))
    for account, name, usual, tags in (
        (SEARCH_ACCOUNT, "suggest", 5200, {"user_team": "search", "user_feature": "query-rewrite"}),
        (RECOMMENDATIONS_ACCOUNT, "trending", 2100, {"user_team": "Recommendations"}),
        (RESEARCH_ACCOUNT, "thumbnails", 900, {"user_team": "vision"}),
    ):
        rate = Decimal("0.0000166667")
        arn = f"arn:aws:lambda:{REGION}:{account}:function:{name}"
        columns = metered(account, _LAMBDA, "Lambda-GB-Second", "Invoke", "Lambda-GB-Second", rate, arn, tags)
        yield Meter(columns, varying_lines(f"lambda {name}", hours, usual * SCALE, SCALE, rate))


def _bedrock_columns(
    account: str, meter: str, token_class: str, price: Decimal, resource_id: str, tags: Tags
) -> dict[str, CurValue]:
    usage_type = f"USE1-{meter}-{token_class}-tokens"
    rate = (price * 1000).normalize()
    return metered(account, _BEDROCK, usage_type, "InvokeModelInference", "1K tokens", rate, resource_id, tags)


def gateway_models(month: BillingMonth, tokens: Counter[tuple[int, str, str]]) -> Iterator[Meter]:
    """Bedrock behind the gateway: exactly the tokens that the gateway logged, hour by hour, for all teams together.

    A discount line a day takes 5 % off, negotiated for this account's models.
    """
    spent: defaultdict[int, int] = defaultdict(int)
    for model in BEDROCK_MODELS:
        resource_id = f"arn:aws:bedrock:{REGION}:{BEDROCK_ACCOUNT}:inference-profile/{model.name}"
        for token_class, price in (
            ("input", model.input_price),
            ("cache-read-input", model.cache_read_price),
            ("cache-write-input", model.cache_write_price),
            ("output", model.output_price),
        ):
            lines = []
            for hour in month.delivered.hours():
                count = tokens[hour, model.bedrock_meter, token_class]
                if count and price:
                    cost = count * scaled(price)
                    lines.append(Line(hour, hour + HOUR_SECONDS, count * SCALE // 1000, cost, cost))
                    spent[hour - hour % DAY_SECONDS] += cost
            yield Meter(
                _bedrock_columns(BEDROCK_ACCOUNT, model.bedrock_meter, token_class, price, resource_id, {}), lines
            )
    discount: dict[str, CurValue] = {
        "line_item_line_item_type": "EdpDiscount",
        "line_item_usage_account_id": BEDROCK_ACCOUNT,
        "line_item_usage_account_name": ACCOUNT_NAMES[BEDROCK_ACCOUNT],
        "line_item_product_code": "AmazonBedrock",
        "line_item_line_item_description": "Enterprise discount of 5 % on Amazon Bedrock",
        "product_servicecode": "AmazonBedrock",
        "product": {"product_name": "Amazon Bedrock"},
        **NOWHERE,
        "resource_tags": {},
    }
    yield Meter(
        discount, [Line(day, day + DAY_SECONDS, SCALE, -(cost * 5 // 100), 0) for day, cost in sorted(spent.items())]
    )


def profiled_models(month: BillingMonth) -> Iterator[Meter]:
    """Bedrock through application inference profiles, whose tags say which team called."""
    hours = [hour for hour in month.delivered.hours() if hour_of_day(hour) < 6 or not is_weekend(hour)]
    for name, account, tags, model_number, thousands in INFERENCE_PROFILES:
        model = BEDROCK_MODELS[model_number]
        resource_id = f"arn:aws:bedrock:{REGION}:{account}:application-inference-profile/{token(name, 12)}"
        for token_class, price, share in (("input", model.input_price, 1), ("output", model.output_price, 12)):
            columns = _bedrock_columns(account, model.bedrock_meter, token_class, price, resource_id, tags)
            lines = varying_lines(
                f"{name} {token_class}", hours, thousands * SCALE // share, SCALE // 1000, price * 1000
            )
            yield Meter(columns, lines)


def uncovered_usage(month: BillingMonth, tokens: Counter[tuple[int, str, str]]) -> list[Meter]:
    """All usage of the month that no savings plan or reservation covers, apart from the cluster's CPU nodes."""
    return [
        *on_demand_and_spot_nodes(month),
        *team_instances(month),
        *volumes(month),
        *buckets(month),
        *traffic(month),
        *observability(month),
        *platform_services(month),
        *gateway_models(month, tokens),
        *profiled_models(month),
    ]
