"""Layers that several models share; a model's file imports no other model's, so that editing one retrains it alone."""
