"""Trained spiking networks on neuromorphic hardware, and what they cost there; proved on symbolic music."""

__version__ = "0.1.0"
