"""Kubernetes: manifests of each combination, the release script, and containers with the settings of the manifests."""

import json
import os
import re
import shutil
import subprocess
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from copy import deepcopy
from functools import partial
from http.client import HTTPException
from pathlib import Path
from threading import Event, Timer
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.conftest import Run
from tests.containers import Engine, Project
from tests.matrix import COMBINATIONS, Combination, answers_with, is_valid, parametrize_combinations
from tests.services import (
    TIMEOUT,
    PostgreSQL,
    Redis,
    RedisBroker,
    create_venv,
    fetch,
    free_port,
    program,
    wait_until,
)
from tests.settings import required_settings, setting_names

Manifest = dict[str, Any]
Labels = dict[str, str]

DEFAULT_ON_KUBERNETES = Combination("default-on-kubernetes", answers_with(deployment="kubernetes"))
APACHE_ON_KUBERNETES = Combination(
    "apache-on-kubernetes",
    answers_with(
        deployment="kubernetes",
        reverse_proxy="apache",
        database="mysql",
        task_queue="celery-rabbitmq",
        auth="oidc",
        ci="gitlab",
    ),
)
KUBERNETES = [
    DEFAULT_ON_KUBERNETES,
    APACHE_ON_KUBERNETES,
    *(combination for combination in COMBINATIONS if combination.options["deployment"] == "kubernetes"),
]
ENVIRONMENTS = ("staging", "production")
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
IMAGES = {"IMAGE": f"registry.example.com/web@{DIGEST}", "PROXY_IMAGE": f"registry.example.com/proxy@{DIGEST}"}
COMPONENT = "app.kubernetes.io/component"
# A new version needs a look at its new checks.
CHECKOV = "checkov==3.3.30"
QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|[KMGT]i?|)")
UNITS = {"": 1.0, "m": 1e-3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
# Variables of the proxy's containers that are not in its own file of variables.
PROXY_VARIABLES = {"TMPDIR"}


def kustomize(folder: Path) -> list[Manifest]:
    """Render a Kustomize folder."""
    command = [program("kubectl", "kubectl"), "kustomize", folder]
    result = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return [*yaml.safe_load_all(result.stdout)]


def enable_components(overlay: Path) -> None:
    """Enable the components that are comments."""
    file = overlay / "kustomization.yaml"
    text, count = re.subn(r"(?m)^  # - (\.\./\.\./components/)", r"  - \1", file.read_text(encoding="utf-8"))
    assert count
    file.write_text(text, encoding="utf-8")


def kind(manifests: list[Manifest], *kinds: str) -> dict[str, Manifest]:
    """Return the manifests of some kinds by name."""
    return {found["metadata"]["name"]: found for found in manifests if found["kind"] in kinds}


def workloads(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the Deployments and Jobs by name."""
    return kind(manifests, "Deployment", "Job")


def pod(workload: Manifest) -> Manifest:
    """Return the pod specification of a Deployment or Job."""
    found: Manifest = workload["spec"]["template"]["spec"]
    return found


def main(workload: Manifest) -> Manifest:
    """Return the container of the service, without its sidecars."""
    (found,) = (container for container in pod(workload)["containers"] if container["name"] == "main")
    return dict(found)


def labels(workload: Manifest) -> Labels:
    """Return the labels of a workload's pods."""
    found: Labels = workload["spec"]["template"]["metadata"]["labels"]
    return found


def selects(selector: Manifest, found: Labels) -> bool:
    """Return whether a label selector matches labels."""
    expressions = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in expressions)
    return selector.get("matchLabels", {}).items() <= found.items() and all(
        found.get(expression["key"]) in expression["values"] for expression in expressions
    )


def quantity(value: str | int) -> float:
    """Return a quantity of Kubernetes as a number."""
    match = QUANTITY.fullmatch(str(value))
    assert match, value
    return float(match[1]) * UNITS[match[2]]


def read_variables(file: Path) -> dict[str, str]:
    """Return the variables of an environment file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(params=ENVIRONMENTS)
def manifests(project: Path, request: pytest.FixtureRequest) -> list[Manifest]:
    """Return the manifests of an environment."""
    return kustomize(project / "deploy" / "kubernetes" / "overlays" / request.param)


@pytest.fixture
def compose(project: Path) -> dict[str, Manifest]:
    """Return the services of compose.yaml."""
    services: dict[str, Manifest] = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return services


@pytest.mark.parametrize("answers", [{"database": "sqlite"}, {"cache": "filesystem"}], ids=str)
def test_files_on_one_machine_conflict(answers: dict[str, str]) -> None:
    """Pods share no files."""
    assert not is_valid({"deployment": "kubernetes", **answers})


@pytest.fixture(scope="session")
def projects(render: Callable[[Combination], Path]) -> list[Path]:
    """Return the project of each combination, for programs that check all of them faster than each."""
    return [*map(render, KUBERNETES)]


@pytest.mark.xdist_group("kubernetes")
def test_manifests_match_their_schemas(projects: list[Path], tmp_path: Path, venv_bin: Path, run: Run) -> None:
    """kubernetes-validate finds nothing in any overlay, with all components, and in the setup."""
    for number, project in enumerate(projects):
        # The proxy has ConfigMaps of files outside of the folder.
        deploy = Path(shutil.copytree(project / "deploy", tmp_path / str(number)))
        folder = deploy / "kubernetes"
        for environment in ENVIRONMENTS:
            enable_components(folder / "overlays" / environment)
            found = kustomize(folder / "overlays" / environment) + kustomize(folder / "setup" / environment)
            (tmp_path / f"{number}-{environment}.yaml").write_text(yaml.safe_dump_all(found))
    files = sorted(tmp_path.glob("*.yaml"))
    assert len(files) == len(ENVIRONMENTS) * len(KUBERNETES)
    result = run(venv_bin / "kubernetes-validate", "--strict", "--quiet", "--no-warn", *files, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "")


def release_manifests(project: Path, tmp_path: Path, environment: str) -> list[Manifest]:
    """Return what `make deploy` applies, with a fake kubectl."""
    fake = FakeKubectl(project, tmp_path)
    assert fake.release("deploy", ENVIRONMENT=environment).returncode == 0
    return fake.applied()


@pytest.fixture(scope="session")
def checkov(request: pytest.FixtureRequest) -> Path:
    """Return the program checkov, in an environment of its own, since it pins a hundred packages."""
    assert request.config.cache
    folder = request.config.cache.mkdir(CHECKOV.replace("==", "-"))
    if not (folder / "ready").exists():
        create_venv([CHECKOV], folder / "venv")
        (folder / "ready").touch()
    return folder / "venv" / "bin" / "checkov"


@pytest.mark.xdist_group("kubernetes")
def test_checkov_finds_nothing(checkov: Path, projects: list[Path], tmp_path: Path, run: Run) -> None:
    """Checkov finds nothing in a release of any combination; what it skips has a reason in the manifest."""
    for number, project in enumerate(projects):
        found = release_manifests(project, tmp_path / str(number), "production")
        (tmp_path / f"release-{number}.yaml").write_text(yaml.safe_dump_all(found))
    options = ["--framework", "kubernetes", "--skip-download", "--compact", "--output", "json"]
    folder = tmp_path / "manifests"
    folder.mkdir()
    for file in tmp_path.glob("release-*.yaml"):
        file.rename(folder / file.name)
    result = run(checkov, *options, "--directory", folder, cwd=tmp_path)
    report = json.loads(result.stdout)
    assert report["summary"]["passed"] > 100 * len(KUBERNETES)
    failed = [(check["check_id"], check["resource"]) for check in report["results"]["failed_checks"]]
    assert failed == []
    skipped = {check["check_id"] for check in report["results"]["skipped_checks"]}
    assert skipped == {"CKV_K8S_9", "CKV_K8S_35", "CKV_K8S_43"}


@parametrize_combinations(KUBERNETES)
def test_workloads_are_those_of_compose(
    combination: Combination, manifests: list[Manifest], compose: dict[str, Manifest]
) -> None:
    """There is a workload for each service of the application, and one scheduler that is never doubled."""
    expected = {"web", "proxy", "worker", "scheduler", "migrate"} & compose.keys()
    assert workloads(manifests).keys() == expected
    assert kind(manifests, "HorizontalPodAutoscaler").keys() == expected - {"scheduler", "migrate"}
    assert kind(manifests, "PodDisruptionBudget").keys() == expected - {"scheduler", "migrate"}
    if combination.options["task_queue"] != "none":
        scheduler = workloads(manifests)["scheduler"]["spec"]
        assert (scheduler["replicas"], scheduler["strategy"]) == (1, {"type": "Recreate"})
    for name, workload in workloads(manifests).items():
        # The autoscaler sets the number.
        assert ("replicas" in workload["spec"]) == (name == "scheduler")
        assert main(workload).get("command") == compose[name].get("command")


@parametrize_combinations(KUBERNETES)
def test_limits_are_those_of_compose(project: Path, manifests: list[Manifest], compose: dict[str, Manifest]) -> None:
    """Memory, CPUs, temporary folders and grace periods are those that compose.yaml and docs/capacity.md have."""
    capacity = (project / "docs" / "capacity.md").read_text(encoding="utf-8")
    for name, workload in workloads(manifests).items():
        service, container = compose[name], main(workload)
        limits = service["deploy"]["resources"]["limits"]
        assert quantity(container["resources"]["limits"]["memory"]) == quantity(f"{limits['memory'][:-1]}Mi"), name
        assert quantity(container["resources"]["limits"]["cpu"]) == float(limits["cpus"]), name
        assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"], name
        if name != "migrate":
            assert f"| `{name}` | {limits['memory'][:-1]} |" in capacity
        folders = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        memory = {
            f"{folders[volume['name']]}:size={volume['emptyDir']['sizeLimit'].removesuffix('i').lower()}"
            for volume in pod(workload)["volumes"]
            if volume.get("emptyDir", {}).get("medium") == "Memory"
        }
        assert memory == {*service["tmpfs"]}, name
        grace = pod(workload)["terminationGracePeriodSeconds"]
        sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert f"{grace - sleep}s" == service["stop_grace_period"], name
        # Pods of a Service get requests for a moment after their end began.
        assert bool(sleep) == (name in kind(manifests, "Service")), name
    settings = (project / ".env.example").read_text(encoding="utf-8")
    (timeout,) = re.findall(r"(?m)^#WEB_TIMEOUT=(\d+)$", settings)
    periods = {name: pod(workload)["terminationGracePeriodSeconds"] for name, workload in workloads(manifests).items()}
    assert int(timeout) < periods["web"] < periods.get("proxy", 1000)
    for limit in re.findall(r"(?m)^#JOB_TIME_LIMIT=(\d+)$", settings):
        assert int(limit) < periods["worker"]


def check_resources(container: Manifest) -> None:
    """Check that quantities are valid, and requests at most the limits."""
    limits, requests = (container["resources"][name] for name in ("limits", "requests"))
    assert limits.keys() == requests.keys() >= {"cpu", "memory"}
    for name, value in requests.items():
        assert quantity(value) <= quantity(limits[name]), name


@parametrize_combinations(KUBERNETES)
def test_pods_are_restricted(project: Path, manifests: list[Manifest]) -> None:
    """Pods meet the Pod Security standard `restricted`, which the namespace enforces, and get no token."""
    for environment in ENVIRONMENTS:
        (namespace,) = kind(kustomize(project / "deploy/kubernetes/setup" / environment), "Namespace").values()
        modes = {name: value for name, value in namespace["metadata"]["labels"].items() if "pod-security" in name}
        assert modes == {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("audit", "enforce", "warn")}
    (account,) = kind(manifests, "ServiceAccount").values()
    assert account["automountServiceAccountToken"] is False
    for workload in workloads(manifests).values():
        spec = pod(workload)
        assert spec["automountServiceAccountToken"] is False
        assert spec["serviceAccountName"] == account["metadata"]["name"]
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 10_000
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert not [volume for volume in spec["volumes"] if "hostPath" in volume]
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            check_resources(container)


@parametrize_combinations(KUBERNETES)
def test_references_exist(workspace: Path) -> None:
    """Selectors match pods; ports, volumes, targets, settings and Services that manifests name exist."""
    folder = workspace / "deploy" / "kubernetes" / "overlays" / "production"
    check_references(kustomize(folder))
    enable_components(folder)
    check_references(kustomize(folder))


def check_references(manifests: list[Manifest]) -> None:
    """Check everything that a manifest names in another one."""
    (namespace,) = {found["metadata"]["namespace"] for found in manifests}
    assert namespace.endswith("-production")
    names = {(found["kind"], found["metadata"]["name"]) for found in manifests}
    assert len(names) == len(manifests)
    assert ("Secret", "secrets") not in names
    for workload in workloads(manifests).values():
        assert workload["kind"] == "Job" or selects(workload["spec"]["selector"], labels(workload))
        volumes = {volume["name"]: volume.get("configMap") for volume in pod(workload)["volumes"]}
        assert all(volume is None or ("ConfigMap", volume["name"]) in names for volume in volumes.values())
        for container in pod(workload)["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes.keys()
            check_container(container, names)
    check_selectors(manifests)
    check_scaling(manifests, names)
    check_routes(manifests)


def check_container(container: Manifest, names: set[tuple[str, str]]) -> None:
    """Check the ConfigMaps, the Secret and the ports of a container."""
    for source in container.get("envFrom", []):
        assert source == {"secretRef": {"name": "secrets"}} or ("ConfigMap", source["configMapRef"]["name"]) in names
    ports = {port["name"] for port in container.get("ports", [])}
    assert all(re.fullmatch(r"[a-z][a-z0-9-]{0,14}", port) for port in ports)
    for probe in (container.get(f"{name}Probe", {}) for name in ("startup", "liveness", "readiness")):
        assert {probe[name]["port"] for name in ("httpGet", "tcpSocket") if name in probe} <= ports


def check_selectors(manifests: list[Manifest]) -> None:
    """Check that each selector matches the pods that it is for, and each port exists."""
    found = workloads(manifests).values()
    for name, budget in kind(manifests, "PodDisruptionBudget").items():
        assert [w["metadata"]["name"] for w in found if selects(budget["spec"]["selector"], labels(w))] == [name]
    for name, service in kind(manifests, "Service").items():
        (workload,) = (w for w in found if selects({"matchLabels": service["spec"]["selector"]}, labels(w)))
        assert workload["metadata"]["name"] == name
        ports = {port["name"]: port["containerPort"] for port in main(workload)["ports"]}
        assert all(ports[port["targetPort"]] == port["port"] for port in service["spec"]["ports"])
    for monitor in kind(manifests, "PodMonitor").values():
        pods = [pod(workload) for workload in found if selects(monitor["spec"]["selector"], labels(workload))]
        exposed = {port["name"] for spec in pods for c in spec["containers"] for port in c.get("ports", [])}
        assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} <= exposed


def check_scaling(manifests: list[Manifest], names: set[tuple[str, str]]) -> None:
    """Check the targets and numbers of autoscalers."""
    autoscalers, scaled = kind(manifests, "HorizontalPodAutoscaler"), kind(manifests, "ScaledObject")
    assert not autoscalers.keys() & scaled.keys()
    for found in [*autoscalers.values(), *scaled.values()]:
        target = found["spec"]["scaleTargetRef"]
        assert (target.get("kind", "Deployment"), target["name"]) in names
    for found in autoscalers.values():
        assert 1 < found["spec"]["minReplicas"] <= found["spec"]["maxReplicas"]
    for trigger in (trigger for found in scaled.values() for trigger in found["spec"]["triggers"]):
        assert trigger["type"] == "cpu" or ("TriggerAuthentication", trigger["authenticationRef"]["name"]) in names
        # Like the URLs of secret.env.example.
        assert trigger["type"] != "redis" or trigger["metadata"]["enableTLS"] == "true"


def check_routes(manifests: list[Manifest]) -> None:
    """Check that the gateway and its routes have the host name of the settings, and lead to existing Services."""
    (settings,) = (found["data"] for name, found in kind(manifests, "ConfigMap").items() if name.startswith("settings"))
    (gateway,) = kind(manifests, "Gateway").values()
    listeners = {listener["name"]: listener["hostname"] for listener in gateway["spec"]["listeners"]}
    assert {*listeners.values()} == {settings["ALLOWED_HOSTS"]}
    services = kind(manifests, "Service")
    for route in kind(manifests, "HTTPRoute").values():
        assert route["spec"]["hostnames"] == [settings["ALLOWED_HOSTS"]]
        (parent,) = route["spec"]["parentRefs"]
        assert parent["name"] == gateway["metadata"]["name"]
        assert parent["sectionName"] in listeners
        for backend in (backend for rule in route["spec"]["rules"] for backend in rule.get("backendRefs", [])):
            assert backend["port"] in [port["port"] for port in services[backend["name"]]["spec"]["ports"]]


@parametrize_combinations(KUBERNETES)
def test_settings_exist_and_are_complete(
    project: Path, manifests: list[Manifest], compose: dict[str, Manifest]
) -> None:
    """Each variable is a setting, and the application gets each required one from the ConfigMap or the Secret."""
    check_settings(project, manifests, compose)


def check_settings(project: Path, manifests: list[Manifest], compose: dict[str, Manifest]) -> None:
    """Check the variables of all containers."""
    config_maps = kind(manifests, "ConfigMap")
    secrets = read_variables(project / "deploy" / "kubernetes" / "secret.env.example")
    assert required_settings(project)
    for name, workload in workloads(manifests).items():
        sources = main(workload)["envFrom"]
        variables = {
            key
            for source in sources
            if "configMapRef" in source
            for key in config_maps[source["configMapRef"]["name"]]["data"]
        }
        if name == "proxy":
            (file,) = (project / "deploy").glob("*/*.env")
            assert variables <= {*read_variables(file)} | PROXY_VARIABLES
            assert variables >= {*compose["proxy"]["environment"]} - {"RESOLVERS", "STATUS_PORT"}
        else:
            assert {"secretRef": {"name": "secrets"}} in sources
            assert not variables & secrets.keys()
            assert variables | secrets.keys() <= setting_names(project)
            assert required_settings(project) <= variables | secrets.keys()
            confidential = re.compile("PASSWORD|SECRET|TOKEN|(DATABASE|CACHE|BROKER|RESULT|SMTP)_URL")
            assert not [key for key in variables if confidential.search(key)]


@pytest.mark.parametrize(
    ("file", "mistake", "text"),
    [
        ("overlays/production/settings.env", "ALLOWED_HOSTS=", "ALLOWED_HOST="),
        ("base/settings.env", "FLASK_DEBUG=0", "SMTP_URL=smtp://user:password@example.com"),
        ("secret.env.example", "SECRET_KEY=\n", ""),
        ("secret.env.example", "DATABASE_URL=", "DATABASE_URI="),
        ("base/proxy.env", "UPSTREAM=", "UPSTREAMS="),
        ("base/web.yaml", "name: web}\n  minReplicas", "name: webs}\n  minReplicas"),
        ("base/web.yaml", "/health/ready, port: http", "/health/ready, port: https"),
        (
            "base/web.yaml",
            "selector: {app.kubernetes.io/component: web}",
            "selector: {app.kubernetes.io/component: proxy}",
        ),
        ("base/proxy.yaml", "port: 8080, targetPort", "port: 80, targetPort"),
        ("base/route.yaml", "{name: proxy, port: 8080}", "{name: proxy, port: 80}"),
        ("base/route.yaml", "sectionName: https", "sectionName: tls"),
        ("components/monitoring/pod-monitor.yaml", "port: exporter", "port: exporters"),
        (
            "components/queue-scaling/scaled-object.yaml",
            "scaleTargetRef: {name: worker}",
            "scaleTargetRef: {name: jobs}",
        ),
    ],
)
@parametrize_combinations([DEFAULT_ON_KUBERNETES])
def test_mistakes_are_found(file: str, mistake: str, text: str, workspace: Path, compose: dict[str, Manifest]) -> None:
    """Each check detects its mistake."""
    path = workspace / "deploy" / "kubernetes" / file
    source = path.read_text(encoding="utf-8")
    assert mistake in source
    path.write_text(source.replace(mistake, text, 1), encoding="utf-8")
    overlay = workspace / "deploy" / "kubernetes" / "overlays" / "production"
    enable_components(overlay)

    def check() -> None:
        manifests = kustomize(overlay)
        check_references(manifests)
        check_settings(workspace, manifests, compose)

    with pytest.raises((AssertionError, KeyError, ValueError)):
        check()


@parametrize_combinations([DEFAULT_ON_KUBERNETES, APACHE_ON_KUBERNETES])
def test_exporter_reads_the_status_page(project: Path) -> None:
    """The exporter beside the proxy requests the port and the path of its status page."""
    proxy = workloads(kustomize(project / "deploy" / "kubernetes" / "overlays" / "production"))["proxy"]
    (exporter,) = (container for container in pod(proxy)["containers"] if container["name"] == "exporter")
    (url,) = (argument.partition("=")[2] for argument in exporter["args"])
    (file,) = (project / "deploy").glob("*/*.env")
    assert urlsplit(url).netloc == read_variables(file)["STATUS_PORT"]
    (status,) = (project / "deploy").rglob("status.conf*")
    assert urlsplit(url).path in status.read_text(encoding="utf-8")


class Network:
    """The connections that network policies allow, as Kubernetes defines it."""

    def __init__(self, manifests: list[Manifest]) -> None:
        """Read the policies and the pods."""
        self.policies = [found["spec"] for found in kind(manifests, "NetworkPolicy").values()]
        self.pods = {name: labels(workload) for name, workload in workloads(manifests).items()}
        self.listeners: set[tuple[str, int]] = {
            (name, port["containerPort"])
            for name, workload in workloads(manifests).items()
            for container in pod(workload)["containers"]
            for port in container.get("ports", [])
        }

    def allows(self, source: str, target: str, port: int, protocol: str = "TCP") -> bool:
        """Return whether a pod, or a namespace with a slash at its end, may connect to another one, or to `outside`."""
        return self.passes("Egress", source, target, port, protocol) and self.passes(
            "Ingress", target, source, port, protocol
        )

    def passes(self, direction: str, own: str, other: str, port: int, protocol: str) -> bool:
        """Return whether the policies of one end allow a connection."""
        if own not in self.pods:
            return True
        policies = [
            policy
            for policy in self.policies
            if direction in policy["policyTypes"] and selects(policy["podSelector"], self.pods[own])
        ]
        assert policies, "the default policy is missing"
        peers = {"Ingress": "from", "Egress": "to"}[direction]
        return any(
            self.is_peer(rule.get(peers), other) and {"protocol": protocol, "port": port} in rule["ports"]
            for policy in policies
            for rule in policy.get(direction.lower(), [])
        )

    def is_peer(self, peers: list[Manifest] | None, other: str) -> bool:
        """Return whether the peers of a rule include a pod, a namespace or the outside."""
        if peers is None:
            return True
        return any(
            selects(peer["podSelector"], self.pods[other])
            if "podSelector" in peer and other in self.pods
            else peer.get("namespaceSelector", {}).get("matchLabels")
            == {"kubernetes.io/metadata.name": other.removesuffix("/")}
            for peer in peers
        )


@parametrize_combinations(KUBERNETES)
def test_network_policies_allow_only_needed_connections(
    combination: Combination, project: Path, manifests: list[Manifest]
) -> None:
    """Exactly the needed connections are allowed: to ports on which pods listen, and to servers outside."""
    options, network, settings = combination.options, Network(manifests), setting_names(project)
    is_proxied, is_monitored = options["reverse_proxy"] != "none", options["monitoring"] == "prometheus"
    entrance = "proxy" if is_proxied else "web"
    expected = {("envoy-gateway-system/", entrance, 8080 if is_proxied else 8000)}
    if is_proxied:
        expected.add(("proxy", "web", 8000))
    if is_monitored:
        metrics = {
            ("web", 8000),
            ("web", 9464),
            ("worker", 9464),
            ("scheduler", 9464),
            ("proxy", 9113),
            ("proxy", 9117),
        }
        # The uwsgi protocol has no metrics.
        metrics -= {("web", 8000)} if ("web", 9464) in network.listeners else set()
        expected |= {("monitoring/", *listener) for listener in metrics & network.listeners}
    namespaces = ["envoy-gateway-system/", "monitoring/", "kube-system/", "elsewhere/"]
    found = {
        (source, *listener)
        for source in [*network.pods, *namespaces]
        for listener in network.listeners
        if source != listener[0] and network.allows(source, *listener)
    }
    assert found == expected

    (package,) = project.glob("src/*")
    calls_services = options["auth"] in ("jwt", "oidc") or (package / "core" / "http_client").exists()
    reports = options["error_tracking"] != "none" or options["monitoring"] == "opentelemetry"
    application = {"web", "worker", "scheduler"} & network.pods.keys()
    servers = {
        5432: options["database"] == "postgresql",
        3306: options["database"] == "mysql",
        6379: options["cache"] == "redis" or "BROKER_URL" in settings,
        11211: options["cache"] == "memcached",
        5671: "RESULT_URL" in settings,
        5672: "RESULT_URL" in settings,
        465: "SMTP_URL" in settings,
        587: "SMTP_URL" in settings,
        443: calls_services or reports or options["cdn"] != "none",
        80: (package / "examples" / "page_titles.py").exists(),
        4318: options["monitoring"] == "opentelemetry",
        22: False,
        25: False,
        6443: False,
    }
    migrate = {"migrate"} & network.pods.keys()
    assert {(name, port) for name in network.pods for port in servers if network.allows(name, "outside", port)} == {
        (name, port)
        for port, is_needed in servers.items()
        if is_needed
        for name in application | (migrate if port in (5432, 3306) else set())
    }
    for name in network.pods:
        assert network.allows(name, "kube-system/", 53, "UDP")
        assert not network.allows(name, "elsewhere/", 53, "UDP")


class FakeKubectl:
    """A fake of kubectl: it renders with the real one, and records the other commands instead of calling a cluster."""

    script = """#!/bin/sh
case "$*" in
    kustomize*) exec "$REAL" "$@" ;;
