"""The scenarios, by what fails: each function plays one fault in a testbed of its own."""
