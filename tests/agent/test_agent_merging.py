"""The agent ends same-page merging for itself, where there is any; the real thing is in tests/engines/local."""

from pathlib import Path

from ghostdesk.agent.merging import end_merging


def test_an_agent_that_was_never_merged_has_nothing_to_end(tmp_path: Path) -> None:
    assert not end_merging(tmp_path / "none")
    (tmp_path / "stat").write_text("ksm_rmap_items 0\nksm_merge_any: no\n")
    assert not end_merging(tmp_path / "stat")
