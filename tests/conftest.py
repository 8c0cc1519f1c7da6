"""Rules that every test obeys: each module names its category, no test leaks an asyncio task.

Knows nothing about what is tested; fixtures for one part live beside that part's tests.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest

CATEGORIES = ("unit", "e2e")
TASK_GRACE_S = 1.0  # a cancelled task may need a few turns of the loop to finish


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse modules whose tests have not exactly one category, with a hint."""
    wrong = sorted({item.path.name for item in items if len(categories_of(item)) != 1})
    if wrong:
        raise pytest.UsageError(
            f"no category, or two, in: {', '.join(wrong)}. Below the imports of each, write"
            " `pytestmark = pytest.mark.unit` (fast, no weights, no browser)"
            " or `pytestmark = pytest.mark.e2e`."
        )


def categories_of(item: pytest.Item) -> set[str]:
    """The category marks on a test or on anything around it."""
    return {mark.name for mark in item.iter_markers() if mark.name in CATEGORIES}


@pytest.fixture(autouse=True)
def _owned_tasks(request: pytest.FixtureRequest) -> None:
    """Watch the tasks of asynchronous tests; the others have no loop to leak into."""
    function = getattr(request, "function", None)
    if inspect.iscoroutinefunction(function):
        request.getfixturevalue("_no_leaked_tasks")


@pytest.fixture
async def _no_leaked_tasks() -> AsyncIterator[None]:
    """Fail a test that ends while a task it started still runs."""
    before = asyncio.all_tasks()
    yield
    leaked = asyncio.all_tasks() - before - {asyncio.current_task()}
    if leaked:
        _, running = await asyncio.wait(leaked, timeout=TASK_GRACE_S)
        names = sorted(f"{task.get_name()}: {task.get_coro()!r}" for task in running)
        for task in running:
            task.cancel()
        if names:
            pytest.fail("tasks outlived their test; cancel and await them:\n" + "\n".join(names))
