#!/bin/sh
# Deploy to AWS Lambda: `deploy.sh deploy STAGE IMAGE`, `deploy.sh rollback STAGE`, `deploy.sh command STAGE 'flask routes'`.
# The AWS CLI takes the credentials from the environment. deploy/aws/bootstrap.yaml creates the registry and the roles.
set -euf
# {% include "options/deployment/shared/stack.sh" %}
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
    error=$(AWS_MAX_ATTEMPTS=1 aws lambda invoke --function-name "$(output "$stack" CommandFunction)" --cli-read-timeout 900 \
        --cli-binary-format raw-in-base64-out --payload "{\"command\": $(quote "$1")}" \
        --query FunctionError --output text "$result")
    cat "$result"
    rm "$result"
    test "$error" = None || { echo "$1: $error" >&2; return 1; }
}

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

# {% include "options/deployment/shared/actions.sh" %}
