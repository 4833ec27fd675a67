"""Amazon ECS: linters and moto accept the templates, whose parts fit each other; the script deploys them."""

import json
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.aws import COMMAND, Account, check_parameters, load, missing_actions
from tests.conftest import Run
from tests.matrix import COMBINATIONS, Combination, answers_with, parametrize_combinations
from tests.settings import required_settings, setting_names

VALUE = "aws-ecs"
WITH_VALUE = [combination for combination in COMBINATIONS if combination.options["deployment"] == VALUE]
# The default answers: nginx, Celery with Redis.
LARGEST = Combination("aws-ecs-largest", answers_with(deployment=VALUE, cdn="cloudfront", error_tracking="sentry"))
DEFAULT_SERVERS = Combination("aws-ecs-default", answers_with(deployment=VALUE))
RABBITMQ = Combination(
    "aws-ecs-rabbitmq",
    answers_with(
        deployment=VALUE,
        task_queue="celery-rabbitmq",
        cache="memcached",
        database="mysql",
        auth="oidc",
        reverse_proxy="none",
        ci="gitlab",
    ),
)
APACHE = Combination(
    "aws-ecs-apache",
    answers_with(deployment=VALUE, task_queue="celery-rabbitmq", auth="jwt", reverse_proxy="apache", web_pages=False),
)
SMALLEST = Combination(
    "aws-ecs-smallest",
    answers_with(deployment=VALUE, task_queue="none", database="none", cache="none", auth="none", reverse_proxy="none"),
)
CHECKED = [LARGEST, RABBITMQ, APACHE, SMALLEST, *WITH_VALUE]

# moto 5.2.5 has no Fn::Cidr, and passes an object instead of the name of a parameter group.
MOTO = """
import json, re, sys
from pathlib import Path
import boto3
from moto import mock_aws

folder = Path(sys.argv[1])
network = (folder / "network.yaml").read_text()
network = re.sub(r"!Cidr \\[.*?\\]", "[10.0.0.0/20, 10.0.16.0/20, 10.0.32.0/20, 10.0.48.0/20]", network)
template = (folder / "template.yaml").read_text()
template = template.replace("      DBParameterGroupName: !Ref DatabaseParameters\\n", "")
with mock_aws():
    stacks, ecs = boto3.client("cloudformation"), boto3.client("ecs")
    stacks.create_stack(StackName="network", TemplateBody=network)
    outputs = stacks.describe_stacks(StackName="network")["Stacks"][0]["Outputs"]
    values = {one["OutputKey"]: one["OutputValue"] for one in outputs}
    certificate = boto3.client("acm").request_certificate(DomainName="example.com")["CertificateArn"]
    lines = [line.partition("=") for line in (folder / "staging.env").read_text().splitlines()]
    values = {name: value for name, _, value in lines if name[0] != "#"} | values
    image = "1.dkr.ecr.eu-central-1.amazonaws.com/name@sha256:" + "0" * 64
    names = ("Image", "CommandImage", "PreviousImage", "ProxyImage", "PreviousProxyImage")
    values |= dict.fromkeys(names, image) | {"Stage": "staging", "CertificateArn": certificate}
    known = {one["ParameterKey"] for one in stacks.get_template_summary(TemplateBody=template)["Parameters"]}
    parameters = [{"ParameterKey": name, "ParameterValue": values[name]} for name in known & values.keys()]
    stacks.create_stack(StackName="stack", TemplateBody=template, Parameters=parameters)
    (cluster,) = ecs.list_clusters()["clusterArns"]
    services = ecs.describe_services(cluster=cluster, services=ecs.list_services(cluster=cluster)["serviceArns"])
    containers = {}
    for service in services["services"]:
        task = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
        containers[service["serviceName"].split("-")[1]] = [one["name"] for one in task["containerDefinitions"]]
    resources = stacks.list_stack_resources(StackName="stack")["StackResourceSummaries"]
    (balancer,) = boto3.client("elbv2").describe_load_balancers()["LoadBalancers"]
    listeners = boto3.client("elbv2").describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    print(json.dumps({
        "status": stacks.describe_stacks(StackName="stack")["Stacks"][0]["StackStatus"],
        "created": sorted({one["ResourceType"] for one in resources if one.get("ResourceType")}),
        "containers": containers,
        "outputs": [one["OutputKey"] for one in stacks.describe_stacks(StackName="stack")["Stacks"][0]["Outputs"]],
        "listeners": {str(one["Port"]): one["DefaultActions"][0]["Type"] for one in listeners},
        "databases": [one["MultiAZ"] for one in boto3.client("rds").describe_db_instances()["DBInstances"]],
    }))
"""
# What moto creates; it skips other types of resources without an error.
CREATED = {
    "AWS::EC2::SecurityGroup",
    "AWS::ECS::Cluster",
    "AWS::ECS::Service",
    "AWS::ECS::TaskDefinition",
    "AWS::ElasticLoadBalancingV2::Listener",
    "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "AWS::ElasticLoadBalancingV2::TargetGroup",
    "AWS::IAM::Role",
    "AWS::Logs::LogGroup",
}


