"""The section `retain:`: what of the past is kept, and for how long."""

from pydantic import Field

from components.params import Section


class Params(Section):
    """Outside the graph: these never make a stage stale.

    Days count from the last change, and null keeps for good. One is the least: what changed today may be in use.
    """

    keep_versions: int | None = Field(None, ge=1)
    """Newest registered versions without an alias; older ones are deleted, with what only they need."""
    keep_runs_days: int | None = Field(90, ge=1)
    """MLflow runs that no version came from, deleted ones included."""
    keep_cache_days: int | None = Field(30, ge=1)
    """Results in DVC's cache that neither a version, the work tree, a branch, a tag nor an experiment names."""
    keep_checkpoints_days: int | None = Field(14, ge=1)
    """Checkpoints of trainings that did not end well."""
    keep_scores_days: int | None = Field(None, ge=1)
    """Answers of batch scoring that DVC does not version."""
    keep_pages_days: int | None = Field(90, ge=1)
    """Monitoring pages of versions without an alias; what monitoring remembers of a version stays as long as that."""
    keep_leftovers_days: int | None = Field(7, ge=1)
    """What killed processes left: temporary folders, half-made answers, work trees."""
