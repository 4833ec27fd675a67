#!/bin/sh
# Deploy to AWS Lambda: `deploy.sh deploy STAGE IMAGE`, `deploy.sh rollback STAGE`, `deploy.sh command STAGE 'flask routes'`.
# The AWS CLI takes the credentials from the environment. deploy/aws/bootstrap.yaml creates the registry and the roles.
set -eu
export AWS_PAGER=""

action=$1
stage=$2
argument=${3-}
stack="{{ cookiecutter.project_slug }}-$stage"
parameters="deploy/lambda/$stage.env"
test -f "$parameters" || { echo "$parameters is missing: STAGE is staging or production" >&2; exit 2; }
! grep -n change-me "$parameters" >&2 || { echo "Set these parameters in $parameters" >&2; exit 2; }
account=$(aws sts get-caller-identity --query Account --output text)
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
test -n "$region" || { echo "No region: set AWS_REGION" >&2; exit 2; }

# {% include "options/deployment/shared/stack.sh" %}
# {% include "options/deployment/shared/push.sh" %}
# Update the stack: the images for requests and for commands, and the one to which a rollback returns.
apply() {
    # {% if cookiecutter.cdn == "cloudfront" %}
    bucket=$(output "$stack-bootstrap" ArtifactBucket)
    template="$(sha256sum deploy/cdn/cloudfront.yaml | cut -c 1-16).yaml"
    aws s3 cp --only-show-errors deploy/cdn/cloudfront.yaml "s3://$bucket/$template"
    # {% endif %}
    # Each line of the file is a word.
    # shellcheck disable=SC2046
    aws cloudformation deploy --stack-name "$stack" --template-file deploy/lambda/template.yaml \
        --role-arn "$(output "$stack-bootstrap" CloudFormationRoleArn)" --no-fail-on-empty-changeset \
        --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND \
        --parameter-overrides $(grep -v '^#' "$parameters") "Stage=$stage" \
        # {% if cookiecutter.cdn == "cloudfront" %}
        "CdnTemplateUrl=https://$bucket.s3.$region.amazonaws.com/$template" \
        # {% endif %}
        "Image=$1" "CommandImage=$2" "PreviousImage=$3"
}

# Run a command in the function for commands and print its output. It runs once, however long it takes.
run() {
    result=$(mktemp)
    # Quotes in a JSON string.
    command=$(printf '%s' "$1" | sed 's/["\\]/\\&/g')
    error=$(AWS_MAX_ATTEMPTS=1 aws lambda invoke --function-name "$(output "$stack" CommandFunction)" --cli-read-timeout 900 \
        --cli-binary-format raw-in-base64-out --payload "{\"command\": \"$command\"}" \
        --query FunctionError --output text "$result")
    cat "$result"
    rm "$result"
    test "$error" = None || { echo "$1: $error" >&2; return 1; }
}

# {% include "options/deployment/shared/smoke.sh" %}
deploy() {
    image=$(push "$1")
    current=$(parameter Image)
    previous=$(parameter PreviousImage)
    # {% if cookiecutter.__database %}
    # The function for commands gets the new image first. If the migration fails, requests keep the current one, and a rollback its target.
    apply "${current:-$image}" "$image" "$previous"
    run "alembic upgrade head"
    # {% endif %}
    # The same image again is no new release.
    [ "$image" = "$current" ] || previous=$current
    apply "$image" "$image" "$previous"
}

# Return to the release before the last one, once: the abandoned release is not the target of another rollback.
rollback() {
    previous=$(parameter PreviousImage)
    test -n "$previous" || { echo "$stack has no earlier release: deploy its image" >&2; return 1; }
    apply "$previous" "$previous" ""
}

case $action in
    deploy)
        deploy "$argument"
        smoke && exit
        echo "The smoke test failed: rollback" >&2
        rollback
        exit 1
        ;;
    rollback)
        rollback
        smoke
        ;;
    command) run "$argument" ;;
    *) sed -n 2,3p "$0" >&2; exit 2 ;;
esac