esac
shift 2
echo "$*" >> "$RECORD/commands"
case "$*" in
    *--filename*release.yaml*) cp "$3" "$RECORD/release.yaml" ;;
    "get replicasets"*) cat "$RECORD/revisions" ;;
    "get deployments"*) cat "$RECORD/releases" ;;
esac
case "$*" in
    $FAILING) exit 1 ;;
esac
"""

    def __init__(self, project: Path, folder: Path) -> None:
        """Write the fake."""
        self.project, self.folder = project, folder
        folder.mkdir(exist_ok=True)
        (folder / "kubectl").write_text(self.script)
        (folder / "kubectl").chmod(0o755)
        self.real = str(program("kubectl", "kubectl"))

    def release(
        self, command: str, failing: str = "*--for=condition=failed*", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run release.sh; commands that match a pattern of the shell fail."""
        (self.folder / "commands").unlink(missing_ok=True)
        return subprocess.run(
            ["sh", str(self.project / "deploy" / "kubernetes" / "release.sh"), command],
            check=False,
            env={
                "PATH": f"{self.folder}:{os.environ['PATH']}",
                "REAL": self.real,
                "RECORD": str(self.folder),
                "FAILING": failing,
                "ENVIRONMENT": "staging",
                **IMAGES,
                **variables,
            },
            capture_output=True,
            text=True,
        )

    def commands(self) -> list[str]:
        """Return the recorded commands, without the names of temporary files and releases."""
        text = (self.folder / "commands").read_text(encoding="utf-8")
        return re.sub(r"\S*release\.yaml|\d{8}-\d{6}", "RELEASE", text).splitlines()

    def applied(self) -> list[Manifest]:
        """Return the manifests of the release."""
        return [*yaml.safe_load_all((self.folder / "release.yaml").read_text(encoding="utf-8"))]


