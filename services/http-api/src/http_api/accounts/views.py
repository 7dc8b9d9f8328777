"""``/sign-in`` and ``/sign-out``: forms for people, JSON for programs, by the request's Content-Type."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters

from clarion.errors import ClarionError
from clarion.values import json_parse
from http_api.accounts.forms import SignInForm
from http_api.accounts.services import sign_in, sign_out
from http_api.env import env
from http_api.errors import SignInFailed
from http_api.rest.parsers import body_check
from http_api.rest.problems import error_response

_JSON_MAX_BYTES: Final = 128 * 1024
"""Anybody may send this body, and 10 MiB of empty arrays take 300 MB once parsed."""


@method_decorator([never_cache, csrf_protect, sensitive_post_parameters("password")], name="dispatch")
class SignInView(View):
    """Sign in."""

    http_method_names = ["get", "head", "post"]

    def get(self, request: HttpRequest) -> HttpResponse:
        """The page; who is signed in already goes on."""
        if request.user.is_authenticated:
            return HttpResponseRedirect(_next(request))
        return _page(request, SignInForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        """Form: 302 to ``next``, or the page again with 401. JSON: 200 with the user, or a problem document."""
        return _sign_in_json(request) if _is_json(request) else _sign_in_form(request)


@method_decorator([never_cache, csrf_protect], name="dispatch")
class SignOutView(View):
    """Sign out."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        """Form: 302 to ``next``, else to the console. JSON: 200 with no user."""
        sign_out(request)
        return JsonResponse({"user": None}) if _is_json(request) else HttpResponseRedirect(_next(request))


def _sign_in_form(request: HttpRequest) -> HttpResponse:
    form = SignInForm(request.POST)
    try:
        _sign_in(request, form)
    except SignInFailed as exc:
        return _page(request, form, problem=exc.detail, status=exc.http_status)
    return HttpResponseRedirect(_next(request))


def _sign_in_json(request: HttpRequest) -> HttpResponse:
    try:
        body_check(request, _JSON_MAX_BYTES)
        wanted = json_parse(request.body)
        form = SignInForm(wanted if isinstance(wanted, dict) else {})
        user = _sign_in(request, form)
    except ClarionError as exc:
        return error_response(request, exc)
    return JsonResponse({"user": {"id": str(user.pk), "username": user.get_username()}})


def _sign_in(request: HttpRequest, form: SignInForm) -> Any:
    if not form.is_valid():
        raise SignInFailed
    return sign_in(request, form.cleaned_data["username"], form.cleaned_data["password"])


def _page(request: HttpRequest, form: SignInForm, *, problem: str = "", status: int = 200) -> HttpResponse:
    context = {"form": form, "problem": problem, "next": _next(request), "is_development": env.is_development}
    response = render(request, "accounts/sign_in.html", context, status=status)
    if problem:
        response.headers["WWW-Authenticate"] = SignInFailed.challenge
    return response


def _next(request: HttpRequest) -> str:
    """Where to go on: a path of this very origin, whatever was asked for."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if is_ours else settings.LOGIN_REDIRECT_URL


def _is_json(request: HttpRequest) -> bool:
    return request.content_type == "application/json"
