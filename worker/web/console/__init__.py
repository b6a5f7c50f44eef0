"""The console: web pages for people who do not want to type commands. Every page reads the same data as the command of
the same name."""