def snapshot(folder: Path) -> dict[Path, bytes]:
    """Return the contents of all files in a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@parametrize_combinations(KUBERNETES)
def test_release_has_digests_and_alerts(combination: Combination, workspace: Path, tmp_path: Path) -> None:
    """A release has images by digest, its own Job and all alerts, and changes no file of the project."""
    before = snapshot(workspace)
    applied = release_manifests(workspace, tmp_path / "fake", "production")
    assert snapshot(workspace) == before
    found = workloads(applied)
    (release,) = {labels(workload)["release"] for workload in found.values()}
    for workload in found.values():
        name = "proxy" if workload["metadata"]["name"] == "proxy" else "web"
        assert main(workload)["image"] == f"registry.example.com/{name}@{DIGEST}"
    jobs = {name for name, workload in found.items() if workload["kind"] == "Job"}
    assert jobs == ({f"migrate-{release}"} if combination.options["database"] != "none" else set())
    alerts = {name: rule["spec"] for name, rule in kind(applied, "PrometheusRule").items()}
    assert alerts == {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in workspace.glob("deploy/monitoring/rules/*.yml")
    }


@parametrize_combinations([DEFAULT_ON_KUBERNETES])
def test_release_migrates_first(workspace: Path, tmp_path: Path) -> None:
    """The script applies settings and Job, waits for the Job, applies the rest, and waits for all pods."""
    fake = FakeKubectl(workspace, tmp_path / "fake")
    result = fake.release("deploy")
    assert result.returncode == 0, result.stderr
    assert fake.commands() == [
        f"apply --filename RELEASE --selector {COMPONENT} notin (web,proxy,worker,scheduler)",
        "wait --for=condition=complete --timeout=5s job/migrate-RELEASE",
        "apply --filename RELEASE",
        *(f"rollout status deployment/{name} --timeout 15m" for name in ("web", "proxy", "worker", "scheduler")),
    ]


@parametrize_combinations([DEFAULT_ON_KUBERNETES])
def test_failed_migration_changes_no_pods(workspace: Path, tmp_path: Path) -> None:
    """If the Job fails, its log is printed, and nothing else is applied."""
    fake = FakeKubectl(workspace, tmp_path / "fake")
    result = fake.release("deploy", failing="*--for=condition=complete*")
    assert result.returncode == 1
    assert result.stderr == "Error: the migrations failed. The pods are those of the last release.\n"
    assert [command.split()[0] for command in fake.commands()] == ["apply", "wait", "wait", "logs"]


# Releases by revision: the third one was abandoned, so that the second one has a new revision. For the web it has two,
# since `kubectl rollout restart` has added one.
REVISIONS = {
    "web": {1: 1, 3: 3, 4: 2, 5: 2, 6: 4},
    "proxy": {1: 1, 3: 3, 4: 2, 5: 4},
    "worker": {1: 1, 3: 3, 4: 2, 5: 4},
    "scheduler": {9: 1, 11: 3, 12: 2, 13: 4},
}


@parametrize_combinations([DEFAULT_ON_KUBERNETES])
def test_rollback_returns_all_deployments_to_the_release_before(workspace: Path, tmp_path: Path) -> None:
    """A rollback skips restarts and abandoned releases, and another one goes on; it never mixes releases."""
    fake = FakeKubectl(workspace, tmp_path / "fake")
    lines = [
        f"{name} 2020010{release}-000000 {revision}\n"
        for name, revisions in REVISIONS.items()
        for revision, release in revisions.items()
    ]

    def undone(*current: int) -> dict[str, str]:
        (fake.folder / "revisions").write_text("".join(lines))
        (fake.folder / "releases").write_text("".join(f"2020010{release}-000000\n" for release in current))
        result = fake.release("rollback")
        assert result.returncode == (0 if "rollout undo" in " ".join(fake.commands()) else 1)
        matches = (re.fullmatch(r"rollout undo deployment/(.+) --to-revision (.+)", line) for line in fake.commands())
        return {match[1]: match[2] for match in matches if match}

    assert undone(4, 4, 4, 4) == {"web": "5", "proxy": "4", "worker": "4", "scheduler": "12"}
    assert undone(2, 2, 2, 2) == {"web": "1", "proxy": "1", "worker": "1", "scheduler": "9"}
    # A rollback that was interrupted.
    assert undone(2, 4, 4, 4) == {"web": "5", "proxy": "4", "worker": "4", "scheduler": "12"}
    assert undone(1, 1, 1, 1) == {}
    # The cluster has deleted this revision.
    lines.remove("scheduler 20200102-000000 12\n")
    assert undone(4, 4, 4, 4) == {}


@parametrize_combinations([DEFAULT_ON_KUBERNETES])
def test_failed_release_is_rolled_back(workspace: Path, tmp_path: Path) -> None:
    """If pods do not become ready, all Deployments return to the release before."""
    fake = FakeKubectl(workspace, tmp_path / "fake")
    names = ("web", "proxy", "worker", "scheduler")
    releases = (f"{name} 20200101-000000 1\n{name} 99990101-000000 2\n" for name in names)
    (fake.folder / "revisions").write_text("".join(releases))
    result = fake.release("deploy", failing="rollout status deployment/worker*")
    assert result.returncode == 1
    undone = [command for command in fake.commands() if command.startswith("rollout undo")]
    assert undone == [f"rollout undo deployment/{name} --to-revision 1" for name in names]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"ENVIRONMENT": ""},
            "ENVIRONMENT is the name of a folder in deploy/kubernetes/overlays, such as staging; got ''",
        ),
        ({"ENVIRONMENT": "test"}, "such as staging; got 'test'"),
        ({"ENVIRONMENT": "../base"}, "such as staging; got '../base'"),
        ({"IMAGE": "registry.example.com/web:v1"}, "NAME@sha256:…; got 'registry.example.com/web:v1'"),
        (
            {"IMAGE": "registry.example.com/web@sha256:0123"},
            "NAME@sha256:…; got 'registry.example.com/web@sha256:0123'",
        ),
        ({"IMAGE": f"web, b: {IMAGES['IMAGE']}"}, "NAME@sha256:…; got 'web, b: "),
        ({"PROXY_IMAGE": ""}, "NAME@sha256:…; got ''"),
    ],
    ids=str,
)
@parametrize_combinations([DEFAULT_ON_KUBERNETES])
def test_invalid_release_is_rejected(variables: dict[str, str], message: str, workspace: Path, tmp_path: Path) -> None:
    """An unknown environment and an image without a digest are errors, and nothing is applied."""
    fake = FakeKubectl(workspace, tmp_path / "fake")
    result = fake.release("deploy", **variables)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert not (fake.folder / "commands").exists()
    assert not [*workspace.glob("deploy/kubernetes/overlays/.release*")]


@parametrize_combinations([DEFAULT_ON_KUBERNETES])
def test_secrets_are_stored_from_ignored_file(workspace: Path, tmp_path: Path) -> None:
    """The Secret is created from a file that git ignores; without it the message names the example."""
    fake = FakeKubectl(workspace, tmp_path / "fake")
    assert "copy deploy/kubernetes/secret.env.example" in fake.release("secrets").stderr
    overlay = workspace / "deploy" / "kubernetes" / "overlays" / "staging"
    shutil.copy(overlay.parent.parent / "secret.env.example", overlay / "secret.env")
    assert fake.release("secrets").returncode == 0
    (created,) = (command for command in fake.commands() if command.startswith("create"))
    assert created.startswith("create secret generic secrets --from-env-file overlays/staging/secret.env ")
    subprocess.run(["git", "init", "--quiet"], cwd=workspace, check=True)
    files = [str(overlay / "secret.env"), str(overlay.parent / ".release.abc")]
    ignored = subprocess.run(
        ["git", "check-ignore", *files], cwd=workspace, check=False, capture_output=True, text=True
    )
    assert ignored.stdout.splitlines() == files


@parametrize_combinations(KUBERNETES)
def test_scripts_pass_shellcheck(project: Path, venv_bin: Path, run: Run) -> None:
    """Shellcheck finds nothing in the scripts."""
    result = run(venv_bin / "shellcheck", *project.glob("deploy/kubernetes/*.sh"), cwd=project)
    assert result.returncode == 0, result.stdout


class Pods:
    """Pods of podman from the manifests of an environment.

    They share the network of this machine, on which the servers are, so each gets ports of its own. Everything else,
    such as users, limits, folders and variables, is that of the manifests.
    """

    def __init__(self, engine: Engine, manifests: list[Manifest], folder: Path, secrets: dict[str, str]) -> None:
        """Store the Secret. podman 4.3 reads one as JSON, as it does not write it for a manifest."""
        self.engine, self.folder = engine, folder
        self.workloads, self.config_maps = workloads(manifests), kind(manifests, "ConfigMap")
        encoded = {name: b64encode(value.encode()).decode() for name, value in secrets.items()}
        (folder / "secrets.json").write_text(json.dumps(encoded))
        engine.podman("secret", "create", "secrets", folder / "secrets.json")

    def start(self, component: str, name: str, **variables: str) -> str:
        """Start a pod of a component, and return the name of its container."""
        spec = deepcopy(pod(self.workloads[component]))
        spec["containers"] = [deepcopy(main(self.workloads[component]))]
        (container,) = spec["containers"]
        container["image"], container["imagePullPolicy"] = f"docker.io/library/{container['image']}", "Never"
        container.pop("ports", None)
        # podman would run it with curl, which the images do not have, and restart the container.
        container.pop("livenessProbe", None)
        # podman 4.3 gives an emptyDir the owner of the image's folder. In Kubernetes anyone may write to it.
        for volume in (volume for volume in spec["volumes"] if volume.pop("emptyDir", None)):
            path = self.folder / f"{name}-{volume['name']}"
            path.mkdir()
            path.chmod(0o777)
            volume["hostPath"] = {"path": str(path), "type": "Directory"}
        # podman 4.3 ignores subPath, so a file of a ConfigMap is one of this machine.
        for mount in (mount for mount in container["volumeMounts"] if "subPath" in mount):
            (volume,) = (volume for volume in spec["volumes"] if volume["name"] == mount["name"])
            file = self.folder / mount.pop("subPath")
            file.write_text(self.config_maps[volume.pop("configMap")["name"]]["data"][file.name])
            volume["hostPath"] = {"path": str(file), "type": "File"}
        config_maps = deepcopy([*self.config_maps.values()])
        for config_map in config_maps:
            config_map["data"] |= {key: value for key, value in variables.items() if key in config_map["data"]}
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump_all([*config_maps, manifest]))
        self.engine.podman("kube", "play", "--network=host", file)
        return f"{name}-main"

    def print_logs(self, error: object, *_: object) -> None:
        """Print the logs of all containers after an error."""
        for container in self.engine.podman("ps", "--all", "--format", "{{.Names}}").split() if error else []:
            result = self.engine.try_podman("logs", container)
            print(container, (result.stdout + result.stderr)[-5_000:])

    def probe(self, component: str, name: str, container: str, port: int) -> bool:
        """Return whether a probe of a component succeeds."""
        probe = main(self.workloads[component])[f"{name}Probe"]
        if "exec" in probe:
            return self.engine.try_podman("exec", container, *probe["exec"]["command"]).returncode == 0
        with suppress(OSError, HTTPException):
            # The kubelet requests the address of the pod.
            return fetch(f"http://127.0.0.1:{port}{probe['httpGet']['path']}", Host="10.1.2.3").status == 200
        return False


@parametrize_combinations([DEFAULT_ON_KUBERNETES], "containers")
def test_pods_run_and_stop_without_losing_requests(engine: Engine, workspace: Path, tmp_path: Path) -> None:
    """Containers with the manifests' settings migrate, pass the probes and serve; one that stops loses no request."""
    Project(engine, workspace).build(with_servers=False)
    for name, image in {"web": "my-service", "proxy": "my-service-proxy"}.items():
        engine.podman("tag", f"docker.io/library/{image}", f"docker.io/library/{name}")
    check_pods(engine, workspace / "deploy" / "kubernetes", tmp_path)


