"""The alerts and the board are what Prometheus and Grafana take, and speak of metrics that there are."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
import yaml
from conftest import ROOT

from jobs.running.last_run import METRICS

FOLDER = ROOT / "configs" / "monitoring"
DURATION = re.compile(r"([0-9]+(ms|[smhdwy]))+")
#: https://prometheus.io/docs/prometheus/latest/querying/functions and .../operators; those that are used here.
FUNCTIONS = {"time", "rate", "increase", "changes", "max_over_time"}
AGGREGATIONS, CLAUSES, WORDS = {"sum", "max", "min", "avg"}, {"by", "on"}, {"and", "or", "unless", "offset"}
LABELS = {"output", "run_id", "kind"}
METRIC = re.compile(r"(?:ray_)?citrascribe_\w+")
TOKEN = re.compile(
    r"""\s*(?:(?P<text>"[^"]*")|(?P<range>\[(?:[0-9a-z]+|\$__rate_interval)\])|(?P<number>[0-9][0-9.]*[a-z]?)"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<sign>!=|=~|>=|<=|==|[-+*/<>=(){},]))"""
)
CLOSING = {")": "(", "}": "{"}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text())
    return found


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()] + [
        target["expr"] for panel in board()["panels"] for target in panel["targets"]
    ]


def named_metrics() -> set[str]:
    """The metrics that alerts and board name, also in the queries of the board's variables."""
    queries = [str(each.get("query")) for each in board()["templating"]["list"]]
    return {name for text in [*expressions(), *queries] for name in METRIC.findall(text)}


def tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(expression.rstrip()):
        match = TOKEN.match(expression, at)
        assert match, f"{expression[at : at + 30]!r} is no PromQL"
        at = match.end()
        assert match.lastgroup
        yield match.lastgroup, match[match.lastgroup]


def check(expression: str) -> None:
    """Checks the brackets of an expression, and that every name in it is a function, a metric or a label there."""
    opened, found = list[str](), list(tokens(expression))
    for number, (kind, text) in enumerate(found):
        before, after = (found[at][1] if 0 <= at < len(found) else "" for at in (number - 1, number + 1))
        if text in ("(", "{"):
            opened.append({"{": "labels"}.get(text) or ("labels" if before in CLAUSES else "("))
        elif text in CLOSING:
            assert opened, f"{text} closes nothing in {expression}"
            assert (opened.pop() == "labels") or text == ")"
        elif kind == "range":
            assert METRIC.fullmatch(before) or before == "}", f"a range of {before}"
            assert text == "[$__rate_interval]" or DURATION.fullmatch(text[1:-1])
        elif kind == "name":
            if opened[-1:] == ["labels"]:
                assert text in LABELS, f"{text} is no label"
            elif METRIC.fullmatch(text):
                assert after != "("
            elif text in FUNCTIONS:
                assert after == "("
            elif text in AGGREGATIONS:
                assert after in ("(", "by")
            else:
                assert text in CLAUSES | WORDS, f"{text} is no word of PromQL"
    assert not opened, f"{expression} is not closed"


@pytest.mark.parametrize("expression", expressions())
def test_expressions_are_promql(expression: str) -> None:
    check(expression)


@pytest.mark.parametrize(
    "wrong",
    [
        "sum by (output) (ray_citrascribe_errors_total",
        "sum by (outptu) (ray_citrascribe_errors_total)",
        "summ(ray_citrascribe_errors_total)",
        "rate(ray_citrascribe_errors_total[5q])",
        "ray_citrascribe_errors_total{run=~'x'}",
        "ray_citrascribe_errors_total) > 3",
        "increase(sum(ray_citrascribe_errors_total)[5m])",
    ],
)
def test_what_is_no_promql_is_noticed(wrong: str) -> None:
    with pytest.raises(AssertionError):
        check(wrong)


