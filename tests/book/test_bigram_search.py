from bigram_search import SearchBigrams


def split(text: str) -> list[str]:
    return SearchBigrams({}).split(text)


def test_chinese_is_indexed_by_characters_and_pairs():
    assert split("概率图") == ["概", "率", "图", "概率", "率图"]


def test_scripts_are_kept_apart():
    assert split("用U-Net做分割2次") == [
        *("用", "U", "Net", "做", "分", "割", "做分", "分割", "2", "次")
    ]


def test_english_is_stemmed():
    search = SearchBigrams({})
    assert search.stem("Smoothing") == search.stem("smooth")
    assert search.stem("概率") == "概率"
