from django.contrib import admin

from .models import Customer, Note, Order, Tag


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    search_fields = ["name", "email"]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    search_fields = ["number"]


admin.site.register([Note, Tag])