def test_rules_have_what_prometheus_asks_for() -> None:
    """https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules."""
    document = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    assert document.keys() == {"groups"}
    names = [group["name"] for group in document["groups"]]
    assert len(set(names)) == len(names)
    for group in document["groups"]:
        assert group.keys() <= {"name", "interval", "limit", "rules"}
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert {"alert", "expr"} <= rule.keys() <= {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
        assert re.fullmatch(r"[A-Za-z_]\w*", rule["alert"])
        assert DURATION.fullmatch(rule.get("for", "0s"))
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}
        used = {name for text in rule["annotations"].values() for name in re.findall(r"\$labels\.(\w+)", text)}
        assert used <= {"output", "run_id"}
        kept = re.findall(r"\bby \(([^)]*)\)", rule["expr"])
        assert all(used <= set(re.split(r",\s*", labels)) for labels in kept)  # an aggregation drops all others


def test_every_kind_of_trouble_has_an_alert() -> None:
    texts = " ".join(rule["expr"] for rule in rules())
    for name in ("last_success_timestamp_seconds", "last_run_status", "errors_total", "retries_total"):
        assert f"citrascribe_{name}" in texts
    assert "26 * 3600" in texts
    assert "36 * 3600" in texts
    assert any("units_left" in rule["expr"] and "[30m]" in rule["expr"] for rule in rules())
    assert any("actor_busy_share" in rule["expr"] for rule in rules())


@pytest.mark.parametrize(
    ("recordings", "errors", "accepted", "fires"),
    [(100, 50, 50, False), (100, 50, 44, True), (100, 50, 45, False), (100, 6, 0, True), (100, 0, 0, False)],
)
def test_accepted_errors_raise_no_alarm(recordings: int, errors: int, accepted: int, fires: bool) -> None:
    rule = next(rule["expr"] for rule in rules() if rule["alert"] == "CitrascribeErrorsInOutput")
    expression, _, limit = rule.rpartition(" > ")
    counts = {"recordings": recordings, "errors": errors, "accepted": accepted}
    panel = next(each for each in expressions()[len(rules()) :] if "output_errors" in each)
    for each in (expression, panel):
        arithmetic = re.sub(r"\{[^}]*\}", "", each).replace(" > 0)", ")")
        for name, value in counts.items():
            arithmetic = arithmetic.replace(f"citrascribe_output_{name}", str(value))
        assert re.fullmatch(r"[-0-9 +*/().]+", arithmetic)
        assert (eval(arithmetic) > float(limit)) is fires


def test_metrics_that_are_named_are_told_of() -> None:
    """tests/test_metrics.py holds those of Ray against a real endpoint."""
    page = (ROOT / "docs/running.md").read_text()
    for name in named_metrics():
        assert f"`{name.removeprefix('ray_')}`" in page
        assert name.startswith("ray_") or name.removeprefix("citrascribe_") in METRICS
    assert all(f"`citrascribe_{name}`" in page for name in METRICS)


def test_the_board_is_what_grafana_imports() -> None:
    """https://grafana.com/docs/grafana/latest/visualizations/dashboards/build-dashboards/view-dashboard-json-model."""
    document = board()
    assert isinstance(document["schemaVersion"], int)
    assert document["title"]
    variables = {each["name"]: each for each in document["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["type"] in ("stat", "timeseries")
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        at = panel["gridPos"]
        assert 0 <= at["x"] < at["x"] + at["w"] <= 24
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
        assert all(target["expr"] and target["datasource"] == panel["datasource"] for target in panel["targets"])
    used = set(re.findall(r"\$(\w+)", " ".join(expressions()))) - {"__rate_interval"}
    assert used | {"datasource"} == variables.keys()


def test_panels_do_not_overlap() -> None:
    for one, other in combinations((panel["gridPos"] for panel in board()["panels"]), 2):
        across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
        down = one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]
        assert not (across and down)


def test_the_board_shows_what_one_asks_first() -> None:
    texts = " ".join(expressions()[len(rules()) :])
    for name in ("audio_seconds_total", "units_left", "errors_total", "actor_busy_share", "last_success_timestamp"):
        assert f"citrascribe_{name}" in texts
