"""What people look at: pictures and the report."""

INK = "#74777c"
"""The one colour of text and axes in every figure, readable on white and on dark; a page puts its own there."""
