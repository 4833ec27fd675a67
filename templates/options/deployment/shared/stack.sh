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

