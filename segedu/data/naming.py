"""What the classes of a data set are called, for legends and tables."""

from torch.utils.data import Dataset


class NamedDataset(Dataset):
    """A data set that knows the names of its classes in English and Chinese, and their colours.

    Attributes:
        classes, classes_zh: names, one for each number in the samples.
        colors: (red, green, blue) in 0..255 of each class.
    """

    classes: tuple[str, ...]
    classes_zh: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes as figures need them, ``English ｜ 中文``; one name if both are the same."""
        pairs = zip(self.classes, self.classes_zh, strict=True)
        return tuple(name if name == zh else f"{name} ｜ {zh}" for name, zh in pairs)
