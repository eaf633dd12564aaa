"""Other people's tracks and annotations, checked and brought into the layout of the MABe challenge."""
