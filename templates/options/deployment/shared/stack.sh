export AWS_PAGER=""

action=$1
stage=$2
argument=${3-}
stack="{{ cookiecutter.project_slug }}-$stage"
parameters="$(dirname "$0")/$stage.env"
test -f "$parameters" || { echo "$parameters is missing: STAGE is staging or production" >&2; exit 2; }
! grep -n change-me "$parameters" >&2 || { echo "Set these parameters in $parameters" >&2; exit 2; }
account=$(aws sts get-caller-identity --query Account --output text)
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
test -n "$region" || { echo "No region: set AWS_REGION" >&2; exit 2; }

# Print a parameter of the stack; nothing before the first deployment. Another error must not look like a first deployment, in
# which requests get the new image immediately.
parameter() {
    errors=$(mktemp)
    aws cloudformation describe-stacks --stack-name "$stack" --output text \
        --query "Stacks[0].Parameters[?ParameterKey=='$1'].ParameterValue" 2>"$errors" ||
        grep -q 'does not exist' "$errors" || { cat "$errors" >&2; rm "$errors"; return 1; }
    rm "$errors"
}

# Print an output of a stack.
output() {
    aws cloudformation describe-stacks --stack-name "$1" --output text --query "Stacks[0].Outputs[?OutputKey=='$2'].OutputValue"
}

# Copy an image to the registry of the account, and print its name there with the digest.
push() {
    registry="$account.dkr.ecr.$region.amazonaws.com"
    # A digest is a tag there; a tag can be pushed once.
    tag=${1##*:}
    repository="$stack${2-}"
    query="aws ecr describe-images --repository-name $repository --image-ids imageTag=$tag --output text"
    digest=$($query --query 'imageDetails[0].imageDigest' 2>/dev/null) || {
        aws ecr get-login-password | docker login --username AWS --password-stdin "$registry" >&2
        docker image inspect "$1" >/dev/null 2>&1 || docker pull --quiet "$1" >&2
        docker tag "$1" "$registry/$repository:$tag" >&2
        docker push --quiet "$registry/$repository:$tag" >&2
        digest=$($query --query 'imageDetails[0].imageDigest')
    }
    echo "$registry/$repository@$digest"
}

# Quote a command for JSON.
quote() { printf '"%s"' "$(printf '%s' "$1" | sed 's/["\\]/\\&/g')"; }

# Test the service from outside, for up to a minute.
smoke() {
    domain=$(sed -n 's/^DomainName=//p' "$parameters")
    for path in {{ cookiecutter.__smoke_paths }}; do
        curl --fail --silent --show-error --output /dev/null --max-time 15 --retry 6 --retry-delay 10 --retry-all-errors \
            "https://$domain$path" || return 1
        echo "ok: https://$domain$path"
    done
}

