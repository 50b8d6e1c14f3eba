"""The shop, its accounts and the admin."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from .shop import views

urlpatterns = [
    path("", views.list_products, name="products"),
    path("buy/<int:pk>/", views.buy, name="buy"),
    path("orders/<int:pk>/", views.show_order, name="order"),
    path("payment/", views.hear_of_payment, name="payment"),
    path("mails/", views.list_mails, name="mails"),
    path("sign-up/", views.sign_up, name="sign_up"),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    # The page behind the links of flow.approval.
    path("workflow/", include("django_workflow.urls")),
]