def template_of(project: Path) -> dict[str, Any]:
    """Return the template of a project."""
    return load(project / "deploy" / "ecs" / "template.yaml")


def test_templates_pass_cfn_lint(
    render: Callable[[Combination], Path], venv_bin: Path, run: Run, tmp_path: Path
) -> None:
    """cfn-lint reports nothing in any combination. One process checks all, since most of its time is its start."""
    names = ("deploy/ecs/template.yaml", "deploy/ecs/network.yaml", "deploy/aws/bootstrap.yaml")
    files = [render(combination) / name for combination in CHECKED for name in names]
    result = run(venv_bin / "cfn-lint", "-r", "us-east-1", "eu-central-1", "--", *files, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


# moto has neither the outputs of a nested stack nor the endpoint of Memcached.
@parametrize_combinations([DEFAULT_SERVERS, APACHE, SMALLEST])
def test_moto_creates_the_stack(combination: Combination, project: Path, venv_bin: Path, run: Run) -> None:
    """The network and the stack can be created in a fake of AWS, and the services have their containers."""
    variables = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "a"}
    result = run(venv_bin / "python", "-c", MOTO, project / "deploy" / "ecs", cwd=project, **variables)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["status"] == "CREATE_COMPLETE"
    assert {*found["created"]} >= CREATED
    web = ["web"] if combination.options["reverse_proxy"] == "none" else ["web", "proxy"]
    workers = {"WorkerService": ["worker"], "SchedulerService": ["scheduler"]}
    expected = {"WebService": web}
    if combination.options["task_queue"] != "none":
        expected |= workers
    assert found["containers"] == expected
    assert {*found["outputs"]} >= expected.keys()
    assert found["listeners"] == {"80": "redirect", "443": "forward"}
    assert found["databases"] == [True] * (combination.options["database"] != "none")


