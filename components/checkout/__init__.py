"""The checkout as a place: who holds it, what is installed for it, and work trees of other commits beside it."""
