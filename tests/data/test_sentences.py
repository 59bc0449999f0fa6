"""Sentences and what they mean, in both languages."""

import numpy as np
import pytest

from segedu.data.scenes import SceneConfig, generate
from segedu.data.scenes.sentences import (
    Phrase,
    describe,
    encode,
    meaning,
    parse,
    phrases,
    tokens,
    vocabulary,
)


def test_every_phrase_is_understood_in_both_languages():
    said = phrases()
    assert len(said) == len(set(said)) == 5 * 12 + 4 * 12
    for phrase in said:
        assert parse(phrase.english()) == phrase == parse(phrase.chinese())


def test_forms():
    phrase = Phrase("car", "red", "large", "left")
    assert phrase.english() == "the large red car on the left"
    assert phrase.chinese() == "左边的大型红色汽车"
    assert Phrase("person", place="middle").english() == "the person in the middle"


@pytest.mark.parametrize(
    "sentence", ["", "the red", "the car and the tree", "the green car", "绿色汽车", "汽车和树"]
)
def test_what_the_grammar_does_not_have_is_refused(sentence):
    with pytest.raises(ValueError, match="sentence must name one of"):
        parse(sentence)


def test_describe_by_hand():
    image = np.full((6, 30, 3), (180, 40, 40), np.uint8)
    mask = np.zeros((6, 30), bool)
    mask[2, 2:6] = True  # 4 of 180 pixels are 2.2 %
    assert describe(mask, 8, image) == Phrase("car", "red", "large", "left")
    mask[2, 2] = False
    assert describe(mask, 7, image) == Phrase("tree", "", "small", "left")
    assert describe(mask[:, ::-1], 7, image).place == "right"
    assert describe(np.roll(mask, 10, 1), 7, image).place == "middle"


def test_a_phrase_means_all_things_that_fit():
    scene = generate(3, SceneConfig(size=48))
    for label, name in ((7, "tree"), (8, "car"), (9, "person")):
        whole = meaning(Phrase(name), scene)
        assert np.array_equal(whole, scene.semantic == label)
        parts = [meaning(Phrase(name, place=p), scene) for p in ("left", "middle", "right")]
        assert np.array_equal(sum(part.astype(int) for part in parts), whole.astype(int))


def test_encoding():
    rows = encode(["the car", "the red car on the left", "汽车"])
    words = vocabulary()
    assert rows.shape == (3, 6) and rows.dtype == np.int64
    assert [words[i - 1] for i in rows[1]] == tokens("the red car on the left")
    assert rows[0, 2:].tolist() == [0] * 4 and rows.max() <= len(words)
    assert encode(["the blurb car"]).tolist() == encode(["the car"]).tolist()
