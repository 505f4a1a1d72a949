"""understudy keeps an AI assistant answering when the machine it lives on does not."""

__version__ = "0.1.0"
