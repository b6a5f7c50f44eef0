"""The scenarios, by what fails: each function does one fault in a testbed of its own."""