def check_pods(engine: Engine, folder: Path, tmp_path: Path) -> None:
    """Run all components, stop one of the web servers under load, and then the others."""
    manifests = kustomize(folder / "overlays" / "production")
    with ExitStack() as stack:
        database = stack.enter_context(PostgreSQL.running()).create_database()
        cache, broker = (stack.enter_context(server.running()) for server in (Redis, RedisBroker))
        secrets = {
            **read_variables(folder / "secret.env.example"),
            "SECRET_KEY": "8f2c1b7e9d3a4f6085c1e2d7b9a0f3c4",
            "DATABASE_URL": database.url,
            "CACHE_URL": cache.url,
            "BROKER_URL": broker.url,
            "SMTP_URL": "log:",
        }
        pods = Pods(engine, manifests, tmp_path, secrets)
        stack.push(pods.print_logs)
        stack.callback(engine.try_podman, "pod", "rm", "--all", "--force", "--time=0")
        migrate = pods.start("migrate", "migrate")
        assert engine.podman("wait", migrate) == "0", engine.podman("logs", migrate)
        ports = {name: free_port() for name in ("web-1", "web-2", "proxy", "worker", "scheduler")}
        for name in ("web-1", "web-2", "worker", "scheduler"):
            address = f"127.0.0.1:{ports[name]}"
            pods.start(name.partition("-")[0], name, BIND=address, METRICS_BIND=address, ALLOWED_HOSTS="localhost")
        for name in ("web-1", "web-2", "worker", "scheduler"):
            component, container = name.partition("-")[0], f"{name}-main"
            for probe in ("startup", "liveness", "readiness"):
                if f"{probe}Probe" in main(pods.workloads[component]):
                    wait_until(partial(pods.probe, component, probe, container, ports[name]))
        pods.start(
            "proxy",
            "proxy",
            UPSTREAM=f"127.0.0.1:{ports['web-2']}",
            HTTP_PORT=f"127.0.0.1:{ports['proxy']}",
            STATUS_PORT=f"127.0.0.1:{free_port()}",
            SERVER_NAMES="localhost",
        )
        wait_until(partial(pods.probe, "proxy", "startup", "proxy-main", ports["proxy"]))
        assert fetch(f"http://localhost:{ports['proxy']}/docs").status == 200
        assert "set_real_ip_from" in engine.podman("exec", "proxy-main", "cat", "/etc/nginx/trusted-proxies.conf")
        for name in ("web-1", "worker", "proxy"):
            assert engine.podman("exec", f"{name}-main", "id", "--user") == "10001"
            assert engine.try_podman("exec", f"{name}-main", "touch", "/etc/test").returncode
        check_stop_under_load(pods, ports)
        for name in ("worker", "scheduler", "proxy"):
            stopped(pods, name, name)


