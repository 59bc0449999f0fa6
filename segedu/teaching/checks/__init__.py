"""One module per chapter with the checks of its exercises; see :mod:`segedu.teaching.checking`."""
