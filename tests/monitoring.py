"""Prometheus and Alertmanager with the files of a project, in which an hour lasts a minute, and real exporters."""

import json
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.services import fetch, free_port, program, serving

# Seconds that a test needs for an hour of the rules.
SPEED = 60
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
INTERVAL = "500ms"
# Names of an option in Debian 12.
OLD_FLAGS = {"prometheus-apache-exporter": "--telemetry.address"}


def scale(text: str) -> str:
    """Shorten all durations and ages of rules, except those of less than a minute."""
    ages = r"_seconds(\[1h\]\))?\) > (\d+)$"
    text = re.sub(
        ages, lambda found: found[0].replace(found[2], str(int(found[2]) // SPEED + 5)), text, flags=re.MULTILINE
    )
    return re.sub(r"\b(\d+)([mhdw])\b", lambda found: f"{int(found[1]) * SECONDS[found[2]] // SPEED}s", text)


class Monitoring:
    """A running Prometheus and its Alertmanager."""

    def __init__(self, project: Path, folder: Path, targets: Mapping[str, list[str]]) -> None:
        """Copy the configuration; `targets` are the hosts and ports of its jobs."""
        self.folder, self.port, self.alertmanager_port = folder, free_port(), free_port()
        self.conf = folder / "monitoring"
        shutil.copytree(project / "deploy" / "monitoring", self.conf)
        for rules in (self.conf / "rules").iterdir():
            rules.write_text(scale(rules.read_text(encoding="utf-8")), encoding="utf-8")
        config = yaml.safe_load((self.conf / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL}
        config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{self.alertmanager_port}"]
        self.jobs = {job["job_name"] for job in config["scrape_configs"]}
        for job in config["scrape_configs"]:
            for discovery in ("dns_sd_configs", "file_sd_configs"):
                job.pop(discovery, None)
            job["static_configs"] = [{"targets": targets.get(job["job_name"], [])}]
            if job["job_name"] == "machine":
                # Only the disk of the test: others may be full.
                disk = {"source_labels": ["mountpoint"], "regex": f"|{folder}/disk", "action": "keep"}
                job["metric_relabel_configs"] = [disk]
            if job["job_name"] == "edge":
                job["relabel_configs"][-1]["replacement"] = targets["blackbox"][0]
                job |= {"scrape_interval": "2s", "scrape_timeout": "2s"}
        (self.conf / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        routes = yaml.safe_load((self.conf / "alertmanager.yml").read_text(encoding="utf-8"))
        routes["route"] |= {"group_wait": "0s", "group_interval": "1s"}
        (self.conf / "alertmanager.yml").write_text(yaml.safe_dump(routes), encoding="utf-8")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run both servers within a `with` block."""
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        address, alertmanager = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.alertmanager_port}"
        with (
            serving(
                [
                    program("prometheus-alertmanager", "prometheus-alertmanager"),
                    f"--config.file={self.conf}/alertmanager.yml",
                    f"--storage.path={self.folder}/alertmanager",
                    f"--web.listen-address={alertmanager}",
                    "--cluster.listen-address=",
                ],
                self.folder,
                {},
                f"http://{alertmanager}/-/ready",
                self.folder / "alertmanager.log",
            ),
            serving(
                [
                    program("prometheus", "prometheus"),
                    f"--config.file={self.conf}/prometheus.yml",
                    f"--storage.tsdb.path={data}",
                    f"--web.listen-address={address}",
                ],
                self.folder,
                {},
                f"http://{address}/-/ready",
                self.folder / "prometheus.log",
            ),
        ):
            yield

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query that have a value."""
        query = urllib.parse.urlencode({"query": expression})
        response = fetch(f"http://127.0.0.1:{self.port}/api/v1/query?{query}")
        assert response.status == 200, f"{expression}\n{response.text}"
        found: list[dict[str, Any]] = json.loads(response.text)["data"]["result"]
        return [series for series in found if series["value"][1] != "NaN"]

    def alerts(self) -> dict[str, list[dict[str, Any]]]:
        """Return the alerts that Alertmanager has received and that have not ended, by name."""
        response = fetch(f"http://127.0.0.1:{self.alertmanager_port}/api/v2/alerts")
        alerts: dict[str, list[dict[str, Any]]] = {}
        for alert in json.loads(response.text):
            alerts.setdefault(alert["labels"]["alertname"], []).append(alert)
        return alerts

    def import_history(self, samples: str) -> None:
        """Import samples of the past, in OpenMetrics format, before the start."""
        (self.folder / "history.txt").write_text(samples, encoding="utf-8")
        command: list[str | Path] = [program("promtool", "prometheus"), "tsdb", "create-blocks-from", "openmetrics"]
        subprocess.run(
            [*command, self.folder / "history.txt", self.folder / "data"], check=True, capture_output=True, text=True
        )


@contextmanager
def small_disk(folder: Path, *, kilobytes: int) -> Iterator[None]:
    """Mount a file system of this size in memory within a `with` block."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def exporters(
    commands: Mapping[str, list[str]], folder: Path, variables: Mapping[str, str]
) -> Iterator[dict[str, int]]:
    """Run exporters, which Debian packages, within a `with` block; the value is their ports by name."""
    ports: dict[str, int] = {}
    with ExitStack() as stack:
        for name, (package, *options) in commands.items():
            ports[name] = free_port()
            address = f"127.0.0.1:{ports[name]}"
            flag = OLD_FLAGS.get(package, "--web.listen-address")
            stack.enter_context(
                serving(
                    [program(package, package), f"{flag}={address}", *options],
                    folder,
                    variables,
                    f"http://{address}/metrics",
                    folder / f"{name}-exporter.log",
                )
            )
        yield ports
