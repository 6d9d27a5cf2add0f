# SPDX-License-Identifier: Apache-2.0
"""One version, one license: what the metadata files say agrees."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).parents[1]
VERSION = ElementTree.parse(ROOT / "package.xml").findtext("version")


@pytest.mark.parametrize("page", ["training/pyproject.toml", "CITATION.cff", "CHANGELOG.rst"])
def test_the_version_is_that_of_package_xml(page):
    found = re.search(r"^(?:version\s*[=:]\s*)?\"?(\d+\.\d+\.\d+)\"?", (ROOT / page).read_text(), re.MULTILINE)
    assert found[1] == VERSION


def test_workflows_and_templates_are_yaml_and_every_job_has_a_time_limit():
    for path in (ROOT / ".github").rglob("*.yaml"):
        loaded = yaml.safe_load(path.read_text())
        jobs = loaded.get("jobs", {}) if "workflows" in path.parts else {}
        assert all("timeout-minutes" in job for job in jobs.values())
