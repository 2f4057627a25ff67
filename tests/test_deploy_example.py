"""The files of examples/deploy fit together, and what Prometheus can check of them is checked by Prometheus' own tool.

No image is built and no cluster is reached here: examples/deploy/README.md says what else was checked, and how.
"""

import json
import re
import shlex
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement

from sknn import NeuralClassifier
from sknn.export import to_onnx
from sknn.export.triton.runtimes import RUNTIMES
from sknn.monitoring import DriftMonitor
from tests.common import PATIENCE, TINY, python

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "examples" / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "sknn.json").read_text())
ALERTS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
METRICS = {  # name -> labels of an example
    "sknn_requests_total": 'route="/predict", status="200"',
    "sknn_request_seconds_bucket": 'route="/predict", le="+Inf"',
    "sknn_batch_rows_bucket": 'le="+Inf"',
    "sknn_batch_rows_sum": "",
    "sknn_batch_rows_count": "",
    "sknn_errors_total": 'kind="invalid"',
    "sknn_requests_in_flight": "",
    "sknn_column_rows_total": 'column="age", cell="missing"',
    "sknn_reference_share": 'column="age", cell="missing"',
    "sknn_drift_psi": 'column="age"',
    "sknn_drift_detected": 'column="age"',
    "sknn_predictions_total": 'prediction="yes"',
    "sknn_model_info": 'model="churn", version="1", digest="d"',
    "sknn_feedback_total": "",
    "sknn_feedback_correct_total": "",
    "sknn_live_accuracy": "",
    "sknn_live_log_loss": "",
    "sknn_live_calibration_error": "",
    "sknn_last_reload_failed": "",
}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing; install the Debian package prometheus"
)


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def rules():
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def expressions():
    """Return the queries of the dashboard, as Prometheus gets them if all services are selected."""
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [query.replace("$job", ".*").replace("$__rate_interval", "5m") for query in queries]


