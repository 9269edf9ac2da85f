"""What surrounds a factory that runs for a year: its servers, its containers, and what is known of its packages.

Nothing in `components/` or `flows/` imports this package; it imports of them only how a mistake is told.
"""

import components  # noqa: F401 - refuses a Python that is too old, or an environment without packages, in one line
