"""A thorax CT that belongs to nobody: an anthropomorphic phantom in Hounsfield units.

`generate` makes one patient from a seed: body with skin, fat and muscle, two unlike lungs with
fissures, arteries, veins and airways that branch, heart and great vessels, oesophagus, spine, ribs,
sternum, shoulder blades, what lies below the diaphragm, the table, and whatever the configuration
asks for: nodules, emphysema, effusion, a missing lung. Every voxel is the mean of the tissues in
it (partial volume), blurred as a reconstruction blurs, with noise that is correlated as a filtered
back projection correlates it. Because we drew it, the masks are exact.

Lengths are millimetres in the patient: x grows to the left, y to the back, z to the head, and the
origin lies in the middle of the chest.

In the order in which it happens: `config` says what is wanted; `patient` puts together the shapes
of `anatomy`, the branching `vessels`, the `ribs` and the `lesions`; `drawing` fills the samples of
a `slab` with `tissues`; `acquisition` makes of them what a scanner shows; `scan` does it all.
"""

from segedu.medical.phantom.config import Nodule, PhantomConfig
from segedu.medical.phantom.scan import Phantom, generate
from segedu.medical.phantom.tissues import LABELS, LUNGS, NODULE

__all__ = ["LABELS", "LUNGS", "NODULE", "Nodule", "Phantom", "PhantomConfig", "generate"]
