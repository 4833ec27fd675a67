"""Components of the template, which `make template-update` changes.

Your code goes next to this package.
"""

# Methods that change nothing (RFC 9110, section 9.2.1).
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
