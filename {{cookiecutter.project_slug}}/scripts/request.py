"""Answer one address again and again, for `make profile` to look at: ADDRESS SECONDS."""

import sys
import time

from {{ cookiecutter.package_name }} import create_app


def main(address: str, seconds: str) -> None:
    """Be client and server in one process, so that nothing but the application is seen."""
    client = create_app().test_client()
    end, number, status = time.perf_counter() + float(seconds), 0, 0
    while time.perf_counter() < end:
        status = client.get(address).status_code
        number += 1
    print(f"{address}: {number} requests in {seconds} s, the last one {status}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
