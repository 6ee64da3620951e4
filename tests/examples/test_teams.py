"""The demo company's teams: one name each, whatever a cloud, a pod or a key calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples.acme import azure_organisation, google_organisation
from examples.acme.azure_charges import charges
from examples.acme.google_months import invoice_months
from examples.acme.google_usage import on_demand_usage
from examples.acme.organisation import TEAMS
from examples.acme.span import END_DAY, FIRST_DAY, Span
from examples.acme.telemetry import WORKLOADS
from examples.acme.token_log import CALLERS
from pipelines.allocation.dimensions import AccountSource, Dimensions, load_dimensions


@pytest.fixture(scope="module")
def dimensions() -> Dimensions:
    """What the demo's rules say of teams."""
    return load_dimensions(Path(__file__).parents[2] / "allocation_rules" / "dimensions.yaml")


def teams_at_google() -> Iterator[str]:
    """Every team in a label of a resource or a project."""
    (month, *_) = invoice_months(Span(FIRST_DAY, END_DAY))
    for meter in on_demand_usage(month):
        yield meter.labels.get("team", "")
    for project in google_organisation.PROJECTS:
        yield project.labels.get("team", "")
    for node in (*google_organisation.GPU_NODES, *google_organisation.CPU_NODES):
        yield node.labels.get("team", "")


def teams_at_azure() -> Iterator[str]:
    """Every team in a tag."""
    for month in Span(FIRST_DAY, END_DAY).months():
        for charge in charges(month):
            tags = charge.resource.tags if charge.resource else {}
            yield tags.get("team", "") or tags.get("Team", "")


def teams_of_pods_and_keys() -> Iterator[str]:
    """Every team in a pod's label or of a gateway's key."""
    for workload in WORKLOADS:
        yield dict(workload.labels).get("label_team", "")
    for caller in CALLERS:
        yield caller.team


@pytest.mark.parametrize("spelled", [teams_at_google, teams_at_azure, teams_of_pods_and_keys])
def test_every_spelling_is_one_of_the_teams(dimensions: Dimensions, spelled: Callable[[], Iterator[str]]) -> None:
    values = sorted({value.strip() for value in spelled() if value})

    assert set(dimensions.canonical("team", values)) <= set(TEAMS)
    # They aren't all written as the rules write them.
    assert not set(values) <= set(TEAMS)


def test_accounts_of_one_team_exist(dimensions: Dimensions) -> None:
    (accounts,) = (
        source.account for source in dimensions.dimensions["team"].sources if isinstance(source, AccountSource)
    )
    subscriptions = {
        subscription.id: subscription.name
        for subscription in (
            azure_organisation.SEARCH,
            azure_organisation.RISK,
            azure_organisation.AI,
            azure_organisation.CORPORATE,
        )
    }
    projects = {project.id for project in google_organisation.PROJECTS}

    assert {account: accounts[account] for account in accounts if "-" in account} == {
        "acme-billing-admin": "platform",
        "acme-speech-prod": "speech",
        azure_organisation.CORPORATE.id: "platform",
        azure_organisation.SEARCH.id: "search",
        azure_organisation.RISK.id: "fraud",
    }
    assert {account for account in accounts if account.startswith("acme-")} <= projects
    assert {account for account in accounts if account in subscriptions} == set(subscriptions) - {
        azure_organisation.AI.id
    }
