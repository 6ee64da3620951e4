"""The configuration is checked on load, and errors say where and what to do."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from pipelines.config import AwsCurSource, AzureCostSource, GcpBillingSource, Settings, load_settings
from pipelines.errors import ConfigurationError


def written(folder: Path, text: str) -> Path:
    file = folder / "apportion.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_paths_are_taken_from_the_configurations_own_folder(tmp_path: Path) -> None:
    file = written(
        tmp_path, "lake: ./lake\nbills:\n  - {name: sample, kind: aws-cur, files: [./a.csv, /b.csv]}\nusage:\n"
    )
    assert load_settings(file) == Settings(
        lake=tmp_path / "lake",
        bills=(AwsCurSource(name="sample", files=(tmp_path / "a.csv", Path("/b.csv"))),),
        file=file,
    )


def test_places_in_the_clouds_stand_as_written(tmp_path: Path) -> None:
    settings = load_settings(
        written(
            tmp_path,
            "lake: l\nbills:\n"
            "  - {name: payer, kind: aws-cur, location: 's3://acme-billing/exports', endpoint_url: 'http://127.0.0.1:5000'}\n"
            "  - {name: azure, kind: azure-cost, location: 'az://exports/acme', account_url: 'https://a.blob.core.windows.net'}\n"
            "  - {name: google, kind: gcp-billing, table: acme.billing.export_v1, maximum_bytes_billed: 1000}\n",
        )
    )
    assert settings.bills == (
        AwsCurSource(name="payer", location="s3://acme-billing/exports", endpoint_url="http://127.0.0.1:5000"),
        AzureCostSource(name="azure", location="az://exports/acme", account_url="https://a.blob.core.windows.net"),
        GcpBillingSource(name="google", table="acme.billing.export_v1", maximum_bytes_billed=1000),
    )


def test_as_of_is_read_as_utc(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, "lake: l\nas_of: 2026-10-16T02:00:00+02:00\n"))
    assert settings.now() == datetime(2026, 10, 16)


def test_environment_variables_fill_secrets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_FOLDER", "/srv/lake")
    assert load_settings(written(tmp_path, "lake: ${LAKE_FOLDER}\n")).lake == Path("/srv/lake")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("lake: l\nbils: []\n", "bils: Extra inputs are not permitted"),
        ("lake: l\nbills:\n  - {name: AWS, kind: aws-cur, location: x}\n", "lower-case letters"),
        (
            "lake: l\nbills:\n  - {name: aws, kind: aws, location: x}\n",
            "bills.0: Input tag 'aws' found using 'kind' does not match any of the expected tags: 'aws-cur', 'azure-cost', 'gcp-billing', 'focus'",
        ),
        ("lake: l\nbills:\n  - {name: aws, kind: aws-cur}\n", "give exactly one of 'location', 'files'"),
        (
            "lake: l\nbills:\n  - {name: a, kind: aws-cur, location: x}\nusage:\n  - {name: a, kind: litellm, location: y}\n",
            "given twice: a",
        ),
        ("lake: l\nbills:\n  - {name: a, kind: focus, location: 'ftp://x/y'}\n", "begins with s3:// or az://"),
        (
            "lake: l\nbills:\n\n  - {name: a, kind: aws-cur, location: x}\n  - {name: b, kind: focus, location: 's3:///x'}\n",
            "line 5, source b, bills.1.focus.location: Value error, no bucket or container is named: s3://bucket/prefix",
        ),
        (
            "lake: l\nbills:\n  - name: az\n    kind: azure-cost\n    location: az://\n",
            "line 5, source az, bills.0.azure-cost.location: Value error, no bucket or container is named",
        ),
        (
            "lake: l\nbills:\n  - name: a\n    kind: aws-cur\n    files:\n      - '/x/cur[1].csv'\n",
            "line 6, source a, bills.0.aws-cur.files.0: Value error, '*', '?' or '[' in /x/cur[1].csv would be read as a pattern",
        ),
        ("lake: l\nbills:\n  - {name: a, kind: gcp-billing, location: '/x*'}\n", "in /x* would be read as a pattern"),
        ("lake: l\nusage:\n  - {name: a, kind: litellm, files: ['/x?.jsonl']}\n", "in /x?.jsonl would be read as"),
        ("lake: l\nbills:\n  - {name: a, kind: gcp-billing, table: exports.billing}\n", "should match pattern"),
        (
            "lake: l\nbills:\n  - {name: a, kind: gcp-billing, table: p.d.t, location: x}\n",
            "give exactly one of 'location', 'files', 'table'",
        ),
        ("lake: l\nclaims:\n  - {source: a, billing_account: '1'}\n", "claims: there is no bill called a"),
        (
            "lake: l\nbills:\n  - {name: a, kind: focus, location: x}\n  - {name: b, kind: focus, location: y}\n"
            "claims:\n  - {source: a, billing_account: '1'}\n  - {source: b, billing_account: '1'}\n",
            "claims: claimed twice: 1 by a, 1 by b",
        ),
        (
            "lake: l\nbills:\n  - {name: a, kind: focus, location: x}\n  - {name: b, kind: focus, location: y}\n"
            "claims:\n  - {source: a, billing_account: '0012', sub_account: /subscriptions/AB}\n"
            "  - {source: b, billing_account: '12', sub_account: ab}\n",
            "claims: claimed twice: /subscriptions/AB by a, ab by b",
        ),
        (
            "lake: l\nbills:\n  - {name: a, kind: focus, location: x}\nclaims:\n  - {source: a, billing_account: ''}\n",
            "line 5, claims.0.billing_account: String should have at least 1 character",
        ),
        ("lake: ./a%20b\n", "would be read as another character"),
        ("lake: ./a*b\n", "would be read as a pattern"),
        ("lake: ${NOT_SET_ANYWHERE}\n", "NOT_SET_ANYWHERE"),
        ("lake: [\n", "not valid YAML"),
        ("", "empty"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, found: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        load_settings(file)
    assert found in str(refused.value)
    assert refused.value.where == str(file)
    assert refused.value.exit_code == 2


def test_a_folder_whose_files_are_read_from_landing_may_be_called_anything(tmp_path: Path) -> None:
    text = "lake: l\nbills:\n  - {name: a, kind: aws-cur, location: '/x[1]'}\n  - {name: b, kind: focus, location: 's3://x/[1]'}\n"

    assert [getattr(bill, "location", "") for bill in load_settings(written(tmp_path, text)).bills] == [
        "/x[1]",
        "s3://x/[1]",
    ]


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--config FILE"):
        load_settings(tmp_path / "none.yaml")
