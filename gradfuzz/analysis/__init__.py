"""Rows -> numbers, with pandas. No torch."""
