"""Command-line helpers for people who maintain or fork the book."""
