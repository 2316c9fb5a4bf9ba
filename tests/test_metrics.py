"""What a run publishes is there for Prometheus to fetch, under the names that docs/running.md gives."""

import re
import subprocess
import sys

from conftest import ROOT
from test_monitoring import named_metrics

from jobs.running.last_run import METRICS

PROGRAM = """
import time, urllib.request
import ray
from actors.outcomes import Counts, Work
from jobs.running.last_run import METRICS
from jobs.running.metrics import Metrics, label_of, publish_last_run

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
metrics = Metrics("r1", units=3, output="file:///输出")
work = Work("actor", began=1.0, ended=2.0, busy_seconds=0.1, padded_seconds=25.0)
metrics.add(Counts(audio_seconds=12.5), work, 0)  # a piece that is kept
metrics.add(Counts(recordings=4, errors={"missing": 1}), None, 1)
metrics.retry(1)
publish_last_run(label_of("file:///输出"), {name: (meaning, 4.0) for name, meaning in METRICS.items()})
port = ray.nodes()[0]["MetricsExportPort"]
end = time.monotonic() + 50
text = ""
while not ("citrascribe_retries" in text and "citrascribe_output_errors" in text) and time.monotonic() < end:
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    except OSError:
        pass
    time.sleep(0.2)
print(text)
"""


def test_metrics_are_there_to_fetch() -> None:
    environment = {"RAY_metrics_report_interval_ms": "500", "PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    lines = re.findall(r"^ray_(citrascribe_\w+)\{(.*)\} (\S+)$", done.stdout, re.MULTILINE)
    values = {name: float(value) for name, labels, value in lines if 'run_id="r1"' in labels}
    assert values.pop("citrascribe_times_real_time") > 0
    assert values.pop("citrascribe_actor_busy_share") > 0
    assert values == {
        "citrascribe_audio_seconds_total": 12.5,
        "citrascribe_recordings_total": 4,
        "citrascribe_errors_total": 1,
        "citrascribe_retries_total": 1,
        "citrascribe_units_planned": 3,
        "citrascribe_units_left": 2,
        "citrascribe_padding_share": 0.5,
    }
    assert all('output="file:///%E8%BE%93%E5%87%BA"' in labels for _, labels, _ in lines)
    last = {name: value for name, labels, value in lines if "run_id" not in labels}
    assert last == {f"citrascribe_{name}": "4.0" for name in METRICS}
    assert {f"ray_{name}" for name, _, _ in lines} >= {name for name in named_metrics() if name.startswith("ray_")}
    page = (ROOT / "docs/running.md").read_text()
    for name, _, _ in lines:
        assert name in page
