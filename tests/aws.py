"""Templates of CloudFormation, and the scripts that deploy them with fakes of the programs that they call."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import Run


class CloudFormation(yaml.SafeLoader):
    """YAML loader for the short forms of functions."""


def _construct(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix: value}


CloudFormation.add_multi_constructor("!", _construct)


def load(path: Path) -> dict[str, Any]:
    """Read a template of CloudFormation."""
    template: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), CloudFormation)  # noqa: S506 - a SafeLoader
    return template


def missing_actions(project: Path) -> list[str]:
    """Return the commands of the AWS CLI in the runbook whose actions are not in the permissions of operators."""
    runbook, deployment = (
        (project / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("runbook", "deployment")
    )
    permissions = deployment.partition("### Permissions of operators")[2].partition("\n### ")[0].lower()
    commands = re.findall(r"aws ([a-z]+) ([a-z-]+)", runbook)
    assert len(commands) > 4
    actions = (f"{service}:{command.replace('-', '')}" for service, command in commands)
    return [one for one in actions if one.replace("logs:tail", "logs:filterlogevents") not in permissions]


# Fakes of the programs that the script calls. `aws` remembers the parameters of the stack, in the file `stack`.
FAKE_AWS = r"""#!/bin/bash
echo "aws $*" >> "$CALLS"
case "$*" in
    *"configure get region"*) exit 1 ;;
    *get-caller-identity*) echo 123456789012 ;;
    *"ecr describe-images"*) test -e "$FOLDER/pushed" && echo sha256:$(cat "$FOLDER/pushed") ;;
    *describe-stacks*ParameterKey*) if [ -n "${STACK_ERROR-}" ]; then echo "$STACK_ERROR" >&2; exit 254; fi ;;&
    *OutputKey*) echo output ;;
    *describe-stacks*) call=$*; name=${call#*ParameterKey==\'}; sed -n "s/^${name%%\'*}=//p" "$FOLDER/stack" ;;
    *"cloudformation deploy"*) printf '%s\n' "$@" | grep = > "$FOLDER/stack" ;;
    *"ecs run-task"*) echo arn:aws:ecs:region:1:task/cluster/id ;;
    *"ecs describe-tasks"*) echo "${TASK_STATUS:-0}" ;;
    *"lambda invoke"*) echo '{"output": "done"}' > "${*: -1}"; echo "${INVOKE_ERROR:-None}" ;;
esac
"""
FAKE_DOCKER = r"""#!/bin/bash
echo "docker $*" >> "$CALLS"
case "$*" in
    push*) image=${*: -1}; echo "${image##*:}" > "$FOLDER/pushed" ;;
    image*) exit 1 ;;
esac
"""
FAKE_CURL = r"""#!/bin/bash
echo "curl ${*: -1}" >> "$CALLS"
exit "${CURL_STATUS:-0}"
"""


# Quotes, a backslash and a variable: neither make nor its shell may read them.
COMMAND = 'flask users grant "a b" c\\d "$PATH" $(id)'


class Account:
    """The script with fakes of `aws`, `docker` and `curl`."""

    def __init__(self, project: Path, script: str, folder: Path, run: Run) -> None:
        """Write the fakes to a folder."""
        self.project, self.script, self.folder, self.run = project, script, folder, run
        for file in project.glob("deploy/*/*.env"):
            file.write_text(file.read_text(encoding="utf-8").replace("change-me", "1"), encoding="utf-8")
        (folder / "bin").mkdir()
        (folder / "stack").touch()
        for name, text in {"aws": FAKE_AWS, "docker": FAKE_DOCKER, "curl": FAKE_CURL}.items():
            (folder / "bin" / name).write_text(text, encoding="utf-8")
            (folder / "bin" / name).chmod(0o755)

    def call(self, *words: str, **variables: str) -> tuple[int, list[str]]:
        """Run the script; return its exit status and the calls of the fakes."""
        return self.watch("sh", self.script, *words, **variables)

    def run_command(self, command: str) -> str:
        """Run a command in the stage by `make run-command`, and return the call that starts it."""
        status, calls = self.watch("make", "--silent", "run-command", "STAGE=staging", f"COMMAND={command}")
        (call,) = (call for call in calls if re.match("aws (ecs run-task|lambda invoke)", call))
        assert status == 0
        return call

    def watch(self, *words: str, **variables: str) -> tuple[int, list[str]]:
        """Run a program with the fakes; return its exit status and the calls of the fakes."""
        calls = self.folder / "calls"
        calls.write_text("")
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        names = {"CALLS": str(calls), "FOLDER": str(self.folder), "PATH": path, "AWS_REGION": "eu-central-1"}
        result = self.run(*words, cwd=self.project, **{**names, **variables})
        return result.returncode, calls.read_text(encoding="utf-8").splitlines()

    def images(self) -> dict[str, str]:
        """Return the tags of the stack's images, which the fake uses as digests."""
        lines = (self.folder / "stack").read_text(encoding="utf-8").splitlines()
        return {
            name: value.rpartition(":")[2]
            for name, _, value in (line.partition("=") for line in lines)
            if name.endswith("Image")
        }


def check_parameters(folder: Path, template: dict[str, Any]) -> None:
    """Assert that each file of parameters, with the script, has those without a default and no unknown one."""
    script = (folder / "deploy.sh").read_text(encoding="utf-8")
    parameters = template["Parameters"]
    for stage in ("staging", "production"):
        lines = (folder / f"{stage}.env").read_text(encoding="utf-8").splitlines()
        given = {line.partition("=")[0] for line in lines if not line.startswith("#")}
        given |= {*re.findall(r'"([A-Z]\w+)=', script)}
        assert given <= parameters.keys()
        assert {name for name, parameter in parameters.items() if "Default" not in parameter} <= given
