"""What the analyses share: the model and records they look at, the form of what they find, and measures of codes."""
