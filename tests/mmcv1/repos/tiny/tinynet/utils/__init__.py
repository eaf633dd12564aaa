import some_missing_package  # noqa: F401  # as training scripts need more than trainings
