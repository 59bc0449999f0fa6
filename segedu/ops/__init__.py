"""Pure tensor functions; they import nothing of segedu."""
