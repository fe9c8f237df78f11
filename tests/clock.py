"""A clock that goes on when it is told to."""


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now
