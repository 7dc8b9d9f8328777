"""API keys in the Django admin: made (the key is shown once), renamed, revoked; never deleted, their history counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from http_api.keys.models import ApiKey
from http_api.keys.scopes import Scope
from http_api.keys.services import key_create, key_revoke

if TYPE_CHECKING:
    _KeyAdmin = admin.ModelAdmin[ApiKey]
    _KeyForm = forms.ModelForm[ApiKey]
else:
    _KeyAdmin, _KeyForm = admin.ModelAdmin, forms.ModelForm

_SETTLED = ("hint", "scopes", "created_at", "revoked_at")


class KeyCreateForm(_KeyForm):
    """Who holds the key, and what it may do."""

    scopes = forms.MultipleChoiceField(choices=Scope.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = ApiKey
        fields = ("name",)


@admin.register(ApiKey)
class ApiKeyAdmin(_KeyAdmin):
    """The list of keys, and the one page that ever shows a key."""

    list_display = ("name", "hint", "scopes", "created_at", "revoked_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_fields = ("name", "hint")
    actions = ("revoke",)

    def get_form(self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any) -> Any:
        """Ask for name and scopes of a new key; of an old one only the name can be changed."""
        if obj is None:
            return KeyCreateForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """The hash is shown nowhere."""
        return ("name", "scopes") if obj is None else ("name", *_SETTLED)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """What a key may do is settled when it is made: whoever holds it relies on that, and so does a reader."""
        return () if obj is None else _SETTLED

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Make the key through the service."""
        if change:
            super().save_model(request, obj, form, change)
            return
        row, key = key_create(obj.name, frozenset(Scope(scope) for scope in form.cleaned_data["scopes"]))
        obj.__dict__.update(row.__dict__, key_shown_once=key)  # the answer is made of this very object

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Show the key in this very answer: a redirect would have to store it in between."""
        context = {
            **self.admin_site.each_context(request),
            "title": "API key made",
            "row": obj,
            "key": vars(obj).pop("key_shown_once"),
        }
        return TemplateResponse(
            request, "admin/keys/apikey/created.html", context, headers={"Cache-Control": "no-store"}
        )

    @admin.action(description="Revoke the selected API keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Revoke: the next request with any of them is refused."""
        revoked = sum(key_revoke(key) for key in queryset)
        self.message_user(request, f"Revoked: {revoked}.", messages.SUCCESS)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Nobody deletes a key: revoke it."""
        return False
