"""Stages: which share of a job each of them is. Knows no torch."""

from pareconv.storage.job_states import Stage

# Share of the whole job that is done when a stage begins and ends.
SPANS = {
    Stage.PROFILE: (0.0, 0.1),
    Stage.LIBRARY: (0.1, 0.3),
    Stage.SEARCH: (0.3, 0.7),
    Stage.FINISH: (0.7, 1.0),
}
