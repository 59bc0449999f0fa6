"""Examine a data set before anyone trains on it: counts, faults, a picture, a verdict."""

import argparse

from segedu.cli.datasets import TASKS, add_data, as_options, data_options
from segedu.cli.options import Parser, find_root, print_absent
from segedu.files import user_path, write_json

EXAMPLES = (
    "check --data mydata --classes background car --val-split 0.2",
    "check --layout coco --data coco --task instance --picture samples.png",
)


def add_options(parser: Parser) -> None:
    """What to examine, and where the picture and the numbers go."""
    add_data(parser)
    parser.add_argument("--task", choices=TASKS, help="as it is to be read (default: as usual)")
    parser.add_argument("--split", nargs="+", help="which parts (default: all)")
    parser.add_argument("--picture", metavar="FILE", help="PNG of samples with their labels")
    parser.add_argument("--json", help="file for everything that was found")
    parser.add_argument("--strict", action="store_true", help="warnings end with exit status 1")


def run(options: argparse.Namespace) -> int:
    """Print what was found; returns 1 for errors and strict warnings, else 0.

    (2, as for every command, means that it could not be run.)
    """
    from segedu.clinic import examine

    layout = options.layout or "folders"
    picture = user_path(options.picture) if options.picture else None
    if picture and picture.suffix.lower() != ".png":
        raise ValueError(f"--picture {picture}: its name must end in .png")
    found = examine(
        layout,
        find_root(layout, options.data),
        splits=options.split,
        task=options.task,
        picture=picture,
        **data_options(options),
    )
    for split, count in found.splits.items():
        sizes = list(count.sizes)
        shown = f"{sizes[0]} pixels" if len(sizes) == 1 else f"{len(sizes)} sizes"
        print(
            f"{split}: {count.usable} of {count.images} samples can be used, {shown}, "
            f"no class (void) in {count.void:.1%} of the pixels"
        )
        # Label 0 of instance data is the background, of which there are no objects.
        classes = count.classes[1:] if found.task == "instance" else count.classes
        rows = [c for c in classes if c.images]
        total = max(1, sum(c.pixels for c in rows))
        print(f"{'images':>10}{'objects':>10}{'pixels':>12}{'share':>9}  class")
        for c in rows:
            share = c.pixels / total
            print(f"{c.images:>10}{c.objects or '–':>10}{c.pixels:>12}{share:>9.2%}  {c.name}")
        print_absent([c.name for c in classes if not c.images])
        print()
    for finding in found.findings:
        print(as_options(str(finding)))
    if picture and picture.is_file():
        print(f"picture: {picture}")
    if options.json:
        print(f"kept in {write_json(user_path(options.json), found.to_dict())}")
    print(f"verdict: {found.verdict}")
    refused = {"errors", "warnings"} if options.strict else {"errors"}
    return int(found.verdict in refused)
