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
