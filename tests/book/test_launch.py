import pytest
from launch import repository
from sphinx.errors import ExtensionError

CONFIGURED = {"repository_url": "https://github.com/one/book", "repository_branch": "main"}


@pytest.mark.parametrize(
    ("options", "environ", "expected"),
    [
        ({}, {}, ("", "main")),
        (CONFIGURED, {}, ("https://github.com/one/book", "main")),
        (
            CONFIGURED,
            {"GITHUB_REPOSITORY": "teacher/fork", "GITHUB_REF_NAME": "spring"},
            ("https://github.com/teacher/fork", "spring"),
        ),
        (
            CONFIGURED,
            {"GITHUB_REPOSITORY": "a/b", "SEGEDU_REPOSITORY_URL": "https://gitlab.com/x/y.git"},
            ("https://gitlab.com/x/y", "main"),
        ),
    ],
)
def test_the_address_of_a_fork_needs_no_edit(options, environ, expected):
    assert repository(options, environ) == expected


@pytest.mark.parametrize("url", ["ftp://host/a/b", "https://github.com/only-owner", "x y"])
def test_a_malformed_address_is_refused(url):
    with pytest.raises(ExtensionError, match="repository url: got .*, allowed"):
        repository({}, {"SEGEDU_REPOSITORY_URL": url})
