"""Figures are data: records written by the commands that measure, and the tables and plots that are made of them."""