def promtool(*arguments, folder=PROMETHEUS):
    done = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def instructions():
    """Return the instructions of the Dockerfile's last stage: (name, rest of the line)."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def run_tests(folder, name, series, expressions, interval="1m", time="1h"):
    """Evaluate expressions with promtool, which have to be 1 at this time."""
    shutil.copy(PROMETHEUS / "alerts.yml", folder)
    tests = [{"expr": text, "eval_time": time, "exp_samples": [{"value": 1}]} for text in expressions]
    series = [{"series": key, "values": values} for key, values in series.items()]
    content = {
        "rule_files": ["alerts.yml"],
        "evaluation_interval": interval,
        "tests": [{"interval": interval, "input_series": series, "promql_expr_test": tests}],
    }
    (folder / name).write_text(yaml.safe_dump(content))
    promtool("test", "rules", name, folder=folder)


# --- Prometheus ---------------------------------------------------------------------------------------------------


def test_the_rules_and_the_dashboard_read_only_metrics_of_the_service_and_recorded_figures():
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    read = set()
    for query in [*expressions(), *(rule["expr"] for rule in rules())]:
        read |= set(re.findall(r"\bsknn[\w:]+", query))

    assert read <= METRICS.keys() | recorded
    assert recorded <= read


def test_every_metric_of_the_service_is_shown_or_watched():
    read = " ".join([*expressions(), *(rule["expr"] for rule in rules())])

    assert [name for name in METRICS if name not in read] == ["sknn_drift_detected"]  # the alerts see all replicas


def test_every_alert_has_a_severity_and_a_sentence():
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert re.fullmatch(r"\S.*\.", rule["annotations"]["summary"])
            assert rule["for"]


def test_every_alert_is_tested():
    tested = set()
    for name in ("alerts_test.yml", "accuracy_test.yml"):
        for test in yaml.safe_load((PROMETHEUS / name).read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                tested |= {(case["alertname"], bool(case["exp_alerts"]))}

    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert tested == {(alert, fires) for alert in alerts for fires in (True, False)}


@needs_promtool
@pytest.mark.service
def test_prometheus_accepts_the_configuration_and_the_rules():
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "--lint-fatal", "alerts.yml")


@needs_promtool
@pytest.mark.service
def test_alerts_fire_when_they_should():
    promtool("test", "rules", "alerts_test.yml", "accuracy_test.yml")


@needs_promtool
@pytest.mark.service
def test_every_query_of_the_dashboard_finds_numbers(tmp_path):
    labels = {name: f", {text}" if text else "" for name, text in METRICS.items()}
    labels |= {f"{name} ": text.replace("+Inf", "1") for name, text in labels.items() if name.endswith("_bucket")}
    series = {
        f'{name.strip()}{{job="sknn", instance="{instance}"{text}}}': "0+5x120"
        for name, text in labels.items()
        for instance in ("a", "b")
    }
    series |= {f'up{{job="sknn", instance="{instance}"}}': "1x120" for instance in ("a", "b")}
    series['sknn_column_rows_total{job="sknn", instance="a", column="city", cell="unseen"}'] = "0+5x120"
    series['sknn_reference_share{job="sknn", instance="a", column="city", cell="unseen"}'] = "0x120"

    # A number equals itself; "not a number" does not.
    run_tests(tmp_path, "dashboard.yml", series, [f"count(({text}) == ({text})) > bool 0" for text in expressions()])


@needs_promtool
@pytest.mark.service
def test_the_drift_in_prometheus_is_that_of_the_monitor(tmp_path):
    """Two replicas see different rows; their counters add up to the PSI of a monitor that has seen all rows."""
    rng = np.random.default_rng(0)
    train = {
        "age": np.where(rng.random(1000) < 0.1, np.nan, rng.normal(40, 10, 1000)),
        "children": rng.poisson(1, 1000).astype(float),
        "city": rng.choice(["Oslo", "Rome", "Bern"], 1000, p=[0.6, 0.3, 0.1]),
    }
    live = [
        {
            "age": rng.normal(45, 12, n),
            "children": rng.poisson(1, n).astype(float),
            "city": rng.choice(["Oslo", "Rome", new], n),
        }
        for n, new in ((700, "Bern"), (300, "Paris"))
    ]
    replicas = [DriftMonitor.from_reference(train).update(rows) for rows in live]
    together = DriftMonitor.from_reference(train).merge(replicas[0]).merge(replicas[1])
    series = {}
    for instance, replica in zip("ab", replicas, strict=True):
        for column, cells in replica.counts.items():
            for cell, count in cells.items():
                labels = f'{{job="sknn", instance="{instance}", column="{column}", cell="{cell}"}}'
                series[f"sknn_column_rows_total{labels}"] = f"0 0 {count}x60"
                series[f"sknn_reference_share{labels}"] = f"{replica.reference_shares[column][cell]}x61"

    drifts = {column.name: column.psi for column in together.report().columns}

    assert min(drifts["age"], drifts["city"]) > 0.25 > 0.1 > drifts["children"]
    differences = [f'abs(sknn:column_psi:1h{{column="{name}"}} - {psi})' for name, psi in drifts.items()]
    run_tests(tmp_path, "drift.yml", series, [f"sum({difference}) < bool 1e-3" for difference in differences])


# --- Grafana ------------------------------------------------------------------------------------------------------


def test_the_dashboard_reads_the_provisioned_source():
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    used = [DASHBOARD["templating"]["list"][0]["datasource"]]
    for panel in panels():
        used += [panel["datasource"], *(target["datasource"] for target in panel["targets"])]

    assert {(source["type"], source["uid"]) for source in used} == {(each["type"], each["uid"]) for each in sources}
    assert sources[0]["url"] == "http://prometheus:9090"


def test_panels_have_titles_and_numbers_of_their_own_and_do_not_overlap():
    taken = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]

    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


# --- Compose, KServe and the page ---------------------------------------------------------------------------------


def test_what_compose_mounts_and_builds_exists_and_its_ports_are_local():
    services = COMPOSE["services"]
    mounts = [volume.partition(":")[0] for each in services.values() for volume in each.get("volumes", [])]

    assert services.keys() == {"service", "prometheus", "grafana"}
    for folder in mounts:
        assert folder in COMPOSE["volumes"] or folder == "./models" or (DEPLOY / folder).is_dir()
    assert (DEPLOY / services["service"]["build"]["context"] / services["service"]["build"]["dockerfile"]).is_file()
    assert all(port.startswith("127.0.0.1:") for each in services.values() for port in each["ports"])


def test_prometheus_finds_the_service_of_compose():
    (job,) = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]

    assert job["job_name"] == "sknn"  # the alerts on replicas name it
    assert job["dns_sd_configs"][0]["names"] == ["service"]
    assert job["dns_sd_configs"][0]["port"] == 8080


def test_grafana_reads_the_folder_of_the_dashboard():
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/sknn.yml").read_text())["providers"]

    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in COMPOSE["services"]["grafana"]["volumes"]


def test_kserve_runs_the_image_as_its_user_and_asks_the_port_that_it_serves():
    (container,) = yaml.safe_load((DEPLOY / "kserve/service.yaml").read_text())["spec"]["predictor"]["containers"]
    port = container["ports"][0]["containerPort"]

    assert container["args"][2:4] == ["--state", "/tmp/monitor.json"]  # the rest of the container is read-only
    assert container["args"][-2:] == ["--port", str(port)]
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": port}
    assert container["livenessProbe"]["httpGet"] == {"path": "/v2/health/live", "port": port}
    assert str(container["securityContext"]["runAsUser"]) == next(
        rest for name, rest in instructions() if name == "USER"
    )


def test_kserve_runs_a_triton_that_runs_the_graphs():
    model = yaml.safe_load((DEPLOY / "kserve/triton.yaml").read_text())["spec"]["predictor"]["model"]

    assert (model["modelFormat"]["name"], model["protocolVersion"]) == ("triton", "v2")
    assert model["runtimeVersion"].removesuffix("-py3") >= RUNTIMES[0].triton


def test_linked_files_exist():
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (DEPLOY / "README.md").read_text())

    assert [link for link in links if not (DEPLOY / link).exists()] == []


# --- The image ----------------------------------------------------------------------------------------------------


def test_the_image_runs_the_service_as_another_user_than_root():
    lines = instructions()
    user = [rest for name, rest in lines if name == "USER"]
    command = json.loads(next(rest for name, rest in lines if name == "CMD"))

    assert user[-1] == "10001"
    assert f"--uid {user[-1]}" in " ".join(rest for name, rest in lines if name == "RUN")
    assert command[:2] == ["serve", "/models/model.onnx"]
    assert command[2:4] == ["--state", "/tmp/monitor.json"]  # the rest of the container is read-only
    assert command[4:] == ["--host", "0.0.0.0", "--port", "8080"]
    assert json.loads(next(rest for name, rest in lines if name == "ENTRYPOINT")) == ["sknn"]
    assert "http://127.0.0.1:8080/v2/health/ready" in next(rest for name, rest in lines if name == "HEALTHCHECK")


def test_the_image_installs_sknn_without_its_dependencies():
    commands = " ".join(rest for name, rest in instructions() if name == "RUN")
    installs = [shlex.split(part) for part in re.findall(r"pip (?:install|wheel)[^&]*", commands)]

    for words in installs:
        assert "--no-deps" in words or "--requirement" in words
    required = (DEPLOY / "requirements.txt").read_text()
    assert not re.search("^(torch|scikit-learn|skorch|pandas|scipy)", required, re.MULTILINE)


def test_what_the_image_copies_is_sent_to_the_builder_and_exists():
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert f"!{source}" in ignored
                assert (ROOT / source).exists()


def required_distributions():
    """Return the installed distributions that the requirements of the image need, directly or not."""
    lines = (DEPLOY / "requirements.txt").read_text().splitlines()
    todo, found = [Requirement(line) for line in lines if not line.startswith("#")], {}
    while todo:
        requirement = todo.pop()
        if str(requirement) in found or not list(metadata.distributions(name=requirement.name)):
            continue
        found[str(requirement)] = distribution = metadata.distribution(requirement.name)
        for text in distribution.requires or []:
            needed = Requirement(text)
            extras = ["", *requirement.extras]
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(needed)
    return found.values()


def test_the_requirements_are_enough_for_the_service(tmp_path):
    """Import all that runs beside an exported model, and predict, in an environment with the required packages only."""
    for distribution in required_distributions():
        for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (tmp_path / name).exists():
                (tmp_path / name).symlink_to(distribution.locate_file(name))
    (tmp_path / "sknn").symlink_to(ROOT / "sknn")
    X = np.random.default_rng(0).normal(size=(60, 3))
    to_onnx(NeuralClassifier(**TINY).fit(X, X[:, 0] > 0), X, path=tmp_path / "model.onnx")
    services = [name for name in ("onnx_predictor", "monitoring", "serving") if (ROOT / "sknn" / name).is_dir()]
    modules = [
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for name in services
        for path in (ROOT / "sknn" / name).rglob("[!_]*.py")
    ]
    program = "; ".join(
        [
            *(f"import {module}" for module in modules),
            "import sknn.cli.main",
            "print(sknn.OnnxPredictor('model.onnx').predict([[1.0, 2.0, 3.0]]))",
            "import torch",
        ]
    )

    # -S: without the packages of this environment
    done = python("-S", "-c", program, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})

    assert done.stdout in ("[ True]\n", "[False]\n"), done.stderr
    assert done.stderr.endswith("No module named 'torch'\n")
