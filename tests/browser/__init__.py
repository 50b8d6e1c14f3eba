"""The pages in a real browser: Debian's Chromium, driven by Playwright, in a process of their own."""
