"""Inference in linear chains: what the heads that give tags have in common."""
