"""Servers that speak the OpenAI protocol: the one place that knows the package ``openai``."""
