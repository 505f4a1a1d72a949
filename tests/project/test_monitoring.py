"""The dashboard and the alert rules name only metrics, labels and values that a real scrape has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import msgspec
import pytest
import yaml

from tests.api.conftest import endings, loop_thread, shared_hub  # noqa: F401 - fixtures
from tests.api.hubs import Hub
from tests.api.scraping import Scrape, scrape
from tests.project.promql import Expression
from tests.project.tree import ROOT
from understudy.api.metrics.table import OF_PROCESS, OF_STORE, OF_SYSTEM
from understudy.cli.commands import root
from understudy.coordinator.nouns import Notice

FOLDER = ROOT / "docs/monitoring"
RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
DASHBOARD = msgspec.json.decode((FOLDER / "grafana.json").read_bytes())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
BY_PROMETHEUS = {"up"}  # it makes these itself
OF_TARGETS = {"job", "instance"}
OF_SYSTEM_NAMES = {name for name, *_ in OF_SYSTEM}


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield f"${variable['name']}", variable["query"]["query"]


EXPRESSIONS = dict(expressions())


def problems_of(text: str, found: Scrape) -> list[str]:
    """What an expression names and a scrape has not."""
    read = Expression(text)
    problems, known = [], set(OF_TARGETS)
    for metric, matchers in read.metrics:
        if metric in BY_PROMETHEUS:
            continue
        samples = [dict(labels) for name, labels in found.samples if name == metric]
        if not samples and metric not in OF_SYSTEM_NAMES:
            problems.append(f"no metric {metric}")
            continue
        known |= set().union(*samples)
        for label, sign, value in matchers:
            words = {labels[label] for labels in samples if label in labels}
            wanted = value.split("|") if sign == "=~" else [value]
            problems += [
                f"no {label}={word} of {metric}" for word in wanted if label not in OF_TARGETS and word not in words
            ]
    return problems + [f"no label {label}" for label in sorted(read.grouped - known)]


@pytest.fixture(scope="module")
def found(shared_hub: Hub) -> Scrape:  # noqa: F811
    dead_letter = Notice("n", "ops", "notice", "x", state="dead")
    shared_hub.store.transaction(lambda tx: tx.save_many([dead_letter]))
    return scrape(shared_hub)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_names_only_what_a_scrape_has(name: str, found: Scrape) -> None:
    assert problems_of(EXPRESSIONS[name], found) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("understudy_daemonz > 0", "no metric understudy_daemonz"),
        ('understudy_daemons{state="dwn"}', "no state=dwn of understudy_daemons"),
        ('rate(understudy_attempts_total{outcome=~"lost|losst"}[5m])', "no outcome=losst of understudy_attempts_total"),
        ("max by (colour) (understudy_daemons)", "no label colour"),
        ('understudy_leases{state="x"}', "no state=x of understudy_leases"),
    ],
)
def test_a_name_that_is_not_there_is_found(text: str, problem: str, found: Scrape) -> None:
    assert problems_of(text, found) == [problem]


@pytest.mark.parametrize("text", ["sum(up", "sum(up))", "up{job=}", "rate(up[5])", "summ(up)", "up & 1", "rate"])
def test_what_is_no_expression_is_found(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Expression(text)


def test_the_dashboard_shows_every_metric(found: Scrape) -> None:
    named = {metric for text in EXPRESSIONS.values() for metric, _ in Expression(text).metrics}
    shown = {re.sub(r"_(bucket|sum|count)$", "", metric) for metric in named}
    unshown = {metric.name for metric in (*OF_PROCESS, *OF_STORE)} - shown
    assert unshown <= {"understudy_alarm_looks_total"}  # a figure for those who look for it


def test_every_rule_tells_a_person_what_is_wrong() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        summary = rule["annotations"]["summary"]
        assert summary.endswith("."), rule["alert"]
        assert len(summary.split()) >= 5, rule["alert"]
        assert "understudy_" not in summary, rule["alert"]
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        labels = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        grouped = Expression(rule["expr"]).grouped
        assert labels <= (grouped or OF_TARGETS), rule["alert"]


def commands() -> list[str]:
    texts = " ".join(rule["annotations"].get("description", "") for rule in RULES)
    return sorted(set(re.findall(r"`understudy ([^`]+)`", re.sub(r"\{\{.*?\}\}", "ops", texts))))


@pytest.mark.parametrize("line", commands())
def test_a_command_that_a_rule_names_exists(line: str) -> None:
    words = shlex.split(line)
    command: click.Command = root
    context = click.Context(root, info_name="understudy")
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command, context = found, click.Context(found, parent=context, **found.context_settings)
    command.parse_args(context, words)


def test_the_scrape_configuration_is_the_one_that_the_rules_expect() -> None:
    text = (FOLDER / "prometheus.yml").read_text("utf-8")
    configuration = yaml.safe_load(text)
    (job,) = configuration["scrape_configs"]
    assert job["job_name"] == "understudy"
    assert job["authorization"] == {"credentials_file": "/etc/prometheus/understudy.key"}
    assert all((FOLDER / name).exists() for name in configuration["rule_files"])


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