def stopped(pods: Pods, component: str, name: str) -> None:
    """Stop a container as the kubelet does after preStop; it must end by itself."""
    spec = pod(pods.workloads[component])
    sleep = main(pods.workloads[component]).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    grace = spec["terminationGracePeriodSeconds"] - sleep
    began = time.monotonic()
    pods.engine.podman("stop", f"--time={grace}", f"{name}-main")
    assert time.monotonic() - began < min(grace, TIMEOUT)
    code = pods.engine.podman("inspect", "--format", "{{.State.ExitCode}}", f"{name}-main")
    assert code in ("0", "143"), (name, code, pods.engine.try_podman("logs", f"{name}-main"))


def check_stop_under_load(pods: Pods, ports: dict[str, int]) -> None:
    """Check that no request fails while one of two pods stops, although clients still use it for two seconds."""
    endpoints = ["web-1", "web-2"]
    statuses: Counter[tuple[str, int]] = Counter()
    done = Event()

    def request_pages() -> None:
        while not done.is_set():
            for name in [*endpoints]:
                try:
                    status = fetch(f"http://127.0.0.1:{ports[name]}/docs", Host="localhost").status
                except (OSError, HTTPException):
                    status = 0
                statuses[name, status] += 1

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(request_pages) for _ in range(4)]
        try:
            wait_until(lambda: statuses["web-1", 200] > 20)
            # What Kubernetes does concurrently: the node runs preStop, and the proxies learn that the pod ends.
            sleep = main(pods.workloads["web"])["lifecycle"]["preStop"]["sleep"]["seconds"]
            removal = Timer(2, lambda: endpoints.remove("web-1"))
            removal.start()
            time.sleep(sleep)
            stopped(pods, "web", "web-1")
            removal.join()
            wait_until(lambda: statuses["web-2", 200] > 100)
        finally:
            done.set()
        for client in clients:
            client.result()
    assert {status for _, status in statuses} == {200}, statuses
