"""AWS's runtime client for Lambda: `python deploy/lambda_server.py package.module.handler`."""

import gc
import sys

from awslambdaric.__main__ import main

if __name__ == "__main__":
    # A quarter of the cold start would be garbage collection. The handler of requests turns it on.
    gc.disable()
    main(sys.argv)
