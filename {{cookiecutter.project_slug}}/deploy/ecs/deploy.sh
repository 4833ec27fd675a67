#!/bin/sh
# Deploy to Amazon ECS: `deploy.sh deploy STAGE IMAGE`, `deploy.sh rollback STAGE`, `deploy.sh command STAGE 'flask routes'`.
# The AWS CLI takes the credentials from the environment. deploy/aws/bootstrap.yaml creates the registry and the roles.
set -euf
# {% include "options/deployment/shared/stack.sh" %}
# Update the stack: the image of services, that of commands, and the one to which a rollback returns. It waits until the services are
# stable. If new tasks do not become healthy, ECS and CloudFormation return to the old ones.
apply() {
    bucket=$(output "$stack-bootstrap" ArtifactBucket)
    # {% if cookiecutter.cdn == "cloudfront" %}
    template="$(sha256sum deploy/cdn/cloudfront.yaml | cut -c 1-16).yaml"
    aws s3 cp --only-show-errors deploy/cdn/cloudfront.yaml "s3://$bucket/$template"
    # {% endif %}
    # Each line of the file is a word.
    # shellcheck disable=SC2046
    aws cloudformation deploy --stack-name "$stack" --template-file deploy/ecs/template.yaml --s3-bucket "$bucket" \
        --role-arn "$(output "$stack-bootstrap" CloudFormationRoleArn)" --no-fail-on-empty-changeset --capabilities CAPABILITY_IAM \
        --parameter-overrides $(grep -v '^#' "$parameters") "Stage=$stage" \
        # {% if cookiecutter.cdn == "cloudfront" %}
        "CdnTemplateUrl=https://$bucket.s3.$region.amazonaws.com/$template" \
        # {% endif %}
        # {% if cookiecutter.__proxied %}
        "ProxyImage=$4" "PreviousProxyImage=$5" \
        # {% endif %}
        "Image=$1" "CommandImage=$2" "PreviousImage=$3"
}

# Run a command as a task of its own and print its log. The shell of the container reads its quotes.
run() {
    task=$(aws ecs run-task --cluster "$(output "$stack" Cluster)" --launch-type FARGATE \
        --task-definition "$(output "$stack" CommandTask)" --network-configuration "$(output "$stack" Network)" \
        --overrides "{\"containerOverrides\": [{\"name\": \"command\", \"command\": [\"sh\", \"-c\", $(quote "$1")]}]}" \
        --query 'tasks[0].taskArn' --output text)
    # For up to 50 minutes.
    for _ in 1 2 3 4 5; do
        aws ecs wait tasks-stopped --cluster "$(output "$stack" Cluster)" --tasks "$task" && break
    done
    aws logs get-log-events --log-group-name "/$stack" --log-stream-name "ecs/command/${task##*/}" --start-from-head \
        --query 'events[].message' --output text || true
    status=$(aws ecs describe-tasks --cluster "$(output "$stack" Cluster)" --tasks "$task" \
        --query 'tasks[0].containers[0].exitCode' --output text)
    test "$status" = 0 || { echo "$1 ended with $status" >&2; return 1; }
}

deploy() {
    # {% if cookiecutter.__pooled %}
    test -f deploy/rds-ca.pem || { echo "deploy/rds-ca.pem is missing: docs/deployment.md" >&2; exit 1; }
    # {% endif %}
    image=$(push "$1")
    current=$(parameter Image)
    previous=$(parameter PreviousImage)
    # {% if cookiecutter.__proxied %}
    # The other image of the same release: web:v1.2.3 and proxy:v1.2.3.
    proxy=$(push "${1%/*}/proxy:${1##*:}" -proxy)
    current_proxy=$(parameter ProxyImage)
    previous_proxy=$(parameter PreviousProxyImage)
    # {% else %}
    proxy=""
    current_proxy=""
    previous_proxy=""
    # {% endif %}
    # {% if cookiecutter.__database %}
    # Commands get the new image first. If the migration fails, the services keep the current one, and a rollback its target.
    apply "${current:-$image}" "$image" "$previous" "${current_proxy:-$proxy}" "$previous_proxy"
    run "alembic upgrade head"
    # {% endif %}
    # The same images again are no new release.
    if [ "$image $proxy" != "$current $current_proxy" ]; then
        previous=$current
        previous_proxy=$current_proxy
    fi
    apply "$image" "$image" "$previous" "$proxy" "$previous_proxy"
}

# Return to the release before the last one, once: the abandoned release is not the target of another rollback.
rollback() {
    previous=$(parameter PreviousImage)
    test -n "$previous" || { echo "$stack has no earlier release: deploy its image" >&2; return 1; }
    # {% if cookiecutter.__proxied %}
    previous_proxy=$(parameter PreviousProxyImage)
    # {% else %}
    previous_proxy=""
    # {% endif %}
    apply "$previous" "$previous" "" "$previous_proxy" ""
}

# {% include "options/deployment/shared/actions.sh" %}
