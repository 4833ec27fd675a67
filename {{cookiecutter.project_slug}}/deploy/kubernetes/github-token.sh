#!/bin/sh
# Credentials for kubectl in a workflow: the token that GitHub gives to the job, which the API server accepts (docs/kubernetes.md).
set -eu
# From a pipe, since the list of processes shows the words of a command.
printf 'Authorization: Bearer %s' "$ACTIONS_ID_TOKEN_REQUEST_TOKEN" | curl --fail --silent --show-error --header @- \
    "$ACTIONS_ID_TOKEN_REQUEST_URL&audience={{ cookiecutter.project_slug }}" |
    jq '{apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential", status: {token: .value}}'
