"""What may go, by policy, and what must stay because something needs it."""
