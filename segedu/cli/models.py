"""List the networks."""

import argparse

EXAMPLES = ("models", "models --task instance")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which to list."""
    parser.add_argument(
        "--task", help="semantic, volume, instance, panoptic or promptable (default: all)"
    )


def run(options: argparse.Namespace) -> None:
    """Print a line for each."""
    from segedu.models import list_models

    table = list_models(options.task)
    width = max(map(len, table))
    for name, info in table.items():
        size = f"{info.parameters / 1e6:7.1f} M"
        print(f"{name:<{width}} {size}  {info.year}  {info.task:<10}  {info.description}")
