"""A check says right, or what is wrong, in both languages, and keeps the solution to itself."""

import re

import numpy as np
import pytest
import torch

from segedu.teaching import Verdict, check, checking
from segedu.teaching.checking import (
    Exercise,
    WrongAnswerError,
    chapters,
    exercise,
    exercises,
    expect_function,
    expect_number,
    expect_numbers,
    expect_tensor,
)

EVERY = [(name, number) for name in chapters() for number in exercises(name)]


@exercise(1, wrong=[4, 180])
def crop(answer):
    expect_number(answer, 188, near={180: "forgot the rim ｜ 忘了边缘"})


@pytest.fixture
def one_exercise(monkeypatch):
    monkeypatch.setattr(checking, "chapters", lambda: ["demo"])
    monkeypatch.setattr(checking, "exercises", lambda chapter: {1: crop})


def test_a_right_answer(one_exercise):
    verdict = check("demo-1", 188)
    assert verdict and repr(verdict) == "✓ Right. ｜ 正确。"
    assert check("demo-1", torch.tensor(188)) and check("demo-1", np.float64(188.0))


def test_several_numbers():
    assert expect_numbers((np.int64(2), torch.tensor(3.5)), 2) == (2.0, 3.5)
    for wrong, message in (((1, 2, 3), "got 3"), (7, "2 numbers"), (("a", "b"), "需要 2 个数")):
        with pytest.raises(WrongAnswerError, match=message):
            expect_numbers(wrong, 2)


@pytest.mark.parametrize("nothing", [None, ...])
def test_no_answer_is_not_wrong(one_exercise, nothing):
    verdict = check("demo-1", nothing)
    assert not verdict and "Not answered yet" in repr(verdict) and "还没有作答" in repr(verdict)


@pytest.mark.parametrize(
    ("answer", "english", "chinese"),
    [
        (180, "forgot the rim", "忘了边缘"),
        (200, "200 is too large", "200 偏大"),
        (4, "4 is too small", "4 偏小"),
        (4_196_352, "4196352 is too large", "4196352 偏大"),
        (float("nan"), "not a number", "不是数"),
        ("x", "a number is wanted, got str", "得到的是 str"),
    ],
)
def test_a_wrong_answer_is_told_why_and_not_the_solution(one_exercise, answer, english, chinese):
    verdict = check("demo-1", answer)
    assert not verdict
    first, second = verdict.message.split(" ｜ ")
    assert first.startswith("Not yet: ") and english in first
    assert second.startswith("还不对：") and chinese in second
    assert "188" not in repr(verdict)


def test_what_the_readers_code_raises_is_an_answer(one_exercise, monkeypatch):
    @exercise(1)
    def call(answer):
        answer()

    monkeypatch.setattr(checking, "exercises", lambda chapter: {1: call})
    verdict = check("demo-1", lambda: 1 / 0)
    assert "your answer raised ZeroDivisionError" in verdict.message
    assert "报错 ZeroDivisionError" in verdict.message


@pytest.mark.parametrize("name", ["demo-2", "demo", "other-1", "demo-x", ""])
def test_an_unknown_exercise_is_refused(one_exercise, name):
    with pytest.raises(ValueError, match=r"demo"):
        check(name, 1)


def test_tensors_are_compared_by_shape_then_values():
    expect_tensor([[1.0, 2.0]], torch.tensor([[1.0, 2.0]]))
    with pytest.raises(WrongAnswerError, match=r"shape is \(2,\), wanted is \(1, 2\)"):
        expect_tensor([1.0, 2.0], [[1.0, 2.0]])
    with pytest.raises(WrongAnswerError, match=r"1 of 2 values differ, the first at \(0, 1\)"):
        expect_tensor([[1.0, 3.0]], [[1.0, 2.0]])
    with pytest.raises(WrongAnswerError, match="a tensor is wanted, got str"):
        expect_tensor("x", [1.0])
    with pytest.raises(WrongAnswerError, match="1 of 1 values differ"):
        expect_tensor(float("nan"), 1.0)


def test_what_is_no_number_is_right_where_it_is_expected():
    nan, infinity = float("nan"), float("inf")
    expect_tensor([nan, infinity, 1.0], [nan, infinity, 1.0])
    expect_number(nan, nan)
    expect_number(infinity, infinity)
    for wrong, value in ((1.0, nan), (nan, 1.0), (-infinity, infinity)):
        with pytest.raises(WrongAnswerError):
            expect_number(wrong, value)


def test_without_any_exercise_that_is_said(monkeypatch):
    monkeypatch.setattr(checking, "chapters", list)
    with pytest.raises(ValueError, match="no chapter has exercises to check yet, got 'unet-1'"):
        check("unet-1", 1)


def test_functions_are_compared_case_by_case():
    cases = [(torch.zeros(2),), (torch.ones(2),)]
    expect_function(lambda x: x + x, lambda x: 2 * x, cases)
    with pytest.raises(WrongAnswerError, match="on test input 2, .*对第 2 个测试输入"):
        expect_function(lambda x: x**2, lambda x: 2 * x, cases)
    with pytest.raises(WrongAnswerError, match="a function is wanted"):
        expect_function(3, lambda x: x, cases)
    with pytest.raises(WrongAnswerError, match="returns nothing ｜ 函数没有返回结果"):
        expect_function(lambda x: None, lambda x: x, cases)


def test_a_function_of_numbers_is_told_for_which_it_is_wrong():
    cases = [(572,), (571,)]
    with pytest.raises(
        WrongAnswerError, match=r"input 2 \(571\), 571 is too large .* \(571\)，571 偏大"
    ):
        expect_function(lambda side: side, lambda side: side if side % 2 == 0 else 0, cases)


def test_the_page_shows_each_half_in_its_language():
    html = Verdict(False, "Not yet: a < b ｜ 还不对：a < b")._repr_html_()
    assert '<span class="lang-en" lang="en">Not yet: a &lt; b</span>' in html
    assert '<span class="lang-zh" lang="zh-CN">还不对：a &lt; b</span>' in html


def test_a_softmax_is_told_its_axis_and_its_overflow():
    found = check("pixels-to-probabilities-4", lambda scores: scores.softmax(dim=2)).message
    assert "the classes are axis 1" in found and "类别在轴 1" in found

    def overflowing(scores):
        return scores.exp() / scores.exp().sum(dim=1, keepdim=True)

    found = check("pixels-to-probabilities-4", overflowing).message
    assert "the result is nan" in found and "结果是 nan" in found


@pytest.mark.parametrize(("name", "number"), EVERY, ids=lambda value: str(value))
def test_typical_wrong_answers_are_refused(name, number):
    judged: Exercise = exercises(name)[number]
    assert judged.wrong, "hand in at least one typical wrong answer"
    for answer in judged.wrong:
        verdict = check(f"{name}-{number}", answer)
        assert not verdict, f"{answer!r} counts as right"
        assert re.fullmatch(r"[^｜]+ ｜ [^｜]*[\u4e00-\u9fff][^｜]*", verdict.message)
