"""The project around the app: README, example, package, translations, the rules of the house."""
