"""The sign-in form; also what its JSON variant is checked by."""

from __future__ import annotations

from django import forms


class SignInForm(forms.Form):
    """User name and password, bounded: hashing is not for books."""

    username = forms.CharField(max_length=150)
    password = forms.CharField(max_length=1024, strip=False)
