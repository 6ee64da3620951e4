"""The official validator of FOCUS 1.2 finds nothing in the demo company's charges, and in samples only what their sources lack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from examples.acme.generate import generate
from pipelines.config import FocusSource
from tests.integration.charges_of_sources import aws, azure, google
from tests.integration.focus_validator import DEFECTIVE, validate, write_charges
from tests.integration.servers.install import FOCUS_VALIDATOR

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "focus"

pytestmark = pytest.mark.skipif(
    FOCUS_VALIDATOR.missing() is not None, reason=f"needs the FOCUS validator: {FOCUS_VALIDATOR.missing()}"
)

# The rule has no condition, like its opposite, which is among the defective: a charge without an invoice breaks it.
NO_INVOICE = "InvoiceId-C-005-C"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo company's deliveries."""
    folder = tmp_path_factory.mktemp("demo")
    generate(folder)
    return folder


def test_months_that_aws_has_invoiced_break_none_but_the_defective_rules(demo: Path, tmp_path: Path) -> None:
    validation = validate(write_charges(aws(demo), tmp_path, periods=("2026-08", "2026-09")))

    assert validation.failed <= DEFECTIVE.keys()
    # The validator runs no more of its 578 checks on any file; fewer would say that it left something out.
    assert validation.ran == 368


def test_a_month_that_aws_has_not_invoiced_breaks_only_the_rule_that_asks_every_charge_for_an_invoice(
    demo: Path, tmp_path: Path
) -> None:
    validation = validate(write_charges(aws(demo), tmp_path, periods=("2026-10",)))

    assert (validation.faults, validation.ran) == ({NO_INVOICE}, 368)


def test_google_names_no_invoice_and_breaks_no_other_rule(demo: Path, tmp_path: Path) -> None:
    validation = validate(write_charges(google(demo), tmp_path))

    assert (validation.faults, validation.ran) == ({NO_INVOICE}, 368)


def test_an_azure_enrolment_names_no_invoice_and_breaks_no_other_rule(demo: Path, tmp_path: Path) -> None:
    validation = validate(write_charges(azure(demo), tmp_path))

    assert (validation.faults, validation.ran) == ({NO_INVOICE}, 368)


SAMPLE_OF_1_0: Mapping[str, str] = {
    "BilledCost-C-005-C": "AWS calls its provider AWS and its invoice issuer Amazon Web Services, Inc., which the rule compares",
    "BillingAccountName-C-003-C": "Oracle names no billing account",
    "BillingAccountType-C-005-C": "FOCUS 1.0 has no such column",
    "ConsumedUnit-C-003-O": "units are in the vendors' words, such as ReadCapacityUnit-Hrs",
    "InvoiceId-C-005-C": "FOCUS 1.0 has no such column",
    "PricingUnit-C-003-O": "units are in the vendors' words, such as OCPU Per Hour",
    "ResourceType-C-005-C": "AWS gives most resources no type",
    "ServiceName-C-005-C": "AWS books Amazon Elastic Compute Cloud under Compute and under Storage",
    "ServiceName-C-008-C": "so that its Storage rows get no subcategory of Compute",
    "ServiceSubcategory-C-002-M": "FOCUS 1.0 has no such column, and not every service is in our mapping",
    "SkuMeter-C-005-C": "FOCUS 1.0 has no such column",
    "SubAccountType-C-005-C": "FOCUS 1.0 has no such column",
}

EXAMPLES_OF_1_2: Mapping[str, str] = {
    "BillingAccountType-C-005-C": "the examples have no such column",
    "InvoiceId-C-005-C": "the examples have no such column",
    "PricingCurrency-C-003-M": "the virtual currency Token is no currency code",
    "ServiceName-C-008-C": "their services are the example's own, with no subcategory of FOCUS",
    "ServiceSubcategory-C-002-M": "No-SQL DB is no subcategory of FOCUS, and some have none",
    "SkuMeter-C-005-C": "the examples have no value there",
}


def _samples(pattern: str) -> tuple[Path, ...]:
    files = tuple(sorted(SAMPLES.glob(pattern)))
    if not files:
        pytest.skip("needs the FOCUS samples beside the repository")
    return files


@pytest.mark.parametrize(
    ("patterns", "lacking"),
    [
        pytest.param(("focus_sample_1.0.csv",), SAMPLE_OF_1_0, id="the sample of 1.0"),
        pytest.param(
            ("spec_1.2_examples/saas_*.csv", "spec_1.2_examples/virtual_*.csv"),
            EXAMPLES_OF_1_2,
            id="the examples of 1.2 that are bills",
        ),
    ],
)
def test_samples_break_only_rules_about_what_their_sources_lack(
    tmp_path: Path, patterns: tuple[str, ...], lacking: Mapping[str, str]
) -> None:
    files = tuple(file for pattern in patterns for file in _samples(pattern))

    validation = validate(write_charges([FocusSource(name="sample", files=files)], tmp_path))

    assert validation.faults == lacking.keys()
