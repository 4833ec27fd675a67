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

