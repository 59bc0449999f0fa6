"""Write the sample CT of this folder: a thorax phantom as a DICOM series and as NIfTI.

    python -m data.make_phantom            # rewrite data/phantom
    python -m data.make_phantom some/place # write it there

Running it again gives the same voxels (with the package versions of requirements.txt).
"""

import argparse
import shutil
from pathlib import Path

from segedu.medical.dicom import write_series
from segedu.medical.nifti import write_nifti
from segedu.medical.phantom import Nodule, PhantomConfig, generate

SEED = 11
CONFIG = PhantomConfig(
    shape=(32, 88, 88),
    spacing=(9.0, 4.2, 4.2),
    nodules=(Nodule(26.0, lung="left"), Nodule(20.0, lung="right")),
)


def main() -> None:
    """Write the phantom into the folder given on the command line, by default this one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parent)
    write(parser.parse_args().root)


def write(root: Path) -> None:
    """Write the folder phantom under `root`; an older one is replaced."""
    folder = root / "phantom"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    phantom = generate(SEED, CONFIG)
    write_series(phantom.image, folder / "dicom")
    for name in ("image", "lungs", "labels"):
        write_nifti(getattr(phantom, name), folder / f"{name}.nii.gz")


if __name__ == "__main__":
    main()
