"""Objective metrics of symbolic music, each equal to its reference implementation."""
