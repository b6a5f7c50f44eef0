"""The scenarios, by what fails: each function plays one fault in a house of its own."""
