"""Boards, paper recipes and speed benchmarks."""
