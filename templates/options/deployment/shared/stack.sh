# Print a parameter of the stack; nothing before the first deployment. Another error must not look like a first deployment, which
# starts the new image before its migrations.
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

