"""The shop's rows in the admin; workflows and runs are there by themselves."""

from django.contrib import admin

from django_workflow.admin import WorkflowSubjectMixin

from .models import Contact, Order, Product


@admin.register(Product)
class ProductAdmin(WorkflowSubjectMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """What is on the shelf."""

    list_display = ["name", "price", "stock"]
    search_fields = ["name"]


@admin.register(Order)
class OrderAdmin(WorkflowSubjectMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """What was ordered."""

    list_display = ["__str__", "customer", "product", "quantity", "total", "status"]
    list_filter = ["status"]
    list_select_related = ["customer", "product"]
    search_fields = ["customer__username", "product__name"]


@admin.register(Contact)
class ContactAdmin(WorkflowSubjectMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Who is on the mailing list."""

    list_display = ["email", "name", "synced_at"]
    search_fields = ["email", "name"]
