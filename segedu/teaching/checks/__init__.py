"""One module per chapter with the checks of its exercises; see `segedu.teaching.checking`."""
