"""The page of settings says what `Settings` says."""

import settings_page


def test_page_of_settings_is_up_to_date():
    page = settings_page.PAGE.read_text(encoding="utf-8")

    assert page == settings_page.written(), "run: python tests/plugins/settings_page.py"
