"""How the workspace API behaves where DMS's documentation is silent or contradicts itself: one knob for each unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

from sandbox.workspace.forms import in_seconds, with_replacement_characters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Missing(Enum):
    """How a file or folder that does not exist is answered."""

    ERROR = "an error"
    EMPTY = "an empty text, or an empty list"
    NO_DATA = "success without Data"


class Unguarded(Enum):
    """What a save of an existing file does that has neither Mtime nor Force."""

    OVERWRITES = "it overwrites"
    REFUSED = "it is refused"


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """The knobs. The defaults are what the documentation says or shows, else the likeliest.

    Args:
        mtime_header: Header of GetWorkspaceCode that holds the modification time; empty: there is none.
        mtime_format: Its form, made of nanoseconds since 1970 (forms.py has some).
        lists_mtime: ListWorkspaceCode gives the modification time (always to the second).
        expected_mtime: The form in which SaveWorkspaceCode expects it in truth; None: that of the header or that of the list.
        conflict_code: ErrorCode of a save that is refused for its modification time.
        unguarded: What a save without Mtime and Force does to an existing file.
        creates_folders: A save creates the folders above its file.
        stores: What becomes of a text when it is saved.
        refuses_control_characters: A text with control characters other than tab and line ends is refused.
        largest_file: Bytes that a file may have; None: no limit.
        decodes: How GetWorkspaceCode makes a text of a file; None of it: an error.
        missing_file: How GetWorkspaceCode answers for a file that does not exist.
        missing_folder: How ListWorkspaceCode answers for a folder that does not exist.
        deletes_missing: DeleteWorkspaceCode of a missing file is a success.
        lists_dot_files: ListWorkspaceCode shows files whose names begin with a dot.
        longest_list: Entries that a list may have; the rest is left out without a word. None: no limit.
        lists_paths: `Name` in a list is a whole path.
        error_status: HTTP status of an error of these calls; 200: `Success: false` in the body.
        noise: ErrorCode of a success, as in the documentation's examples; empty: none.
        airflow_status: `Status` of GetAirflow.
        airflow_workspace_id: `WorkspaceId` of GetAirflow; empty: the right one.
        airflow_dags_dir: `DagsDir` of GetAirflow; empty: the right one.
        statuses: `Status` of WorkspaceActionStatus at one poll after the other; the last one stays. A word, a dict, a text
            of a dict, or None: there is no `Status`.
        has_end_time: The last status has an EndTime.
        action_error: `Data` of the last status.
        action_log: Text of WorkspaceActionLog; None: an error.
        unknown_key_polls: The first polls that do not find the key yet.
        publish_works: A publish succeeds; else a last status `SUCCESS` becomes `ERROR`.
        copies_when_failed: The published copy changes when a publish fails, too.
        copies_after: Seconds after which it changes.
        removes_deleted: Files that were deleted in the workspace disappear from the published copy, too.
        publishes_at_once: A publish is accepted while another runs.
        action_seconds: How long a publish runs at most, with respect to that.
        updates_setting: The config of a publish becomes the stored setting.
        needs_every_branch: A publish whose config lacks a bound repository, or its branch, is refused.
        checks_out: A publish writes the branch of a bound repository to the workspace, too.
        saves_in_repositories: Files in the folder of a bound repository can be saved.
        excludes_as_text: `Exclude` of the setting is one JSON text in a list.
        setting_code: `Code` of a successful GetWorkspaceCodePublishSetting.
    """

    mtime_header: str = "x-dms-mtime"
    mtime_format: Callable[[int], str] = in_seconds
    lists_mtime: bool = True
    expected_mtime: Callable[[int], str] | None = None
    conflict_code: str = "FileModified"
    unguarded: Unguarded = Unguarded.OVERWRITES
    creates_folders: bool = True
    stores: Callable[[str], str] = lambda text: text
    refuses_control_characters: bool = True
    largest_file: int | None = None
    decodes: Callable[[bytes], str | None] = with_replacement_characters
    missing_file: Missing = Missing.ERROR
    missing_folder: Missing = Missing.ERROR
    deletes_missing: bool = False
    lists_dot_files: bool = True
    longest_list: int | None = None
    lists_paths: bool = False
    error_status: int = 200
    noise: str = "UnknownError"
    airflow_status: str = "DEPLOYED"
    airflow_workspace_id: str = ""
    airflow_dags_dir: str = ""
    statuses: Sequence[Any] = ("RUNNING", "SUCCESS")
    has_end_time: bool = True
    action_error: str = ""
    action_log: str | None = "published\n"
    unknown_key_polls: int = 0
    publish_works: bool = True
    copies_when_failed: bool = False
    copies_after: float = 0.0
    removes_deleted: bool = True
    publishes_at_once: bool = True
    action_seconds: float = 30.0
    updates_setting: bool = False
    needs_every_branch: bool = True
    checks_out: bool = False
    saves_in_repositories: bool = True
    excludes_as_text: bool = False
    setting_code: str = "200"

    def but(self, **changes: Any) -> Self:
        """Copy with some knobs turned."""
        return replace(self, **changes)
