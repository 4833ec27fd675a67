#!/bin/sh
# Credentials for kubectl in a workflow: the token that GitHub gives to the job, which the API server accepts (docs/kubernetes.md).
set -eu
curl --fail --silent --show-error --header "Authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \
    "$ACTIONS_ID_TOKEN_REQUEST_URL&audience={{ cookiecutter.project_slug }}" |
    jq '{apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential", status: {token: .value}}'
