"""The console: pages for people who would rather look than type. Every page reads what a command of the same name
reads."""