def by_type(template: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Return the properties of all resources of a type."""
    return {
        key: resource.get("Properties", {})
        for key, resource in template["Resources"].items()
        if resource["Type"] == f"AWS::{name}"
    }


def find_errors(project: Path, template: dict[str, Any]) -> Iterator[str]:
    """Yield mistakes that cfn-lint does not report."""
    tasks = by_type(template, "ECS::TaskDefinition")
    for name, service in by_type(template, "ECS::Service").items():
        task = tasks.get(service["TaskDefinition"]["Ref"])
        if task is None:
            yield f"{name}: no task definition"
            continue
        containers = {container["Name"]: container for container in task["ContainerDefinitions"]}
        for target in service.get("LoadBalancers", ()):
            ports = containers.get(target["ContainerName"], {}).get("PortMappings", ())
            if target["ContainerPort"] not in [port["ContainerPort"] for port in ports]:
                yield f"{name}: no container {target['ContainerName']} with port {target['ContainerPort']}"
        yield from (f"{name}: {error}" for error in find_deployment_errors(name, service))
    for name, task in tasks.items():
        yield from (f"{name}: {error}" for error in find_task_errors(project, template, task))


def find_deployment_errors(name: str, service: dict[str, Any]) -> Iterator[str]:
    """Yield mistakes of the deployments of a service."""
    limits = service["DeploymentConfiguration"]
    if limits["MinimumHealthyPercent"] == limits["MaximumPercent"] == 100:
        yield "a deployment can neither stop nor start a task"
    if limits["DeploymentCircuitBreaker"] != {"Enable": True, "Rollback": True}:
        yield "no circuit breaker"
    if name == "SchedulerService" and (limits["MaximumPercent"], service["DesiredCount"]) != (100, 1):
        yield "two instances"


def find_task_errors(project: Path, template: dict[str, Any], task: dict[str, Any]) -> Iterator[str]:
    """Yield mistakes of a task definition."""
    for role in ("ExecutionRoleArn", "TaskRoleArn"):
        if task.get(role, {}).get("GetAtt", "").partition(".")[0] not in by_type(template, "IAM::Role"):
            yield f"no {role}"
    names = {container["Name"] for container in task["ContainerDefinitions"]}
    volumes = {volume["Name"] for volume in task["Volumes"]}
    used = {point["SourceVolume"] for container in task["ContainerDefinitions"] for point in container["MountPoints"]}
    if volumes != used:
        yield f"volumes {volumes} and mount points {used} differ"
    if sum(container.get("Memory", 0) for container in task["ContainerDefinitions"]) > int(task["Memory"]):
        yield "the containers need more memory than the task has"
    for container in task["ContainerDefinitions"]:
        # Fargate's maximum.
        if not 0 < container["StopTimeout"] <= 120:
            yield f"StopTimeout {container['StopTimeout']}"
        if "awslogs-stream-prefix" not in container["LogConfiguration"]["Options"]:
            yield "Fargate requires a prefix of log streams"
        yield from (
            f"no container {other['ContainerName']}"
            for other in container.get("DependsOn", ())
            if other["ContainerName"] not in names
        )
        variables = [one["Name"] for one in (*container["Environment"], *container.get("Secrets", ()))]
        yield from (f"{name} is set twice" for name in {*variables} if variables.count(name) > 1)
        values = {one["Name"]: one["Value"] for one in container["Environment"]}
        if container["Name"] == "proxy":
            (file,) = (*project.glob("deploy/nginx/*.env"), *project.glob("deploy/apache/*.env"))
            expected = {*re.findall(r"(?m)^([A-Z_]+)=", file.read_text(encoding="utf-8"))}
            yield from (f"the proxy needs {name}" for name in expected - {*variables})
            continue
        known = setting_names(project) | {"FLASK_DEBUG"}
        yield from (f"{name} is no setting" for name in {*variables} - known)
        yield from (f"{name} is missing" for name in required_settings(project) - {*variables})
        if container["Name"] == "worker" and float(values["JOB_TIME_LIMIT"]) + 10 > container["StopTimeout"]:
            yield "a running job cannot finish before its container is killed"


@parametrize_combinations(CHECKED)
def test_parts_of_the_stack_fit(project: Path) -> None:
    """Containers, ports, roles, volumes, timeouts, memory and settings fit each other, Fargate and the project."""
    assert [*find_errors(project, template_of(project))] == []


@pytest.mark.parametrize(
    ("mistake", "text"),
    [
        ("StopTimeout: 120", "StopTimeout: 330"),
        ('JOB_TIME_LIMIT, Value: "90"', 'JOB_TIME_LIMIT, Value: "300"'),
        ("ContainerName: proxy", "ContainerName: nginx"),
        ("ContainerPort: 8080\n          TargetGroupArn", "ContainerPort: 8000\n          TargetGroupArn"),
        ("MinimumHealthyPercent: 0", "MinimumHealthyPercent: 100"),
        ("GetAtt ExecutionRole.Arn", "GetAtt ExecutionRoles.Arn"),
        ("Name: ALLOWED_HOSTS", "Name: ALLOWED_HOST"),
        ("Name: SECRET_KEY,", "Name: CACHE_PREFIX,"),
        ("awslogs-stream-prefix: ecs", "awslogs-create-group: true"),
        ("Name: RATE_LIMIT_BURST", "Name: RATE_LIMIT"),
        ("        - Name: proxy-run\n", ""),
        ("TaskDefinition: !Ref WebTask", "TaskDefinition: !Ref WebTasks"),
        ("{ContainerName: web, Condition", "{ContainerName: app, Condition"),
        ("DesiredCount: 1", "DesiredCount: 2"),
    ],
)
@parametrize_combinations([LARGEST])
def test_mistakes_are_found(mistake: str, text: str, workspace: Path) -> None:
    """Each check detects its mistake."""
    path = workspace / "deploy" / "ecs" / "template.yaml"
    source = path.read_text(encoding="utf-8")
    assert mistake in source
    path.write_text(source.replace(mistake, text), encoding="utf-8")
    assert [*find_errors(workspace, template_of(workspace))]


@parametrize_combinations(CHECKED)
def test_limits_match_compose(project: Path) -> None:
    """Memory and stop timeouts are those of compose.yaml, except where Fargate has a lower limit."""
    services = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for task in by_type(template_of(project), "ECS::TaskDefinition").values():
        for container in task["ContainerDefinitions"]:
            if container["Name"] not in ("web", "worker", "scheduler"):
                continue
            service = services[container["Name"]]
            memory = int(service["deploy"]["resources"]["limits"]["memory"].removesuffix("M"))
            assert memory <= container.get("Memory", int(task["Memory"])), container["Name"]
            assert container["StopTimeout"] == min(int(service["stop_grace_period"].removesuffix("s")), 120)
            assert container.get("Command", service.get("command")) == service.get("command")


@parametrize_combinations(CHECKED)
def test_no_secret_is_a_parameter(project: Path) -> None:
    """Passwords are generated or read from a secret, servers are encrypted, private and backed up."""
    template = template_of(project)
    assert not [name for name in template["Parameters"] if re.search("password|token|key", name, re.IGNORECASE)]
    for name, secret in by_type(template, "SecretsManager::Secret").items():
        assert ("GenerateSecretString" in secret) == (name != "Urls"), name
    for database in by_type(template, "RDS::DBInstance").values():
        assert database["MultiAZ"]
        assert database["StorageEncrypted"]
        assert not database["PubliclyAccessible"]
        assert database["BackupRetentionPeriod"] >= 7
        assert "resolve:secretsmanager" in database["MasterUserPassword"]["Sub"]
    for group in by_type(template, "ElastiCache::ReplicationGroup").values():
        assert group["TransitEncryptionEnabled"]
        assert group["AtRestEncryptionEnabled"]
    for group in by_type(template, "Logs::LogGroup").values():
        assert group["RetentionInDays"]


def actions_of(project: Path, role: str) -> list[tuple[str, str]]:
    """Return the actions that a role of bootstrap.yaml allows, each with a pattern of resources, for staging."""
    values = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "1", "Stage": "staging"}
    properties = by_type(load(project / "deploy" / "aws" / "bootstrap.yaml"), "IAM::Role")[role]
    found = []
    for statement in properties["Policies"][0]["PolicyDocument"]["Statement"]:
        actions, resources = (
            value if isinstance(value, list) else [value] for value in (statement["Action"], statement["Resource"])
        )
        patterns = [one.get("Sub", "") if isinstance(one, dict) else one for one in resources]
        patterns = [re.sub(r"\$\{([\w:]+)\}", lambda match: values.get(match[1], match[1]), one) for one in patterns]
        found += [(action, pattern) for action in actions for pattern in patterns]
    return found


@parametrize_combinations(CHECKED)
def test_new_password_reaches_the_services(project: Path) -> None:
    """A new version replaces the password of the database and the URLs that have it, so that the services restart."""
    template = template_of(project)
    secrets = by_type(template, "SecretsManager::Secret")
    versioned = {name for name, secret in secrets.items() if "DatabaseSecretVersion" in secret["Name"]["Sub"]}
    assert versioned == ({"DatabasePassword", "Urls"} if by_type(template, "RDS::DBInstance") else set())


def is_allowed(project: Path, role: str, action: str, resource: str) -> bool:
    """Return whether a role of bootstrap.yaml allows an action."""
    return any(
        fnmatchcase(action, allowed) and fnmatchcase(resource, pattern)
        for allowed, pattern in actions_of(project, role)
    )


@parametrize_combinations(CHECKED)
def test_roles_allow_the_names_of_the_stack(project: Path) -> None:
    """CloudFormation may create the secrets of its stage, and a deployment may run the task for commands."""
    template = template_of(project)
    command = by_type(template, "ECS::TaskDefinition")["CommandTask"]["Family"]["Sub"]
    (cluster,) = by_type(template, "ECS::Cluster").values()
    assert cluster["ClusterName"] == {"Ref": "AWS::StackName"}
    allowed = {
        ("CloudFormationRole", "secretsmanager:GetRandomPassword", "*"),
        ("DeployRole", "ecs:RunTask", f"task-definition/{command}:1"),
        ("DeployRole", "ecs:DescribeTasks", "task/${AWS::StackName}/0123"),
    }
    for secret in by_type(template, "SecretsManager::Secret").values():
        allowed.add(("CloudFormationRole", "secretsmanager:CreateSecret", f"secret:{secret['Name']['Sub']}-a1B2c3"))
    for role, action, name in allowed:
        for stage in ("staging", "production"):
            resource = name.replace("${AWS::StackName}", f"{project.name}-{stage}")
            if resource != "*":
                resource = f"arn:aws:{action.partition(':')[0]}:eu-central-1:1:{resource}"
            assert is_allowed(project, role, action, resource) == (stage == "staging" or name == "*"), resource


@parametrize_combinations(CHECKED)
def test_operators_have_the_actions_of_the_runbook(project: Path) -> None:
    """The permissions of operators in docs/deployment.md include each command of the runbook."""
    assert missing_actions(project) == []


@parametrize_combinations(CHECKED)
def test_each_parameter_has_a_value(project: Path) -> None:
    """The files of parameters and the script give a value to each parameter without a default, and to no other one."""
    check_parameters(project / "deploy" / "ecs", template_of(project))


@parametrize_combinations([SMALLEST])
def test_command_is_passed_as_it_is(workspace: Path, tmp_path: Path, run: Run) -> None:
    """`make run-command` passes quotes, backslashes and variables to the shell of the container."""
    account = Account(workspace, "deploy/ecs/deploy.sh", tmp_path, run)
    overrides = account.run_command(COMMAND).partition("--overrides ")[2].partition(" --query")[0]
    command = {"name": "command", "command": ["sh", "-c", COMMAND]}
    assert json.loads(overrides) == {"containerOverrides": [command]}


@parametrize_combinations([LARGEST, SMALLEST])
def test_script_migrates_before_it_releases(
    combination: Combination, workspace: Path, tmp_path: Path, run: Run, venv_bin: Path
) -> None:
    """A deployment migrates with the new image while services keep the current one; failures keep or restore it."""
    (workspace / "deploy" / "rds-ca.pem").touch()
    account = Account(workspace, "deploy/ecs/deploy.sh", tmp_path, run)
    assert account.call("command", "staging", "flask routes", AWS_REGION="", AWS_DEFAULT_REGION="eu-west-1")[0] == 0
    assert account.call("command", "staging", "flask routes", AWS_REGION="")[0] == 2
    # An error is no first deployment, in which requests get the new image before the migration.
    status, calls = account.call("deploy", "staging", "registry.example.com/web:v1", STACK_ERROR="Rate exceeded")
    assert status
    assert not [call for call in calls if "cloudformation deploy" in call]
    (tmp_path / "pushed").unlink()
    missing = "(ValidationError): Stack with id x does not exist"
    assert account.call("deploy", "staging", "registry.example.com/web:v1", STACK_ERROR=missing)[0] == 0
    assert account.images()["Image"] == "v1"
    (tmp_path / "pushed").unlink()
    assert account.call("deploy", "staging", "registry.example.com/web:v1")[0] == 0
    assert (account.images()["Image"], account.images()["PreviousImage"]) == ("v1", "")

    (tmp_path / "pushed").unlink()
    status, calls = account.call("deploy", "staging", "registry.example.com/web:v2")
    assert status == 0
    names = ("Image", "CommandImage", "PreviousImage", "ProxyImage", "PreviousProxyImage")
    proxied = combination.options["reverse_proxy"] != "none"
    expected = dict(zip(names[: 5 if proxied else 3], ("v2", "v2", "v1", "v2", "v1"), strict=False))
    assert account.images() == expected
    kinds = [call for call in calls if re.search("cloudformation deploy|ecs run-task|curl", call)]
    if combination.options["database"] != "none":
        assert re.search(r" Image=\S+:v1 CommandImage=\S+:v2 ", kinds[0])
        assert '"command": ["sh", "-c", "alembic upgrade head"]' in kinds[1]
        kinds = kinds[2:]
    assert " Image=" in kinds[0]
    assert kinds[1] == "curl https://staging.example.com/health/ready"

    (tmp_path / "pushed").unlink()
    if combination.options["database"] != "none":
        assert account.call("deploy", "staging", "registry.example.com/web:v3", TASK_STATUS="1")[0] == 1
        assert account.images() == {**expected, "CommandImage": "v3"}
    assert account.call("deploy", "staging", "registry.example.com/web:v3", CURL_STATUS="22")[0] == 1
    returned = {name: "" if name.startswith("Previous") else "v2" for name in expected}
    assert account.images() == returned
    # The failed release is not the target of another rollback.
    status, calls = account.call("rollback", "staging")
    assert status == 1
    assert not [call for call in calls if "cloudformation deploy" in call]
    assert account.images() == returned

    (tmp_path / "pushed").unlink()
    for _ in range(2):
        # The same images again are no new release.
        assert account.call("deploy", "staging", "registry.example.com/web:v4")[0] == 0
        assert account.images() == {name: "v2" if name.startswith("Previous") else "v4" for name in expected}
    assert account.call("rollback", "staging")[0] == 0
    assert account.images() == returned
    (workspace / "deploy" / "ecs" / "staging.env").write_text("DomainName=change-me\n", encoding="utf-8")
    assert account.call("deploy", "staging", "registry.example.com/web:v5") == (2, [])
    result = run(venv_bin / "shellcheck", "deploy/ecs/deploy.sh", cwd=workspace)
    assert result.returncode == 0, result.stdout
