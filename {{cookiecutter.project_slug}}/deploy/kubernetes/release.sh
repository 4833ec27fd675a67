#!/bin/sh
# Releases on Kubernetes, for `make deploy` and its neighbors: release.sh deploy|rollback|secrets|smoke-test|setup
# ENVIRONMENT is the name of an overlay; deploy reads the images with their digests from IMAGE and PROXY_IMAGE.
set -eu
cd "$(dirname "$0")"

fail() {
    echo "Error: $*" >&2
    exit 1
}

ENVIRONMENT=${ENVIRONMENT:-}
case $ENVIRONMENT in */* | .*) ENVIRONMENT_FILE="" ;; *) ENVIRONMENT_FILE=overlays/$ENVIRONMENT/kustomization.yaml ;; esac
[ -f "$ENVIRONMENT_FILE" ] ||
    fail "ENVIRONMENT is the name of a folder in deploy/kubernetes/overlays, such as staging; got '$ENVIRONMENT'"
NAMESPACE={{ cookiecutter.project_slug }}-$ENVIRONMENT
DEPLOYMENTS="{{ cookiecutter.__kubernetes_deployments }}"

in_namespace() {
    kubectl --namespace "$NAMESPACE" "$@"
}

# Print the entry of an image in a kustomization.
image() {
    echo "$2" | grep -Eqx '[A-Za-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}' ||
        fail "IMAGE and PROXY_IMAGE need a digest: NAME@sha256:…; got '$2'"
    echo "  - {name: $1, newName: ${2%@*}, digest: ${2#*@}}"
}

# A temporary overlay: nothing that git tracks changes.
render() {
    RELEASE=$(date -u +%Y%m%d-%H%M%S)
    FOLDER=$(mktemp -d overlays/.release.XXXXXX)
    trap 'rm -rf "$FOLDER"' EXIT
    {
        echo "resources: [../$ENVIRONMENT]"
        # Each release changes all pods, so a rollback goes back by one release.
        echo "labels: [{pairs: {release: \"$RELEASE\"}, includeTemplates: true}]"
        # {% if cookiecutter.__database %}
        echo "patches: [{target: {kind: Job}, patch: '- {op: replace, path: /metadata/name, value: migrate-$RELEASE}'}]"
        # {% endif %}
        echo "images:"
        image web "${IMAGE:-}"
        # {% if cookiecutter.__proxied %}
        image proxy "${PROXY_IMAGE:-}"
        # {% endif %}
    } >"$FOLDER/kustomization.yaml"
    kubectl kustomize "$FOLDER" >"$FOLDER/release.yaml"
    # {% if cookiecutter.monitoring == "prometheus" %}
    # The alerts. A file of Prometheus is the `spec` of a PrometheusRule.
    for file in ../monitoring/rules/*.yml; do
        name=$(basename "$file" .yml)
        printf -- '---\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: %s, namespace: %s}\nspec:\n' \
            "$name" "$NAMESPACE"
        sed 's/^/  /' "$file"
    done >>"$FOLDER/release.yaml"
    # {% endif %}
}

# {% if cookiecutter.__database %}
# Settings and migrations first, while the old pods serve.
migrate() {
    in_namespace apply --filename "$FOLDER/release.yaml" \
        --selector "app.kubernetes.io/component notin ($(echo "$DEPLOYMENTS" | tr ' ' ,))" || return 1
    # Longer than the time limit of the Job. Without a limit an unreachable cluster would be an endless loop.
    give_up=$(($(date +%s) + 1500))
    until in_namespace wait --for=condition=complete --timeout=5s "job/migrate-$RELEASE" 2>/dev/null; do
        if in_namespace wait --for=condition=failed --timeout=0 "job/migrate-$RELEASE" 2>/dev/null; then
            in_namespace logs --selector "release=$RELEASE,app.kubernetes.io/component=migrate" --tail 100 || true
            return 1
        fi
        [ "$(date +%s)" -lt "$give_up" ] || return 1
        sleep 1
    done
}

# {% endif %}
# Succeed when all pods of all Deployments are new and ready.
wait_until_ready() {
    for name in $DEPLOYMENTS; do
        in_namespace rollout status "deployment/$name" --timeout 15m || return 1
    done
}

# Print the Deployment, the release and the revision of each old or current ReplicaSet, the newest first.
revisions() {
    line='{.metadata.ownerReferences[0].name} {.metadata.labels.release} {.metadata.annotations.deployment\.kubernetes\.io/revision}{"\n"}'
    in_namespace get replicasets --selector release --output "jsonpath={range .items[*]}$line{end}" | sort -k 3 -n -r
}

# Return all Deployments to the release before $1. `kubectl rollout undo` alone returns to the last revision, which may be one of the
# same release that `kubectl rollout restart` has added, or of a later release that was abandoned. Names of releases are timestamps.
roll_back() {
    REVISIONS=$(revisions)
    PLAN=$(for name in $DEPLOYMENTS; do
        echo "$REVISIONS" |
            awk -v name="$name" -v release="$1" '$1 == name && $2 < release { found = $2 " " $3; exit } END { print name, found }'
    done)
    TARGET=$(echo "$PLAN" | cut -d " " -f 2 | sort -u)
    [ -n "$TARGET" ] || fail "there is no release before $1"
    [ "$(echo "$TARGET" | wc -l)" = 1 ] || fail "the Deployments have different releases before $1: deploy the images of one"
    echo "$PLAN" | while read -r name _ revision; do
        in_namespace rollout undo "deployment/$name" --to-revision "$revision" </dev/null || exit 1
    done || return 1
    wait_until_ready
}

case ${1:-} in
    deploy)
        render
        # {% if cookiecutter.__database %}
        migrate || fail "the migrations failed. The pods are those of the last release."
        # {% endif %}
        if ! { in_namespace apply --filename "$FOLDER/release.yaml" && wait_until_ready; }; then
            in_namespace get events --field-selector type=Warning --sort-by lastTimestamp | tail -n 20
            (roll_back "$RELEASE") ||
                fail "the release failed, and the rollback, too: see kubectl --namespace $NAMESPACE get pods"
            fail "the release failed. The pods are those of the last release again."
        fi
        ;;
    rollback)
        # The labels of the pods: an undo does not change those of a Deployment.
        roll_back "$(in_namespace get deployments --selector release \
            --output 'jsonpath={range .items[*]}{.spec.template.metadata.labels.release}{"\n"}{end}' | sort | tail -n 1)"
        ;;
    secrets)
        file=overlays/$ENVIRONMENT/secret.env
        [ -f "$file" ] || fail "copy deploy/kubernetes/secret.env.example to deploy/kubernetes/$file and fill it in"
        in_namespace create secret generic secrets --from-env-file "$file" --dry-run=client --output yaml |
            in_namespace apply --server-side --force-conflicts --filename -
        ;;
    smoke-test)
        host=$(sed -n 's/^ALLOWED_HOSTS=\([^,]*\).*/\1/p' "overlays/$ENVIRONMENT/settings.env")
        for path in {{ cookiecutter.__smoke_paths }}; do
            echo "https://$host$path"
            curl --fail --silent --show-error --output /dev/null --retry 5 --retry-all-errors --max-time 10 "https://$host$path"
        done
        ;;
    setup) kubectl apply --kustomize "setup/$ENVIRONMENT" ;;
    *) fail "expected deploy, rollback, secrets, smoke-test or setup; got '${1:-}'" ;;
esac
