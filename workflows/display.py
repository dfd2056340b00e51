"""What people see of a job in Temporal: its search attributes, and the current details of the Web UI."""

from dataclasses import replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from verdex.contracts import IndexResult, JobState
    from verdex.temporal import search_attributes
    from verdex.temporal.web_ui import Progress, current_details


class Display:
    """Follows the state of a job."""

    def __init__(self) -> None:
        """A job that was started without the search attributes goes on without: its namespace may not have them."""
        started_with = {pair.key.name for pair in workflow.info().typed_search_attributes}
        self._is_searchable = started_with.issuperset(key.name for key in search_attributes.KEYS)
        self._state = JobState()
        self._progress = Progress()

    def planned(self, shards: int) -> None:
        """So many shards are to be indexed."""
        self._progress = Progress(shards)
        self._tell(None)

    def shard_done(self) -> None:
        """One more of them is."""
        self._progress = replace(self._progress, shards_done=self._progress.shards_done + 1)
        self._tell(None)

    def show(self, state: JobState, result: IndexResult | None = None) -> None:
        """The job is in another state; `result` is what it ended with."""
        if self._is_searchable and state.status != self._state.status:
            workflow.upsert_search_attributes(
                search_attributes.changed(state.status, result.error_type if result else None)
            )
        self._state = state
        self._tell(result)

    def _tell(self, result: IndexResult | None) -> None:
        workflow.set_current_details(current_details(self._state, self._progress, result))
